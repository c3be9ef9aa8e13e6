"""Places of CelebA's files in a folder, and joins of its lists: shared by the readers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import CELEBA
from celebattr.constants import IMAGE_SUFFIXES, TEST, TRAIN, VALIDATION
from celebattr.data import label_files
from celebattr.data.image_stores import Folder, Store, Zip
from celebattr.errors import DataError
from celebattr.options import Location, Url

LISTS = ("", "Anno", "anno", "Eval", "eval")
ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITION = ("list_eval_partition.txt", "list_eval_partition.csv")
IDENTITY = ("identity_CelebA.txt", "identity_CelebA.csv")
IMAGES = (
    ("img_align_celeba/img_align_celeba", "Kaggle"),
    ("Img/img_align_celeba/img_align_celeba", "official"),
    ("Img/img_align_celeba", "official"),
    ("img_align_celeba", "torchvision"),
    ("Img/img_align_celeba.zip", "official, zipped"),
    ("img_align_celeba.zip", "zipped"),
    *(
        (f"{folder}{place}", f"{name}PNG edition{packed}")
        for folder, name in (("Img/", "official, "), ("", ""))
        for place, packed in (
            ("img_align_celeba_png", ""),
            ("img_align_celeba_png.7z/img_align_celeba_png", ""),  # unpacked where its parts lie
            ("img_align_celeba_png.zip", ", zipped"),
        )
    ),
    ("images", "flat"),
    ("", "flat"),
)
"""Places of the images and the name of each layout; the first that exists is taken."""

LAST_OF_SPLIT = {TRAIN: 162_770, VALIDATION: 182_637, TEST: 202_599}
"""Number of the last image of each split: CelebA's splits are ranges of its file names.

Source: CelebA's list_eval_partition.txt."""

Number = TypeVar("Number", np.int8, np.int64, np.float64)

log = logging.getLogger(__name__)


def find(path: Location, names: Sequence[str]) -> Path | None:
    """Return a list by any of its names, in the folder or in one of `LISTS` below it."""
    if isinstance(path, Url):
        return None  # only shards are read from afar, and they have no lists
    for folder in LISTS:
        for name in names:
            if (path / folder / name).is_file():
                return path / folder / name
    return None


def images(path: Path, example: str) -> tuple[Store, str]:
    """Return the first place that holds any images, and the name of its layout.

    Args:
        path: the folder of the data set.
        example: the name of one of the images.

    Raises:
        DataError: no place does.
    """
    for place, layout in IMAGES:
        at = path / place
        if at.suffix == ".zip" and at.is_file():
            return Zip(at), layout
        if at.is_dir() and ((at / example).is_file() or (place and has_images(at))):
            return Folder(at), layout
    if list(path.glob("**/img_align_celeba_png.7z*")):
        raise DataError(
            f"{path} has only img_align_celeba_png.7z, which cannot be read here: unpack it with "
            "`7z x`, or take img_align_celeba.zip, the JPEGs, from where it came"
        )
    places = ", ".join(place or "the folder itself" for place, _ in IMAGES)
    raise DataError(f"{path} has the lists of CelebA but no images; looked in {places}")


def has_images(folder: Path) -> bool:
    """Return True if a folder holds any image file."""
    return any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir())


def by_name(
    names: list[str], table: label_files.Table, values: NDArray[Number], path: Path
) -> NDArray[Number]:
    """Return the values of another list in the order of `names`.

    Raises:
        DataError: the list lacks some of them.
    """
    if names == table.images:
        return values
    place = {name: row for row, name in enumerate(table.images)}
    lacking = [name for name in names if name not in place]
    if lacking:
        raise DataError(f"{path} has no row for {len(lacking):,} images, the first {lacking[0]}")
    return values[[place[name] for name in names]]


def partition(path: Path, names: list[str]) -> NDArray[np.int8] | None:
    """Return the splits by the list of partitions, int8 [N]; None if there is no list."""
    file = find(path, PARTITION)
    if file is None:
        return None
    rows = label_files.read_table(file, header=False)
    # The only promise of a CSV that was cut off; whoever took rows out on purpose has it too.
    if len(rows.images) > len(names) and (strange := set(rows.images) - set(names)):
        log.warning("%s: %s images have no labels and are left out", file, f"{len(strange):,}")
    return by_name(names, rows, label_files.partitions(rows, 0), file)


def identities(path: Path, names: list[str]) -> NDArray[np.int64] | None:
    """Return the person of each image, int64 [N], or None if the list is absent or not whole."""
    identity = find(path, IDENTITY)
    if identity is None:
        return None
    try:
        people = label_files.read_table(identity, header=False)
        return by_name(names, people, people.cells[:, 0].astype(np.int64), identity)
    except (DataError, ValueError) as error:
        log.warning("%s is left out: %s", identity.name, error)
        return None


def official_split(name: str) -> int | None:
    """Return the split in which CelebA has an image of this name, or None if it has none."""
    stem = Path(name).stem
    if not (len(stem) == 6 and stem.isascii() and stem.isdecimal() and int(stem) > 0):
        return None
    return next((split for split, last in LAST_OF_SPLIT.items() if int(stem) <= last), None)


def columns(table: label_files.Table) -> tuple[tuple[str, ...], str]:
    """Return the attributes of a list, and a note about them.

    A list without a header has 40 columns by position: CelebA's order is taken for granted.
    """
    if table.named or len(table.columns) != len(CELEBA):
        return table.columns, ""
    return CELEBA, ", no names of attributes: CelebA's order is assumed"
