"""8-bit RGB of an image in any of Pillow's modes, without a second one as large in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BAND = 1 << 20
"""Pixels that are converted at a time, so that what is between modes never exists as a whole."""


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of the current frame, whatever its mode."""
    if image.mode == "RGB" and "transparency" not in image.info:
        # A copy would double what a large photo takes; but a WebP holds its decoder's canvases.
        return image.copy() if image.format == "WEBP" else image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        scale = _scale(image)
        return _by_bands(image, lambda band: _eight_bits(band, scale))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        return _by_bands(image, _on_white)
    return image.convert("RGB")


def _bands(image: Image.Image) -> Iterator[tuple[tuple[int, int, int, int], Image.Image]]:
    """The image in parts of at most _BAND pixels, and where they are."""
    wide = min(image.width, _BAND)
    high = max(1, _BAND // wide)
    for top in range(0, image.height, high):
        for left in range(0, image.width, wide):
            box = (left, top, min(left + wide, image.width), min(top + high, image.height))
            yield box, image.crop(box)


def _by_bands(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    result = Image.new("RGB", image.size)
    for box, band in _bands(image):
        result.paste(convert(band), box)
    return result


def _on_white(image: Image.Image) -> Image.Image:
    # Converting straight to RGB would show whatever colour hides under transparent pixels.
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _values(image: Image.Image) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # numpy warns of signalling NaNs
        values = np.asarray(image).astype(np.float64)
    return np.nan_to_num(values, copy=False, posinf=0.0, neginf=0.0)


def _scale(image: Image.Image) -> float:
    """What brings grey of more than 8 bits to 0..255."""
    if image.mode.startswith("I;16"):
        return 1 / 257
    top = max(_values(band).max(initial=0.0) for _, band in _bands(image))
    if image.mode == "F" and top <= 1.0:
        return 255.0
    if top <= 255.0:
        return 1.0
    return 1 / 257 if top <= 65_535.0 else float(255.0 / top)


def _eight_bits(band: Image.Image, scale: float) -> Image.Image:
    """Grey of more than 8 bits, scaled: Pillow's own conversion would cut it off at 255."""
    return Image.fromarray(np.clip(np.rint(_values(band) * scale), 0, 255).astype(np.uint8))
