"""The images that a bundle gets most wrong, for inspection: CelebA's labels are often wrong too."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.data.dataset import FaceDataset
from celebattr.evaluation.report import Example

HARDEST, SUREST = "hardest", "most surely wrong"
"""Reasons for an example: its log loss over all attributes, or that of one decision."""

_SIZE = (110, 134)  # width and height of a small picture, pixels; a crop has 178 x 218
_QUALITY = 80  # of its JPEG: 3 to 5 kB
_SHOWN = 4  # wrong decisions that are named of one of the hardest images
_LEAST = 1e-7  # probabilities nearer to 0 or 1 are not told apart


def examples(
    images: FaceDataset,
    probabilities_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    present_NA: NDArray[np.bool_],
    attributes: Sequence[str],
    *,
    count: int,
    thumbnails: bool = True,
) -> tuple[Example, ...]:
    """Return the hardest images, then those with the most confident wrong decisions.

    Hard is an image whose log loss, summed over attributes, is high. A wrong decision is the surer
    the higher its own log loss is; an image is taken for the surest of its wrong decisions alone.

    Args:
        images: the split; only the images that are returned are read, for their pictures.
        probabilities_NA: calibrated, [N, A], 0 to 1.
        targets_NA: [N, A], 0 or 1; NaN where unknown.
        present_NA: the decisions, bool [N, A].
        attributes: their A names.
        count: how many of each kind, at most.
        thumbnails: whether to make the small pictures.

    Raises:
        ImageError: an image cannot be opened any more.
    """
    truth_NA, known_NA = np.asarray(targets_NA) == 1, ~np.isnan(targets_NA)
    p_NA = np.asarray(probabilities_NA, np.float64)
    loss_NA = -np.log(np.clip(np.where(truth_NA, p_NA, 1.0 - p_NA), _LEAST, 1.0)) * known_NA
    wrong_NA = (present_NA != truth_NA) & known_NA
    # Right decisions last, whatever they lost: an operating point may lie far from 0.5.
    order_NA = np.argsort(np.where(wrong_NA, -loss_NA, np.inf), axis=1, kind="stable")

    def example(row: int, why: str, most: int) -> Example:
        columns = order_NA[row, : min(most, int(wrong_NA[row].sum()))]
        errors = tuple(
            (attributes[a], bool(truth_NA[row, a]), float(p_NA[row, a])) for a in columns
        )
        jpeg = thumbnail(images.read(row)) if thumbnails else None
        return Example(images.names[row], why, errors, jpeg)

    rows_N = np.flatnonzero(wrong_NA.any(axis=1))
    hardest = _highest(loss_NA.sum(axis=1), rows_N, count)
    surest = _highest(np.where(wrong_NA, loss_NA, 0.0).max(axis=1), rows_N, count)
    return (
        *(example(row, HARDEST, _SHOWN) for row in hardest),
        *(example(row, SUREST, 1) for row in surest),
    )


def _highest(value_N: NDArray[Any], rows_N: NDArray[np.int64], count: int) -> list[int]:
    """Return the rows with the highest values, highest first."""
    return [int(row) for row in rows_N[np.argsort(-value_N[rows_N], kind="stable")][:count]]


def thumbnail(crop_HWC: NDArray[np.uint8]) -> bytes:
    """Return a small JPEG, 110 x 134 pixels, of a crop, uint8 [218, 178, 3]."""
    from PIL import Image

    picture = io.BytesIO()
    small = Image.fromarray(crop_HWC).resize(_SIZE, Image.Resampling.LANCZOS)
    small.save(picture, "JPEG", quality=_QUALITY, optimize=True)
    return picture.getvalue()
