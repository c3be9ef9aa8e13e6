"""A heat map over a photo: where a network sees an attribute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr.errors import MissingExtraError

OPACITY = 0.7
"""Of the colours where the map is at its highest; they fade to nothing where it is 0."""

COLOURS = "inferno"
"""Of matplotlib: even steps to the eye, in print and for any colour vision."""


def heat(map_HW: NDArray[np.float32], probability: float) -> NDArray[np.float32]:
    """What a picture shows of a map, 0 to 1: at its highest point the attribute's probability.

    So the map of what is not there is hardly seen, as every map has a highest point.
    """
    seen_HW = np.clip(map_HW, 0.0, None)
    return seen_HW * np.float32(probability / max(float(seen_HW.max()), 1e-9))


def overlay(image: Image.Image, heat_HW: NDArray[np.float32]) -> Image.Image:
    """The photo with heat over it: where there is none it is left as it is.

    Args:
        image: RGB, the upright photo.
        heat_HW: in its pixels, 0 to 1.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import colormaps
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "train") from error
    colours = (colormaps[COLOURS](heat_HW)[:, :, :3] * 255.0).astype(np.uint8)
    mask = Image.fromarray((heat_HW * (255.0 * OPACITY)).astype(np.uint8))
    return Image.composite(Image.fromarray(colours), image.convert("RGB"), mask)


def name_of(annotated: Path, attribute: str) -> Path:
    """The file of an attribute's map, beside the annotated picture: `x.Smiling.jpg`."""
    stem = annotated.stem.removesuffix(".annotated")
    return annotated.with_name(f"{stem}.{attribute}{annotated.suffix}")
