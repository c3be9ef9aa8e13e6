"""Labelled faces on disk: CelebA in the layouts in which it is met, and data sets of one's own.

A layout is a row of `READERS`: a function that looks at a folder and returns a `Source` if it
recognises it. CelebA's official, torchvision's, flat and Kaggle layouts differ only in where the
same files lie and how they are spelled, so one reader with lists of places serves them all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from celebattr.data import drawn, labels
from celebattr.data.dataset import FaceDataset, Source
from celebattr.data.images import IMAGE_SUFFIXES
from celebattr.data.labels import TRAIN
from celebattr.data.stores import Folder, Store, Zip
from celebattr.errors import DataError

TERMS = "CelebA: non-commercial research and education only, no redistribution of images"

_LISTS = ("", "Anno", "anno", "Eval", "eval")
_ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
_PARTITION = ("list_eval_partition.txt", "list_eval_partition.csv")
_IDENTITY = ("identity_CelebA.txt", "identity_CelebA.csv")
# Where the images lie, and what that layout is called; the first that is there is taken.
_IMAGES = (
    ("img_align_celeba/img_align_celeba", "Kaggle"),
    ("Img/img_align_celeba/img_align_celeba", "official"),
    ("Img/img_align_celeba", "official"),
    ("img_align_celeba", "torchvision"),
    ("Img/img_align_celeba.zip", "official, zipped"),
    ("img_align_celeba.zip", "zipped"),
    ("images", "flat"),
    ("", "flat"),
)

Number = TypeVar("Number", np.int8, np.int64)

log = logging.getLogger(__name__)


def load(folders: Sequence[Path], *, skip_missing: bool = False) -> FaceDataset:
    """Reads the labels of some folders and joins them; images are read later.

    Args:
        folders: each a data set in one of the layouts, a CSV file of one's own, or `drawn`, faces
            drawn by program.
        skip_missing: leave out rows whose image is missing, instead of refusing them.

    Raises:
        DataError: a folder is not a data set, a list is damaged, images are missing, or the
            folders have different attributes.
    """
    if not folders:
        raise DataError("no data: name a folder")
    sources = [_source(Path(folder), skip_missing) for folder in folders]
    first = sources[0]
    targets = []
    for source in sources:
        if set(source.attributes) != set(first.attributes):
            odd = sorted(set(source.attributes) ^ set(first.attributes))
            raise DataError(
                f"{source.path} and {first.path} have different attributes and cannot be joined: "
                f"only one of them has {', '.join(odd[:5])}"
            )
        order = [source.attributes.index(name) for name in first.attributes]
        same = source.attributes == first.attributes
        targets.append(source.targets_NA if same else source.targets_NA[:, order])
    known = [s.identities_N for s in sources if s.identities_N is not None]
    return FaceDataset(
        attributes=first.attributes,
        names=[name for s in sources for name in s.names],
        targets_NA=np.concatenate(targets),
        splits_N=np.concatenate([s.splits_N for s in sources]),
        stores=tuple(s.store for s in sources),
        store_N=np.repeat(np.arange(len(sources), dtype=np.uint8), [len(s.names) for s in sources]),
        identities_N=np.concatenate(known) if len(known) == len(sources) else None,
        summary=" + ".join(f"{s.path.name} ({s.layout}{s.note})" for s in sources),
    )


def _source(path: Path, skip_missing: bool) -> Source:
    try:
        return _present(_read(path), skip_missing)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{error.filename or path} cannot be read: {reason}") from error


def _present(source: Source, skip_missing: bool) -> Source:
    """The source without the rows whose image is missing, or an error about them."""
    missing = source.store.missing(source.names)
    if not missing:
        return source
    shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    text = (
        f"{len(missing):,} of {len(source.names):,} images are not in {source.store.path}: {shown}"
    )
    if len(missing) == len(source.names):
        raise DataError(text)
    if not skip_missing:
        raise DataError(f"{text}. Give --skip-missing to leave their rows out")
    log.warning("%s; their rows are left out", text)
    gone = set(missing)
    keep = np.array([name not in gone for name in source.names])
    return replace(
        source,
        names=[name for name in source.names if name not in gone],
        targets_NA=source.targets_NA[keep],
        splits_N=source.splits_N[keep],
        identities_N=None if source.identities_N is None else source.identities_N[keep],
    )


def _read(path: Path) -> Source:
    if not path.exists():
        if str(path) == drawn.NAME:
            return drawn.source()
        raise DataError(f"{path} does not exist")
    for reader in READERS:
        source = reader(path)
        if source is not None:
            return source
    raise DataError(_explain(path))


def _celeba(path: Path) -> Source | None:
    """CelebA: a list of attributes, a list of partitions, and images somewhere near."""
    attributes = _find(path, _ATTRIBUTES)
    if attributes is None:
        return None
    table = labels.read_table(attributes)
    targets = labels.zero_one(table, list(range(len(table.columns))))
    partition = _find(path, _PARTITION)
    if partition is None:
        raise DataError(
            f"{path} has {attributes.name} but no {_PARTITION[0]}: without it nobody knows which "
            f"images are train, validation and test. It comes with CelebA, in the folder Eval"
            f"{_elsewhere(path)}"
        )
    rows = labels.read_table(partition, header=False)
    splits = _by_name(table.images, rows, labels.partitions(rows, 0), partition)
    store, layout = _images(path, table.images[0])
    return Source(
        f"CelebA {layout}",
        path,
        table.columns,
        table.images,
        targets,
        splits,
        store,
        _identities(path, table.images),
    )


def _identities(path: Path, names: list[str]) -> NDArray[np.int64] | None:
    """Who is shown, if the list of people is there and whole: nothing depends on it."""
    identity = _find(path, _IDENTITY)
    if identity is None:
        return None
    try:
        people = labels.read_table(identity, header=False)
        return _by_name(names, people, people.cells[:, 0].astype(np.int64), identity)
    except (DataError, ValueError) as error:
        log.warning("%s is left out: %s", identity.name, error)
        return None


def _by_name(
    names: list[str], table: labels.Table, values: NDArray[Number], path: Path
) -> NDArray[Number]:
    """The values of another list in the order of `names`."""
    if names == table.images:
        return values
    place = {name: row for row, name in enumerate(table.images)}
    lacking = [name for name in names if name not in place]
    if lacking:
        raise DataError(f"{path} has no row for {len(lacking):,} images, the first {lacking[0]}")
    return values[[place[name] for name in names]]


def _images(path: Path, example: str) -> tuple[Store, str]:
    """Where the images lie: the first place that holds any."""
    for place, layout in _IMAGES:
        at = path / place
        if at.suffix == ".zip" and at.is_file():
            return Zip(at), layout
        if at.is_dir() and ((at / example).is_file() or (place and _has_images(at))):
            return Folder(at), layout
    if list(path.glob("**/img_align_celeba_png.7z*")):
        raise DataError(
            f"{path} has only img_align_celeba_png.7z, which cannot be read here: take "
            "img_align_celeba.zip, the JPEGs, from where it came"
        )
    places = ", ".join(place or "the folder itself" for place, _ in _IMAGES)
    raise DataError(f"{path} has the lists of CelebA but no images; looked in {places}")


def _has_images(folder: Path) -> bool:
    return any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir())


def _find(path: Path, names: Sequence[str]) -> Path | None:
    for folder in _LISTS:
        for name in names:
            if (path / folder / name).is_file():
                return path / folder / name
    return None


def _own(path: Path) -> Source | None:
    """A CSV of one's own: a column of images, columns of 0 and 1, optionally one of splits."""
    if path.suffix.lower() in (".zip", ".7z"):
        return None
    files = [path] if path.is_file() else sorted(path.glob("*.csv"))
    if len(files) > 1:
        raise DataError(
            f"{path} has several CSV files ({', '.join(f.name for f in files[:4])}): give the one "
            "with the labels as --data"
        )
    if not files:
        return None
    file = files[0]
    table = labels.read_table(file)
    lowered = [name.lower() for name in table.columns]
    at = lowered.index("split") if "split" in lowered else None
    columns = [i for i in range(len(table.columns)) if i != at]
    if not columns:
        raise DataError(f"{file} has no attribute columns beside the image")
    splits = np.full(len(table.images), TRAIN, np.int8)
    if at is not None:
        splits = labels.partitions(table, at)
    folder = file.parent
    if table.images and not (folder / table.images[0]).is_file() and (folder / "images").is_dir():
        folder = folder / "images"
    return Source(
        "own CSV",
        path,
        tuple(table.columns[i] for i in columns),
        table.images,
        labels.zero_one(table, columns),
        splits,
        Folder(folder),
        note="" if at is not None else ", no split column: all rows are train",
    )


READERS: tuple[Callable[[Path], Source | None], ...] = (_celeba, _own)


def _explain(path: Path) -> str:
    """Why a folder is not a data set, and what to do."""
    if path.is_file():
        return (
            f"{path} is an archive; give the folder of CelebA that holds it, with the lists, or a "
            f"CSV with an image column{_elsewhere(path)}"
        )
    found = sorted(p.name + ("/" if p.is_dir() else "") for p in path.iterdir())
    shown = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "")
    text = (
        f"{path} is not a data set: looked for {_ATTRIBUTES[0]} there and in Anno/, and for a CSV "
        f"with an image column; found {shown or 'nothing'}."
    )
    for depth, pattern in (("one folder", "*/"), ("two folders", "*/*/")):
        deeper = sorted(str(p) for p in path.glob(pattern) if _find(p, _ATTRIBUTES))
        if deeper:
            return f"{text} It is {depth} deeper: give {' or '.join(deeper[:3])}"
    return f"{text} See the README for how to get CelebA{_elsewhere(path)}"


def _elsewhere(path: Path) -> str:
    """A hint at the data set that a folder or file is a part of, if it is."""
    above = [p for p in path.resolve().parents[:2] if _find(p, _ATTRIBUTES)]
    return f". It seems to be a part of {above[0]}: give that" if above else ""
