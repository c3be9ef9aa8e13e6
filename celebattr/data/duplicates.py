"""Repeated pictures whose files differ: re-compressed, resized, or aligned again.

Hashes of the usual kind (dHash, pHash; the library imagehash) say little about aligned faces, which
are all alike: on 47,069 real crops with 355 pairs that this module finds, 64 bits of dHash find
298 of them at a distance of up to 3 bits, among 8,946 pairs; pHash finds 308 up to 4 bits, among
643. So pictures are compared in what sets them apart from the mean face, and candidates are found
by random hyperplanes: time grows with the number of pictures, not with its square.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr.data.dataset import FaceDataset, Source
from celebattr.data.image_stores import Store
from celebattr.errors import ImageError
from celebattr.images.open import decode, read_bytes
from celebattr.io.prefetch import ordered_map

SIDE = 16
"""Side of the grey thumbnail that stands for a picture, in pixels."""

SAME = 0.98
"""Correlation of what is not mean face from which two pictures are one. Of real pairs with 0.98 to
0.99, 94 % name the same person; with 0.96 to 0.97, 55 %: others with a similar light and pose."""

_REGION = (14 / 178, 42 / 218, 164 / 178, 190 / 218)
"""Left, top, right, bottom of what is compared, as shares of the crop: the margins are left out,
since copies differ in what lies beyond the photo's edge. It is what a CelebA-HQ crop shows too."""

_PLAIN = 2.0
"""Standard deviation of the grey values below which a picture shows nothing to compare."""

_PRIOR = 4
"""Pictures of plain grey that the mean face is averaged with: two pictures are no mean."""

_TABLES = 24
"""Hash tables, each of random hyperplanes. Of 200,000 pictures, two with a correlation of 0.98 have
one code in common with a probability of 99.7 %."""

_MORE_BITS = 5
"""Hyperplanes of a table beyond the logarithm of the number of pictures, base 2: a picture shares
its code with few others, however many there are."""

_WINDOW = 32
"""Pictures that one is held against among those of the same code."""

_CHUNK = 16_384
"""Pictures worked on at once."""

_SIDE = 48.0
"""Pixels of the longer side that suffice: a JPEG is decoded in part, every byte of it is read."""


@dataclass(frozen=True)
class Picture:
    """One opened image, or the reason that it could not be opened.

    Attributes:
        size: width and height in pixels, as stored.
        thumbnail_HW: uint8 [16, 16], or None where `error` says why not.
        error: what is wrong with it.
    """

    size: tuple[int, int]
    thumbnail_HW: NDArray[np.uint8] | None
    error: str = ""


def thumbnail(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the part of an image that is compared: uint8 [16, 16], grey.

    The image may be decoded to 1/2, 1/4 or 1/8 of `size`, its width and height in full.
    """
    # A reduced image has a part of a pixel more at its right and lower edge.
    reduced = round(max(size) / max(image.size))
    left, top, right, bottom = _REGION
    width, height = size[0] / reduced, size[1] / reduced
    box = (left * width, top * height, right * width, bottom * height)
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small)


def pairs(thumbnails_NHW: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return pairs of pictures that are the same, int64 [P, 2], the lower row first.

    Of more than `_WINDOW` pictures that are all the same, each is paired with its neighbours only.

    Source: M. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.
    """
    count = len(thumbnails_NHW)
    if count < 2:
        return np.zeros((0, 2), np.int64)
    flat_ND = thumbnails_NHW.reshape(count, -1)
    chunks = [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]
    total_D = sum(_standard(flat_ND[chunk]).sum(axis=0, dtype=np.float64) for chunk in chunks)
    mean_D = np.asarray(total_D / (count + _PRIOR), np.float32)
    rest_ND = np.empty(flat_ND.shape, np.float16)  # half precision: 100 MB for 200,000 pictures
    for chunk in chunks:
        rest = _standard(flat_ND[chunk]) - mean_D
        rest_ND[chunk] = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-6)
    plain_N = flat_ND.std(axis=1) < _PLAIN
    bits = math.ceil(math.log2(count)) + _MORE_BITS
    rng = np.random.default_rng(0)
    known_P = np.zeros(0, np.int64)
    for _ in range(_TABLES):
        planes = rng.normal(size=(rest_ND.shape[1], bits)).astype(np.float32)
        weights = 1 << np.arange(bits, dtype=np.int64)
        codes_N = np.concatenate(
            [(rest_ND[chunk].astype(np.float32) @ planes > 0) @ weights for chunk in chunks]
        )
        found_P2 = _agreeing(rest_ND, _candidates(np.where(plain_N, -1, codes_N)))
        known_P = np.union1d(known_P, found_P2[:, 0] * count + found_P2[:, 1])
    return np.stack([known_P // count, known_P % count], axis=1)


def _standard(flat_ND: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale pictures to mean 0 and length 1, so that brightness and contrast do not count."""
    values = flat_ND.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return values


def _candidates(codes_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs of the same code, int64 [P, 2]; a negative code matches none."""
    order = np.argsort(codes_N, kind="stable")
    order = order[codes_N[order] >= 0]
    sorted_N = codes_N[order]
    found = [np.zeros((0, 2), np.int64)]
    for step in range(1, min(_WINDOW, len(order) - 1) + 1):
        same = sorted_N[step:] == sorted_N[:-step]
        if not same.any():
            break
        # A stable sort leaves the rows of one code in their order: the lower one first.
        found.append(np.stack([order[:-step][same], order[step:][same]], axis=1))
    return np.concatenate(found)


def _agreeing(rest_ND: NDArray[np.float16], pairs_P2: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of the pairs that show the same picture."""
    kept = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(pairs_P2), _CHUNK):
        part = pairs_P2[start : start + _CHUNK]
        one, other = (rest_ND[part[:, side]].astype(np.float32) for side in (0, 1))
        kept.append(part[np.einsum("pd,pd->p", one, other) >= SAME])
    return np.concatenate(kept)


def open_all(source: Source, rows: Sequence[int], *, workers: int) -> Iterator[Picture]:
    """Open the images at some rows, in threads; yield them in the order of `rows`."""

    def read(row: int) -> Picture:
        return _open(source.store, source.names[row])

    return ordered_map(read, rows, workers=workers, ahead=4 * workers)


def _open(store: Store, name: str) -> Picture:
    try:
        data, shown = read_bytes(store.read(name), name=name)
        image, size = decode(data, shown, side=_SIDE)
    except ImageError as error:
        return Picture((0, 0), None, str(error))
    return Picture(size, thumbnail(image, size))


def repeats(
    train: FaceDataset, others: Sequence[FaceDataset], *, workers: int
) -> NDArray[np.bool_]:
    """Find training images whose picture is also in another split, under another name: bool [N].

    Images that cannot be read are no repeats: training itself reports them.
    """
    parts = [train, *others]
    rows = [(part, row) for part in parts for row in range(len(part))]

    def read(at: tuple[FaceDataset, int]) -> NDArray[np.uint8] | None:
        part, row = at
        return _open(part.stores[part.store_N[row]], part.names[row]).thumbnail_HW

    blank_HW = np.zeros((SIDE, SIDE), np.uint8)  # is no pair of anything
    thumbnails = ordered_map(read, rows, workers=workers, ahead=4 * workers)
    pairs_P2 = pairs(np.stack([blank_HW if t is None else t for t in thumbnails]))
    # The lower row comes first, and training images come before all others.
    across = (pairs_P2[:, 0] < len(train)) & (pairs_P2[:, 1] >= len(train))
    repeated_N = np.zeros(len(train), np.bool_)
    repeated_N[pairs_P2[across, 0]] = True
    return repeated_N


def copies(images: FaceDataset, *, workers: int) -> NDArray[np.int64]:
    """Return pairs of rows that show the same picture, int64 [P, 2].

    Raises:
        ImageError: an image cannot be read.
    """

    def read(row: int) -> NDArray[np.uint8]:
        crop = Image.fromarray(images.read(row))
        return thumbnail(crop, crop.size)

    rows = range(len(images))
    return pairs(np.stack(list(ordered_map(read, rows, workers=workers, ahead=4 * workers))))
