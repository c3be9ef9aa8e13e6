"""Checks of the images that need them opened: unreadable ones, sizes, repeats."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import CROP_SIZE
from celebattr.data.dataset import Source
from celebattr.data.duplicates import Picture
from celebattr.data.faces import decide
from celebattr.data.image_stores import Folder, Zip
from celebattr.data.layouts.celebamask_hq import Crops
from celebattr.diagnosis import files
from celebattr.diagnosis.report import EXAMPLES, Finding
from celebattr.errors import counted

_NUMBERED = re.compile(r"\d{1,5}\.(jpg|png)")
"""Names in CelebAMask-HQ and its copies: numbers without leading zeros."""

STRETCH = 1.05
"""Ratio to CelebA's aspect of 218 to 178 beyond which a face is visibly stretched."""


PHOTOS = "photos, not aligned crops"
"""Start of the finding on images whose faces are to be found and aligned."""


def spread(count: int, limit: int | None) -> NDArray[np.int64]:
    """Return rows to open, evenly spread over all."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(np.int64))


def missing(source: Source) -> Iterator[Finding]:
    """Yield findings on rows without an image, and images without a row."""
    gone = source.store.missing(source.names)
    there = source.store.names() if isinstance(source.store, Folder | Zip) else set()
    if len(gone) == len(source.names) and there and all(map(_NUMBERED.fullmatch, there)):
        what = f"no image of the lists is in {source.store.path}: {files.NUMBERING}"
        yield Finding("problem", "numbering", what, files.NUMBERING_REMEDY, sorted(there))
    elif gone:
        count, remedy = "all", "Download or unpack the images again"
        if len(gone) < len(source.names):
            count = f"{len(gone):,} of the"
            remedy += "; or give --skip-missing to train and evaluate without them"
        what = f"{count} {len(source.names):,} images are not in {source.store.path}"
        yield Finding("problem", "missing images", what, remedy, gone)
    else:
        what = f"all {len(source.names):,} images of the lists are there"
        yield Finding("ok", "missing images", what)
    extra = sorted(there - set(source.names))
    if extra:
        what = f"{counted(len(extra), 'image')} without a row in the lists, left out"
        yield Finding("note", "images without labels", what, "", extra)
    if isinstance(source.store, Crops):
        what = (
            "crops of CelebA-HQ, warped to the aligned crop: they show 153 of its 178x218 "
            "pixels, and their edges are repeated around them"
        )
        remedy = "CelebA's own images of these faces show more: use them where you have them"
        yield Finding("note", "crops", what, remedy)


def faces(source: Source, wanted: str, workers: int) -> Iterator[Finding]:
    """Yield whether the images of a folder are aligned crops, as train and evaluate decide it."""
    gone = set(source.store.missing(source.names))
    there = [name for name in source.names if name not in gone]
    if not there:
        return
    chosen, why = wanted, "as asked"
    if wanted == "auto":
        chosen, why = decide(source.store, there, workers=workers)
    if chosen == "none":
        yield Finding("ok", "faces", f"taken as aligned crops: {why}")
        return
    remedy = "train and evaluate find and align their faces; celebattr align writes the crops"
    yield Finding("note", "faces", f"{PHOTOS}: {why}", remedy)


def check(
    source: Source, rows: Sequence[int], pictures: Sequence[Picture], *, aligned: bool
) -> Iterator[Finding]:
    """Yield findings on the opened images of a folder: unreadable ones; sizes of aligned crops."""
    broken = [source.names[r] for r, p in zip(rows, pictures, strict=True) if p.error]
    if broken:
        first = next(picture.error for picture in pictures if picture.error)
        count = f"{counted(len(broken), 'image')} of {len(pictures):,} opened"
        remedy = "Get them again from their source, or remove their rows from the list"
        what = f"{count} cannot be read: {first}"
        yield Finding("problem", "unreadable images", what, remedy, broken)
    elif pictures:
        what = f"all {len(pictures):,} images that were opened can be read"
        yield Finding("ok", "unreadable images", what)
    sizes = Counter(p.size for p in pictures if not p.error)
    if sizes and aligned:
        yield from _sizes(sizes)


def _sizes(sizes: Counter[tuple[int, int]]) -> Iterator[Finding]:
    height, width = CROP_SIZE
    total = sum(sizes.values())

    def stretched(size: tuple[int, int]) -> bool:
        ratio = (size[1] / size[0]) / (height / width)
        return not 1 / STRETCH <= ratio <= STRETCH

    odd = Counter({size: n for size, n in sizes.items() if stretched(size)})
    small = Counter({size: n for size, n in (sizes - odd).items() if size[1] < height})
    if odd:
        yield Finding(
            "warning",
            "sizes",
            f"{odd.total():,} of {total:,} images are not as high to wide as CelebA's aligned "
            f"{width}x{height}, and are stretched to it: {_shown(odd)}",
            "They seem to be photos before alignment: see `faces` for what train and evaluate make "
            "of them; of CelebA, img_align_celeba is aligned"
            if len(odd) > max(3, total // 20)
            else "Right if the whole aligned crop was squeezed into that size. If not, faces lie "
            "elsewhere than in CelebA's crops: align them first",
        )
    if small:
        what = f"{small.total():,} of {total:,} images are smaller than {width}x{height}"
        remedy = "They are enlarged, and stay as blurred"
        yield Finding("note", "sizes", f"{what}: {_shown(small)}", remedy)
    if not odd and not small:
        same = sizes.keys() == {(width, height)}
        what = f"all {total:,} are" if same else f"{total:,} images:"
        shown = f"{width}x{height}" if same else _shown(sizes)
        yield Finding("ok" if same else "note", "sizes", f"{what} {shown}")


def _shown(sizes: Counter[tuple[int, int]]) -> str:
    """Name the most frequent sizes, and the number of others."""
    shown = ", ".join(f"{w}x{h} ({n:,})" for (w, h), n in sizes.most_common(EXAMPLES))
    rest = len(sizes) - EXAMPLES
    return f"{shown} and {counted(rest, 'more size')}" if rest > 0 else shown
