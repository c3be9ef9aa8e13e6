"""Data sets in files of many images: their names tell the split, `train-00000-of-00019.parquet`."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from celebattr.data.label_files import PARTITIONS

_WORD = re.compile(r"[a-z]+")


def find(path: Path, suffix: str) -> list[Path]:
    """The shards in a folder or up to two folders deeper, in the order of their names.

    The first depth that has any is taken: Hugging Face keeps them in `data/`, in a folder of the
    configuration's name, and, where it converted them, in folders named after the splits.
    """
    for pattern in ("", "*/", "*/*/"):
        files = sorted(f for f in path.glob(f"{pattern}*{suffix}") if f.is_file())
        if files:
            return files
    return []


def split_of(file: PurePath) -> int | None:
    """The split of a shard by the first word of its name, else by its folder's; None if neither."""
    for name in (file.name, file.parent.name):
        word = _WORD.match(name.lower())
        if word is not None and word[0] in PARTITIONS:
            return PARTITIONS[word[0]]
    return None
