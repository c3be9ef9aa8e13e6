"""One list per split: `train_attr_list.txt`, `val_40_att_list.txt`, rows of an image and 0 or 1.

Several repositories bring CelebA's labels in this form. The lists have no header, so that their 40
columns are taken for CelebA's, in its order.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from celebattr.data import label_files
from celebattr.data.dataset import Source
from celebattr.data.layouts import celeba
from celebattr.errors import DataError

_NAME = re.compile(r"(train|training|val|valid|validation|test)_(?:\d+_)?attr?_list\.(?:txt|csv)")


def read(path: Path) -> Source | None:
    """Read lists named after their splits, and the images where CelebA has them.

    Raises:
        DataError: a list is damaged, they do not have the same columns, or there are no images.
    """
    files = lists(path)
    if not files:
        return None
    tables = [label_files.read_table(file) for file in files]
    first = tables[0]
    columns, note = celeba.columns(first)
    targets, splits = [], []
    for file, table in zip(files, tables, strict=True):
        if table.columns != first.columns:
            raise DataError(f"{file} and {first.path} do not have the same columns")
        targets.append(label_files.label_values(table, list(range(len(table.columns)))))
        splits.append(np.full(len(table.images), split_of(file.name), np.int8))
    store, layout = celeba.images(path, first.images[0])
    names = [name for table in tables for name in table.images]
    if "/" in first.images[0] and store.missing(names[:1]):
        # They name the folder too, `img_align_celeba/000001.jpg`, in which the images were found.
        names = [name.rpartition("/")[2] for name in names]
    return Source(
        f"one list per split, {layout}",
        path,
        columns,
        names,
        label_files.joined(targets),
        np.concatenate(splits),
        store,
        celeba.identities(path, names),
        note,
        tuple(text for table in tables for text in table.lacking),
    )


def lists(path: Path) -> list[Path]:
    """Return the lists in a folder or where CelebA has its lists, in the order of the splits."""
    for place in celeba.LISTS:
        if (path / place).is_dir():
            files = [f for f in (path / place).iterdir() if split_of(f.name) is not None]
            if files:
                return sorted(files, key=lambda file: (split_of(file.name), file.name))
    return []


def split_of(name: str) -> int | None:
    """Return the split that a list's name tells, or None if it is no such list."""
    found = _NAME.fullmatch(name.lower())
    return None if found is None else label_files.PARTITIONS[found[1]]
