"""A data set written again in the layouts in which others have CelebA: `write(layout, folder)`."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr.attributes import CELEBA
from celebattr.constants import SPLITS
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts import celebamask_hq
from celebattr.data.layouts.load import load_dataset
from celebattr.data.synthetic import draw_face, labels

HQ_SIDE = 512


def official(folder: Path) -> FaceDataset:
    return load_dataset([folder])


def image(dataset: FaceDataset, row: int) -> bytes:
    return dataset.stores[dataset.store_N[row]].read(dataset.names[row])


def by_split(dataset: FaceDataset) -> dict[str, np.ndarray]:
    return {name: np.flatnonzero(dataset.splits_N == value) for name, value in SPLITS.items()}


def parquet(dataset: FaceDataset, folder: Path, *, integers: bool = False, group: int = 3) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "data").mkdir(parents=True)
    for split, rows in by_split(dataset).items():
        pictures = [{"bytes": image(dataset, i), "path": dataset.names[i]} for i in rows]
        columns = {"image": pa.array(pictures), "celeb_id": pa.array([100 + int(i) for i in rows])}
        for column, name in enumerate(dataset.attributes):
            values = dataset.targets_NA[rows, column]
            columns[name] = pa.array(values.astype(np.int64) if integers else values.astype(bool))
        name = {"train": "train", "validation": "valid", "test": "test"}[split]
        path = folder / "data" / f"{name}-00000-of-00001.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=group)
    return folder


def webdataset(dataset: FaceDataset, folder: Path, *, numbers: bool = False) -> Path:
    folder.mkdir(parents=True)
    for split, rows in by_split(dataset).items():
        with tarfile.open(folder / f"{split}-000000.tar", "w") as archive:
            for i in rows:
                key = Path(dataset.names[i]).stem
                values = dataset.targets_NA[i].tolist()
                labels = dict(zip(dataset.attributes, values, strict=True)) | {
                    "celeb_id": 100 + int(i)
                }
                text = " ".join(map(str, values)) if numbers else json.dumps(labels)
                suffix = "cls" if numbers else "json"
                for name, data in (
                    (f"{key}.jpg", image(dataset, i)),
                    (f"{key}.{suffix}", text.encode()),
                ):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return folder


def lists(dataset: FaceDataset, folder: Path, *, names: str = "{}_attr_list.txt") -> Path:
    (folder / "img_align_celeba").mkdir(parents=True)
    for split, rows in by_split(dataset).items():
        lines = [
            f"{dataset.names[i]} {' '.join(map(str, dataset.targets_NA[i].tolist()))}" for i in rows
        ]
        short = {"validation": "val"}.get(split, split)
        (folder / names.format(short)).write_text("\n".join(lines) + "\n")
    for i in range(len(dataset)):
        (folder / "img_align_celeba" / dataset.names[i]).write_bytes(image(dataset, i))
    return folder


def hq(dataset: FaceDataset, folder: Path, *, partition: bool = True) -> Path:
    """Crops cut as CelebA-HQ's, from the aligned frames, numbered in the opposite order."""
    (folder / celebamask_hq.IMAGES).mkdir(parents=True)
    transform = celebamask_hq.to_aligned(celebamask_hq.MEAN_LANDMARKS_52, HQ_SIDE)
    order = list(reversed(range(len(dataset))))
    rows, mapping = [], ["idx\torig_idx\torig_file"]
    for number, i in enumerate(order):
        crop = cv2.warpAffine(
            dataset.read(i), transform, (HQ_SIDE, HQ_SIDE), flags=cv2.INTER_LINEAR | 16
        )
        Image.fromarray(crop).save(folder / celebamask_hq.IMAGES / f"{number}.jpg", quality=95)
        values = "  ".join(str(2 * int(v) - 1) for v in dataset.targets_NA[i])
        rows.append(f"{number}.jpg  {values}")
        mapping.append(f"{number}\t{int(Path(dataset.names[i]).stem) - 1}\t{dataset.names[i]}")
    header = [str(len(rows)), " ".join(dataset.attributes)]
    (folder / celebamask_hq.ATTRIBUTES).write_text("\n".join([*header, *rows]) + "\n")
    (folder / celebamask_hq.MAPPING).write_text("\n".join(mapping) + "\n")
    if partition:
        lines = [
            f"{name} {split}"
            for name, split in zip(dataset.names, dataset.splits_N.tolist(), strict=True)
        ]
        (folder / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return folder


LAYOUTS = ("official", "unpacked", "torchvision", "flat", "kaggle", "csv")
"""Those of CelebA itself that `write_celeba` writes."""


def write_celeba(
    folder: Path,
    *,
    train: int = 48,
    validation: int = 24,
    test: int = 24,
    layout: str = "official",
    seed: int = 0,
) -> Path:
    """Writes a small data set of drawn faces in one of `LAYOUTS`; returns its folder."""
    rng = np.random.default_rng(seed)
    splits = np.repeat([0, 1, 2], [train, validation, test])
    targets_NA = labels(len(splits), rng)
    names = [f"{i + 1:06}.jpg" for i in range(len(splits))]
    files = {}
    for name, row in zip(names, targets_NA, strict=True):
        present = {a for a, yes in zip(CELEBA, row, strict=True) if yes}
        data = io.BytesIO()
        draw_face(present, rng).save(data, "JPEG", quality=90)
        files[name] = data.getvalue()
    lists, images = {
        "official": ("{}", "Img/img_align_celeba.zip"),
        "unpacked": ("{}", "Img/img_align_celeba"),
        "torchvision": ("", "img_align_celeba"),
        "flat": ("", ""),
        "kaggle": ("", "img_align_celeba/img_align_celeba"),
        "csv": ("", "images"),
    }[layout]
    _write_images(folder / images, files)
    if layout == "csv":
        words = np.array(["train", "validation", "test"])[splits]
        _write_csv(folder / "labels.csv", ("image", *CELEBA, "split"), names, targets_NA, words)
        return folder
    if layout == "kaggle":
        signed = targets_NA * 2 - 1
        _write_csv(folder / "list_attr_celeba.csv", ("image_id", *CELEBA), names, signed)
        _write_csv(folder / "list_eval_partition.csv", ("image_id", "partition"), names, splits)
        return folder
    rows = [
        f"{name} {' '.join(f'{1 if yes else -1:2d}' for yes in row)}"
        for name, row in zip(names, targets_NA, strict=True)
    ]
    header = " ".join(CELEBA)
    _write_text(
        folder / lists.format("Anno") / "list_attr_celeba.txt",
        "\n".join([str(len(names)), header, *rows]),
    )
    _write_text(
        folder / lists.format("Eval") / "list_eval_partition.txt",
        "\n".join(f"{name} {split}" for name, split in zip(names, splits, strict=True)),
    )
    return folder


def _write_images(place: Path, files: dict[str, bytes]) -> None:
    if place.suffix == ".zip":
        place.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(place, "w") as archive:
            for name, data in files.items():
                archive.writestr(f"img_align_celeba/{name}", data)
        return
    place.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (place / name).write_bytes(data)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def _write_csv(
    path: Path, header: tuple[str, ...], names: list[str], *columns: NDArray[np.generic]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for i, name in enumerate(names):
            cells = [v for c in columns for v in np.atleast_1d(c[i]).tolist()]
            writer.writerow([name, *(int(v) if isinstance(v, bool) else v for v in cells)])
