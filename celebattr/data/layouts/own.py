"""Photos of one's own: CSV or TSV files beside the images, or a folder of images per attribute.

One file with a split column; `train.csv` and `val.csv`; a file in each folder of a split. A column
of the person and one of the split are told by their names; what holds no labels is left out.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import IMAGE_SUFFIXES, PEOPLE_COLUMNS, TRAIN
from celebattr.data import label_files
from celebattr.data.dataset import Source
from celebattr.data.image_stores import Folder
from celebattr.data.label_files import Table, split_of
from celebattr.errors import DataError

SPLIT_COLUMNS = ("split", "partition")
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")
"""Suffixes of archives, which are no lists."""

_ROW_NUMBER = re.compile(r"unnamed: \d+")  # what pandas calls a column without a name
_NOT_ATTRIBUTES = re.compile(r"img.*|images?|anno|eval|celeba.*|__macosx|\..*", re.IGNORECASE)

log = logging.getLogger(__name__)


def read(path: Path, column: str | None = None) -> Source | None:
    """Read CSV files of one's own; None if there are none.

    Args:
        path: one file, or the folder that has it.
        column: the column that names the image; if None, one of `IMAGE_COLUMNS`.

    Raises:
        DataError: a file is damaged, has no attributes, or it is not clear which to read.
    """
    if path.suffix.lower() in ARCHIVES:
        return None
    files = [path] if path.is_file() else csv_files(path)
    if not files:
        return None
    root = path.parent if path.is_file() else path
    tables = [label_files.read_table(file, column=column) for file in files]
    places = [
        _place(root, file, table.images[0]) for file, table in zip(files, tables, strict=True)
    ]
    if len(set(places)) == 1:
        root, places = root / places[0], [""] * len(files)
    table = _joined(path if len(files) > 1 else files[0], tables, places)
    lowered = [name.lower() for name in table.columns]
    split, person = (
        next((lowered.index(name) for name in names if name in lowered), None)
        for names in (SPLIT_COLUMNS, PEOPLE_COLUMNS)
    )
    columns = _attributes(table, {split, person})
    splits, note = _splits(table, split, files, [len(one.images) for one in tables])
    return Source(
        "own CSV" if len(files) == 1 else "own CSV per split",
        path,
        tuple(table.columns[i] for i in columns),
        table.images,
        label_files.label_values(table, columns),
        splits,
        Folder(root),
        None if person is None else _people(table, person),
        note,
        tuple(text for one in tables for text in one.lacking),
    )


def csv_files(path: Path) -> list[Path]:
    """Return the label files of a folder: one, or one per split, here or in the splits' folders."""
    files = _lists(path)
    if not files:
        folders = (p for p in sorted(path.iterdir()) if p.is_dir() and _split_named(p) is not None)
        files = [file for folder in folders for file in _lists(folder)]
        splits = [_split_named(file.parent) for file in files]
    else:
        splits = [_split_named(file) for file in files]
    if len(files) > 1 and (None in splits or len(set(splits)) < len(splits)):
        raise DataError(
            f"{path} has several CSV files ({', '.join(f.name for f in files[:4])}): give the one "
            "with the labels as --data, or name them after the splits, train.csv and val.csv"
        )
    return files


def _lists(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".csv", ".tsv"))


def _split_named(path: Path) -> int | None:
    """Return the split that a file's or folder's own name tells, or None."""
    return split_of(PurePath(path.name))


def _place(root: Path, file: Path, name: str) -> str:
    """Return the folder below `root` that the names of a label file start from."""
    beside = file.parent.relative_to(root).as_posix() if file.parent != root else ""
    name = name.replace("\\", "/")
    tried = [beside, f"{beside}/images".lstrip("/"), "", "images", file.stem, f"images/{file.stem}"]
    tried = [place for place in tried if (root / place).is_dir()]
    exact = (place for place in tried if (root / place / name).is_file())
    near = (place for place in tried if Folder(root / place).near([name]))
    fitting = next((place for places in (exact, near) for place in places), None)
    return next(filter(None, tried), "") if fitting is None else fitting


def _joined(path: Path, tables: list[Table], places: list[str]) -> Table:
    """Return the rows of all tables; cells of columns that one lacks are blank."""
    columns = tuple(dict.fromkeys(name for table in tables for name in table.columns))
    images, cells = [], []
    for table, place in zip(tables, places, strict=True):
        names = [name.replace("\\", "/") for name in table.images]
        images += [f"{place}/{name}" if place else name for name in names]
        lacking = np.full((len(names), 1), "")
        at = [table.columns.index(n) if n in table.columns else -1 for n in columns]
        cells.append(np.concatenate([table.cells, lacking], axis=1)[:, at])
    return Table(path, columns, images, np.concatenate(cells), all(t.named for t in tables))


def _attributes(table: Table, known: set[int | None]) -> list[int]:
    """Return the columns that are attributes; warn once of those left out."""
    rest = [i for i in range(len(table.columns)) if i not in known]
    columns = [
        i
        for i in rest
        if not _ROW_NUMBER.fullmatch(table.columns[i].lower())
        and label_files.filled_with_labels(table.cells[:, i])
    ]
    left = [table.columns[i] for i in rest if i not in columns]
    if not columns:
        why = f": {', '.join(left[:6])} hold other values than 0 and 1" if left else ""
        raise DataError(f"{table.path} has no attribute columns beside the image{why}")
    if left:
        log.warning("%s: left out, no labels of 0 and 1: %s", table.path.name, ", ".join(left))
    return columns


def _splits(
    table: Table, column: int | None, files: list[Path], counts: list[int]
) -> tuple[NDArray[np.int8], str]:
    """Return the split of each row, int8 [N], and a note about them."""
    if column is not None and (len(files) == 1 or (table.cells[:, column] != "").all()):
        return label_files.partitions(table, column), ""
    if len(files) > 1:
        named = [_split_named(file) for file in files]
        by_file = [
            s if s is not None else _split_named(f.parent)
            for f, s in zip(files, named, strict=True)
        ]
        return np.repeat(np.array(by_file, np.int8), counts), ""
    by_name = [split_of(PurePath(PurePath(name).parts[0])) for name in table.images]
    if all("/" in name for name in table.images) and None not in by_name:
        return np.array(by_name, np.int8), ", splits by the images' folders"
    return np.full(len(table.images), TRAIN, np.int8), ", no split column: all rows are train"


def _people(table: Table, column: int) -> NDArray[np.int64]:
    """Return the person of each image, int64 [N]; whoever is not named is nobody else.

    Names become numbers that do not depend on the file, so that data sets can be joined.
    """
    cells = [cell.strip() for cell in table.cells[:, column].tolist()]
    named = [cell or f"\0{image}" for cell, image in zip(cells, table.images, strict=True)]
    if all(re.fullmatch(r"\d{1,18}", cell) for cell in cells):
        return np.array(cells, np.int64)
    numbers = {name: hashlib.sha256(name.encode()).digest()[:8] for name in set(named)}
    return np.array([int.from_bytes(numbers[name]) >> 1 for name in named], np.int64)


def read_folders(path: Path) -> Source | None:
    """Read folders of images that are called after what their images show.

    `Smiling/a.jpg`, or `train/Smiling/a.jpg`. The same file in two folders (by name and size) is
    one image that shows both. None if there are not at least two such folders.
    """
    if not path.is_dir():
        return None
    below = _folders(path)
    splits = {folder: _split_named(folder) for folder in below}
    by_split = bool(below) and None not in splits.values()
    roots = {f: s or 0 for f, s in splits.items()} if by_split else {path: TRAIN}
    shown: dict[tuple[int, str, int], set[str]] = {}
    first: dict[tuple[int, str, int], str] = {}
    for root, split in roots.items():
        for folder in _folders(root):
            for file in sorted(folder.iterdir()):
                if file.suffix.lower() in IMAGE_SUFFIXES:
                    key = (split, file.name, file.stat().st_size)
                    shown.setdefault(key, set()).add(folder.name)
                    first.setdefault(key, file.relative_to(path).as_posix())
    attributes = tuple(sorted(set().union(*shown.values())))
    if len(attributes) < 2 or any(_NOT_ATTRIBUTES.fullmatch(name) for name in attributes):
        return None
    return Source(
        "a folder per attribute",
        path,
        attributes,
        list(first.values()),
        np.array([[name in one for name in attributes] for one in shown.values()], np.uint8),
        np.array([split for split, _, _ in shown], np.int8),
        Folder(path),
        note="" if by_split else ", no splits: all images are train",
    )


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir())
