"""Layouts of others: the same names, targets, splits and pixels as the official one."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePath

import layouts
import numpy as np
import pytest
from layouts import write_celeba

from celebattr.attributes import CELEBA
from celebattr.data import label_files
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts import celebamask_hq
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import DataError, MissingExtraError, UnreadableImageError

COUNTS = {"train": 5, "validation": 3, "test": 2}
WRITERS: dict[str, Callable[[FaceDataset, Path], Path]] = {
    "parquet of bools": layouts.parquet,
    "parquet of integers": lambda d, f: layouts.parquet(d, f, integers=True, group=100),
    "webdataset of json": layouts.webdataset,
    "webdataset of numbers": lambda d, f: layouts.webdataset(d, f, numbers=True),
    "attr_list": layouts.lists,
    "40_att_list": lambda d, f: layouts.lists(d, f, names="{}_40_att_list.txt"),
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    return load_dataset([write_celeba(tmp_path_factory.mktemp("reference"), **COUNTS)])


def assert_same(dataset: FaceDataset, reference: FaceDataset) -> None:
    order = [dataset.names.index(name) for name in reference.names]
    assert len(dataset) == len(reference)
    assert dataset.attributes == CELEBA
    np.testing.assert_array_equal(dataset.targets_NA[order], reference.targets_NA)
    np.testing.assert_array_equal(dataset.splits_N[order], reference.splits_N)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_layout_has_the_rows_and_pixels_of_the_official_one(
    tmp_path: Path, layout: str, reference: FaceDataset
) -> None:
    dataset = load_dataset([WRITERS[layout](reference, tmp_path / "there")])
    assert_same(dataset, reference)
    for row, name in enumerate(dataset.names):
        np.testing.assert_array_equal(
            dataset.read(row), reference.read(reference.names.index(name))
        )


@pytest.mark.parametrize("layout", ["parquet of bools", "webdataset of json", "hq"])
def test_an_attribute_whose_name_a_list_in_a_csv_could_not_hold_is_refused(
    tmp_path: Path, layout: str, reference: FaceDataset
) -> None:
    named = replace(reference, attributes=("5;o;Clock", *CELEBA[1:]))
    write = {"hq": layouts.hq, **WRITERS}[layout]
    why = r"there.*the attribute '5;o;Clock' has a ';' .*: rename it"
    with pytest.raises(DataError, match=why):
        load_dataset([write(named, tmp_path / "there")])


@pytest.mark.parametrize("layout", ["parquet of bools", "webdataset of json"])
def test_threads_read_the_same_as_one(
    tmp_path: Path, layout: str, reference: FaceDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celebattr.data.layouts.parquet._HELD_BYTES", 20_000)
    dataset = load_dataset([WRITERS[layout](reference, tmp_path / "there")])
    rows = np.random.default_rng(0).integers(0, len(dataset), 100).tolist()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(dataset.read, rows))
    for row, frame in zip(rows, together, strict=True):
        np.testing.assert_array_equal(frame, dataset.read(row))


@pytest.mark.parametrize("layout", ["parquet of bools", "webdataset of json"])
def test_people_come_with_the_rows(tmp_path: Path, layout: str, reference: FaceDataset) -> None:
    people = load_dataset([WRITERS[layout](reference, tmp_path / "there")]).identities_N
    assert people is not None
    assert sorted(people.tolist()) == list(range(100, 110))


# CelebAMask-HQ


def test_crops_of_mask_hq_come_back_under_their_official_names_and_splits(
    tmp_path: Path, reference: FaceDataset
) -> None:
    assert_same(load_dataset([layouts.hq(reference, tmp_path / "hq")]), reference)


def test_without_partitions_the_official_names_tell_the_split(
    tmp_path: Path, reference: FaceDataset
) -> None:
    folder = layouts.hq(reference, tmp_path / "hq", partition=False)
    for list_name in (celebamask_hq.MAPPING, celebamask_hq.ATTRIBUTES):
        assert (folder / list_name).is_file()
    mapping = folder / celebamask_hq.MAPPING
    text = mapping.read_text().replace("000001.jpg", "162771.jpg")
    mapping.write_text(text.replace("000002.jpg", "182638.jpg"))
    dataset = load_dataset([folder])
    splits = dict(zip(dataset.names, dataset.splits_N.tolist(), strict=True))
    assert (splits["162771.jpg"], splits["182638.jpg"], splits["000003.jpg"]) == (1, 2, 0)
    assert "splits by CelebA's names, aligned by the mean landmarks" in dataset.summary


def test_crops_of_mask_hq_lie_in_the_aligned_frame_where_they_were_cut(
    tmp_path: Path, reference: FaceDataset
) -> None:
    dataset = load_dataset([layouts.hq(reference, tmp_path / "hq")])
    for row in (0, 4, 9):
        frame = dataset.read(row).astype(int)
        truth = reference.read(reference.names.index(dataset.names[row])).astype(int)
        inside = (slice(40, 190), slice(14, 163))
        off = np.abs(frame[inside] - truth[inside]).mean()
        moved = np.abs(np.roll(frame, 2, axis=1)[inside] - truth[inside]).mean()
        assert off < 3.0
        assert off < 0.5 * moved
        # Margins that a crop does not show repeat its edge.
        np.testing.assert_allclose(frame[0], frame[20], atol=3)


def test_the_square_of_a_crop_follows_the_landmarks_of_its_face() -> None:
    mean = celebamask_hq.to_aligned(celebamask_hq.MEAN_LANDMARKS_52, 1024)
    corners = mean @ np.array([[-0.5, -0.5, 1], [1023.5, 1023.5, 1]]).T
    np.testing.assert_allclose(corners[:, 1] - corners[:, 0], 153.4, atol=0.3)
    np.testing.assert_allclose(corners.mean(axis=1), (88.49, 115.29), atol=0.1)
    # Turned by a quarter about the origin, the square turns with it.
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    shifted = celebamask_hq.MEAN_LANDMARKS_52 + 0.5
    turned = celebamask_hq.to_aligned(shifted @ quarter.T - 0.5, 1024)
    np.testing.assert_allclose(turned[:, :2], quarter @ mean[:, :2], atol=1e-9)


def test_landmarks_of_each_image_are_taken_where_they_are(
    tmp_path: Path, reference: FaceDataset
) -> None:
    folder = layouts.hq(reference, tmp_path / "hq")
    plain = load_dataset([folder]).read(0)
    shifted = celebamask_hq.MEAN_LANDMARKS_52 + np.array([7, 0])
    cells = " ".join(f"{v:.0f}" for v in shifted.ravel())
    header = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y"
    header += " leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    rows = [f"{name} {cells}" for name in reference.names]
    (folder / celebamask_hq.LANDMARKS[0]).write_text("\n".join(["10", header, *rows]) + "\n")
    dataset = load_dataset([folder])
    assert "the landmarks of each" in dataset.summary
    moved = dataset.read(0).astype(int)
    there = np.abs(moved[60:170, 40:150] - plain[60:170, 33:143]).mean()
    assert there < 0.5 * np.abs(moved[60:170, 40:150] - plain[60:170, 40:150]).mean()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (celebamask_hq.MAPPING, r"no CelebA-HQ-to-CelebA-mapping\.txt.*same archive"),
        (celebamask_hq.IMAGES, r"no folder CelebA-HQ-img"),
    ],
)
def test_a_part_of_mask_hq_that_is_missing_is_named(
    tmp_path: Path, reference: FaceDataset, name: str, why: str
) -> None:
    folder = layouts.hq(reference, tmp_path / "hq")
    (folder / name).rename(tmp_path / "away")
    with pytest.raises(DataError, match=why):
        load_dataset([folder])


def test_a_crop_that_is_missing_is_named_as_celeba_names_it(
    tmp_path: Path, reference: FaceDataset
) -> None:
    folder = layouts.hq(reference, tmp_path / "hq")
    (folder / celebamask_hq.IMAGES / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 10 images .*000010\.jpg"):
        load_dataset([folder])


# Lists of 0 and 1


def test_lists_without_a_header_say_that_celebas_order_is_assumed(
    tmp_path: Path, reference: FaceDataset
) -> None:
    dataset = load_dataset([layouts.lists(reference, tmp_path / "there")])
    assert "CelebA's order is assumed" in dataset.summary


def test_lists_may_name_the_folder_too(tmp_path: Path, reference: FaceDataset) -> None:
    folder = layouts.lists(reference, tmp_path / "there")
    for file in folder.glob("*_list.txt"):
        lines = file.read_text().splitlines()
        file.write_text("\n".join(f"img_align_celeba/{line}" for line in lines))
    dataset = load_dataset([folder])
    assert dataset.read(0).shape == (218, 178, 3)
    assert dataset.names[0].endswith("000001.jpg")


def test_lists_of_other_widths_are_refused(tmp_path: Path, reference: FaceDataset) -> None:
    folder = layouts.lists(reference, tmp_path / "there")
    (folder / "test_attr_list.txt").write_text("000009.jpg 0 1\n")
    with pytest.raises(DataError, match=r"test_attr_list\.txt and .*same columns"):
        load_dataset([folder])


# Parquet


def test_a_cut_off_parquet_file_is_named_with_the_remedy(
    tmp_path: Path, reference: FaceDataset
) -> None:
    folder = layouts.parquet(reference, tmp_path / "there")
    file = folder / "data/train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train-00000.*not a complete Parquet.*Download it again"):
        load_dataset([folder])


def test_a_damaged_row_group_fails_its_images_only(tmp_path: Path, reference: FaceDataset) -> None:
    folder = layouts.parquet(reference, tmp_path / "there")
    dataset = load_dataset([folder])
    file = folder / "data/train-00000-of-00001.parquet"
    data = bytearray(file.read_bytes())
    data[4:60] = b"\xff" * 56
    file.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=r"train-00000.*row group 0"):
        dataset.read(dataset.names.index("000001.jpg"))
    assert dataset.read(dataset.names.index("000004.jpg")).shape == (218, 178, 3)


def test_images_without_names_are_named_by_shard_and_row(
    tmp_path: Path, reference: FaceDataset
) -> None:
    import pyarrow.parquet as pq

    folder = layouts.parquet(reference, tmp_path / "there")
    for file in (folder / "data").iterdir():
        rows = pq.read_table(file).to_pylist()
        for row in rows:
            row["image"]["path"] = None
        pq.write_table(pq.read_table(file).from_pylist(rows), file)
    dataset = load_dataset([folder])
    assert dataset.names[0] == "test-00000-of-00001:0"
    np.testing.assert_array_equal(dataset.read(0), reference.read(8))


def test_a_shard_without_rows_is_passed_over(tmp_path: Path, reference: FaceDataset) -> None:
    part = reference.split("train")
    dataset = load_dataset([layouts.parquet(part, tmp_path / "there")])
    assert dataset.names == part.names
    none = reference.share(1.0, 0).split("train", 0)
    with pytest.raises(DataError, match="without any row"):
        load_dataset([layouts.parquet(none, tmp_path / "none")])


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, reference: FaceDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = layouts.parquet(reference, tmp_path / "there")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"celebattr\[parquet\]"):
        load_dataset([folder])


# WebDataset


def test_a_cut_off_shard_is_named_with_the_remedy(tmp_path: Path, reference: FaceDataset) -> None:
    folder = layouts.webdataset(reference, tmp_path / "there")
    file = folder / "train-000000.tar"
    file.write_bytes(file.read_bytes()[:-30_000])
    with pytest.raises(DataError, match=r"train-000000\.tar is not a complete.*download it again"):
        load_dataset([folder])


def test_a_compressed_shard_is_named_with_the_remedy(
    tmp_path: Path, reference: FaceDataset
) -> None:
    folder = layouts.webdataset(reference, tmp_path / "there")
    with tarfile.open(folder / "test-000000.tar", "w:gz") as archive:
        archive.add(folder / "train-000000.tar", "x")
    with pytest.raises(DataError, match=r"test-000000\.tar .*decompress it"):
        load_dataset([folder])


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ("{", "are not JSON"),
        ("[1, 0]", "neither attributes by name nor 40 numbers"),
        (json.dumps(dict.fromkeys(CELEBA, 3)), "has 3 for"),
        (json.dumps(dict.fromkeys(CELEBA[:3], 1)), "has other attributes"),
    ],
)
def test_labels_that_are_none_are_named(
    tmp_path: Path, reference: FaceDataset, labels: str, why: str
) -> None:
    folder = layouts.webdataset(reference, tmp_path / "there")
    (tmp_path / "labels").write_text(labels)
    (tmp_path / "image").write_bytes(b"x")
    with tarfile.open(folder / "train-000001.tar", "w") as archive:
        archive.add(tmp_path / "image", "a.jpg")
        archive.add(tmp_path / "labels", "a.json")
    with pytest.raises(DataError, match=rf"train-000001\.tar.*{why}"):
        load_dataset([folder])


def test_a_header_that_was_deleted_leaves_celebas_order(
    tmp_path: Path, reference: FaceDataset
) -> None:
    path = write_celeba(tmp_path, **COUNTS) / "Anno/list_attr_celeba.txt"
    path.write_text("\n".join(path.read_text().splitlines()[2:]))
    dataset = load_dataset([tmp_path])
    assert_same(dataset, reference)
    assert "CelebA's order is assumed" in dataset.summary


# What lists and names promise


def cut_off(reference: FaceDataset, folder: Path) -> Path:
    write_celeba(folder, **COUNTS)
    (file,) = folder.rglob("list_attr_celeba.txt")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]))
    return folder


def cut_off_hq(reference: FaceDataset, folder: Path) -> Path:
    layouts.hq(reference, folder)
    file = folder / celebamask_hq.ATTRIBUTES
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]))
    return folder


def shards(suffix: str) -> Callable[[FaceDataset, Path], Path]:
    """Three shards per split by their names, of which two are gone."""

    def write(reference: FaceDataset, folder: Path) -> Path:
        (layouts.parquet if suffix == ".parquet" else layouts.webdataset)(reference, folder)
        for file in folder.rglob(f"*{suffix}"):
            split = file.name.partition("-")[0]
            number = 2 if split == "train" else 0
            file.rename(file.with_name(f"{split}-0000{number}-of-0000{number + 1}{suffix}"))
        return folder

    return write


def counted(reference: FaceDataset, folder: Path) -> Path:
    """Write shards as WebDataset counts them, with two between the first and the last gone."""
    layouts.webdataset(reference, folder)
    for number, file in zip((4, 2, 0), sorted(folder.glob("*.tar")), strict=True):
        file.rename(file.with_name(f"train-00000{number}.tar"))
    return folder


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (cut_off, "says 10 rows in its first line and has 8: it was cut off"),
        (cut_off_hq, "says 10 rows in its first line and has 8: it was cut off"),
        (shards(".parquet"), "2 shards are missing: .*train-00000-of-00003.parquet, .*train-00001"),
        (shards(".tar"), "2 shards are missing: .*train-00000-of-00003.tar, .*train-00001"),
        (counted, "2 shards are missing: .*train-000001.tar, .*train-000003.tar"),
    ],
    ids=["celeba", "hq", "parquet", "tar", "counted"],
)
def test_a_part_that_is_missing_is_noticed(
    write: Callable[[FaceDataset, Path], Path],
    told: str,
    tmp_path: Path,
    reference: FaceDataset,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = write(reference, tmp_path / "there")
    with pytest.raises(DataError, match=f"{told}.*Give --skip-missing to use what is there"):
        load_dataset([folder])
    assert len(load_dataset([folder], skip_missing=True)) in (8, 10)
    assert told.partition(":")[0] in caplog.text


@pytest.mark.parametrize(
    "names",
    [("2019.tar", "2021.tar"), ("a-000001.tar", "a-000002.tar", "b-000005.tar"), ("x.tar",)],
)
def test_names_that_promise_nothing_are_not_held_to_it(names: tuple[str, ...]) -> None:
    assert label_files.shards_lacking(map(PurePath, names)) == ()


def test_images_that_only_the_list_of_splits_has_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_celeba(tmp_path / "there", **COUNTS)
    (file,) = folder.rglob("list_attr_celeba.txt")
    file.write_text("\n".join(["8", *file.read_text().splitlines()[1:-2]]) + "\n")
    assert len(load_dataset([folder])) == 8
    assert "2 images have no labels and are left out" in caplog.text
