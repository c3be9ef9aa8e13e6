"""The pointing game: the share of heat maps that peak in their attribute's region.

CelebA's aligned crop puts eyes and mouth of every face at about the same pixels, so that a region
of the crop says well enough where an attribute can be seen.

Source: J. Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, for the
test; the mean positions of CelebA's landmarks for the regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import CROP_SIZE
from celebattr.data import loader
from celebattr.data.dataset import FaceDataset
from celebattr.evaluation.report import PointingReport
from celebattr.inference.draw.heatmaps import Explainer

IMAGES = 500
"""Most images that are used, evenly spaced over the split."""

CENTRE = (CROP_SIZE[0] // 2, CROP_SIZE[1] // 2)
"""Row and column of the baseline's point: below the line of the eyes, above the nose's tip."""

ELLIPSES: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "eyes": ((69, 111, 18, 18), (108, 111, 18, 18)),
    "eyebrows": ((67, 97, 20, 13), (110, 97, 20, 13)),
    "nose": ((89, 131, 15, 20),),
    "mouth": ((89, 152, 27, 16),),
    "chin": ((89, 178, 34, 20),),
}
"""Regions of the crop: x and y of a middle, half width and half height, in pixels."""

BOXES: dict[str, tuple[int, int, int, int]] = {
    "neck": (35, 182, 143, 218),
    "top of the head": (20, 0, 158, 85),
}
"""Regions of the crop: left, top, right, bottom."""

WHERE: dict[str, str] = {
    "Eyeglasses": "eyes",
    "Narrow_Eyes": "eyes",
    "Bags_Under_Eyes": "eyes",
    "Arched_Eyebrows": "eyebrows",
    "Bushy_Eyebrows": "eyebrows",
    "Big_Nose": "nose",
    "Pointy_Nose": "nose",
    "Smiling": "mouth",
    "Mouth_Slightly_Open": "mouth",
    "Wearing_Lipstick": "mouth",
    "Big_Lips": "mouth",
    "Mustache": "mouth",
    "Goatee": "chin",
    "Double_Chin": "chin",
    "Wearing_Necktie": "neck",
    "Wearing_Necklace": "neck",
    "Wearing_Hat": "top of the head",
    "Bald": "top of the head",
    "Bangs": "top of the head",
    "Receding_Hairline": "top of the head",
}
"""The region of each attribute that has one."""


def region(name: str) -> NDArray[np.bool_]:
    """Return a region of the crop: bool [218, 178]."""
    y_HW, x_HW = np.mgrid[: CROP_SIZE[0], : CROP_SIZE[1]]
    if name in BOXES:
        left, top, right, bottom = BOXES[name]
        inside: NDArray[np.bool_] = (
            (left <= x_HW) & (x_HW < right) & (top <= y_HW) & (y_HW < bottom)
        )
        return inside
    inside = np.zeros(CROP_SIZE, bool)
    for x, y, wide, high in ELLIPSES[name]:
        inside |= ((x_HW - x) / wide) ** 2 + ((y_HW - y) / high) ** 2 <= 1.0
    return inside


def pointing(
    explainer: Explainer,
    images: FaceDataset,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[PointingReport, ...]:
    """Play the pointing game on the maps of the attributes that each image shows.

    Args:
        explainer: makes the maps.
        images: labelled faces, of which `IMAGES` are taken.
        on_progress: called with the images done and their total.

    Returns:
        One report per attribute of `WHERE` that the bundle and the data know.

    Raises:
        DataError: an image cannot be read.
    """
    known = set(images.attributes)
    names = [n for n in explainer.card.attributes if n in WHERE and n in known]
    count = min(IMAGES, len(images))
    rows_N = np.linspace(0, len(images) - 1, count).round().astype(np.int64)
    columns = [images.attributes.index(n) for n in names]
    peaks: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    done = 0
    for batch in loader.batches(images, rows_N, batch_size=16, workers=2):
        shown_BA = images.targets_NA[batch.indices_B][:, columns] == 1
        for name, shown_B in zip(names, shown_BA.T, strict=True):
            if shown_B.any():
                maps_NKHW = explainer.maps(batch.crops_BHWC[shown_B], [name])
                peaks[name].extend(_peaks(maps_NKHW[:, 0]))
        done += len(shown_BA)
        if on_progress is not None:
            on_progress(done, count)
    return tuple(score(name, found) for name, found in peaks.items())


def score(name: str, peaks: Sequence[NDArray[np.int64]]) -> PointingReport:
    """Count the peaks that lie in their attribute's region.

    Args:
        name: of an attribute that has a region.
        peaks: row and column of the highest point, of each image that shows the attribute.
    """
    inside_HW = region(WHERE[name])
    hits = [bool(inside_HW[tuple(peak)]) for peak in peaks]
    return PointingReport(
        name,
        WHERE[name],
        len(hits),
        float(np.mean(hits)) if hits else None,
        float(inside_HW[CENTRE]),
        float(inside_HW.mean()),
    )


def _peaks(maps_NHW: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the row and column of the highest point of each map, [N, 2]."""
    highest_N = maps_NHW.reshape(len(maps_NHW), -1).argmax(axis=1)
    return np.stack(np.unravel_index(highest_N, CROP_SIZE), axis=1)
