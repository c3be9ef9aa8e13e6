"""Colours: any mode of Pillow's becomes 8-bit sRGB."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_PROFILE = 1 << 20
"""Bytes of a colour profile that is used: those of printers have half a megabyte."""

_SAME = 3
"""Levels of 255 by which a profile may differ from sRGB and still count as it."""

_BAND = 1 << 20
"""Pixels that are converted at a time, so that what is between modes never exists as a whole."""


def to_rgb(image: Image.Image, *, keep_profile: bool = False) -> Image.Image:
    """Convert the current frame to 8-bit RGB, whatever its mode; into sRGB, if it has a profile.

    Args:
        image: in any mode.
        keep_profile: leave the conversion of RGB, 40 ms per megapixel, to `in_srgb`.
    """
    profile = profile_of(image)
    if profile is None:
        return _to_plain_rgb(image)
    mode = image.mode if image.mode in ("CMYK", "L") else "RGB"
    if mode != "RGB" and (convert := _to_srgb(profile, mode)):
        return _by_bands(image, convert)
    rgb = _to_plain_rgb(image)
    if mode != "RGB":
        return rgb
    if keep_profile:
        rgb.info["icc_profile"] = profile
        return rgb
    return in_srgb(rgb, profile)


def profile_of(image: Image.Image) -> bytes | None:
    """Return the colour profile that came with an image, unless it is absurdly large."""
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and len(profile) <= MAX_PROFILE else None


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an RGB image of these colours in sRGB; itself, if they are, or nobody knows."""
    convert = _to_srgb(profile, "RGB") if profile else None
    return image if convert is None else _by_bands(image, convert)


def _to_plain_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        # A copy would double what a large photo takes; but a WebP holds its decoder's canvases.
        return image.copy() if image.format == "WEBP" else image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        scale = _scale(image)
        return _by_bands(image, lambda band: _eight_bits(band, scale))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        return _by_bands(image, _on_white)
    return image.convert("RGB")


@functools.lru_cache(16)
def _to_srgb(profile: bytes, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """Return what converts a mode from a profile to sRGB; None if it is sRGB, or broken."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        convert = ImageCms.ImageCmsTransform(source, srgb, mode, "RGB").apply
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode == "CMYK":
        return convert
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3))
    before = cube.convert(mode)
    change = np.asarray(convert(before), int) - np.asarray(before.convert("RGB"), int)
    return convert if np.abs(change).max() > _SAME else None


def _bands(image: Image.Image) -> Iterator[tuple[tuple[int, int, int, int], Image.Image]]:
    """Yield the image in parts of at most _BAND pixels, with their boxes."""
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
    """Return the factor that scales grey of more than 8 bits to 0..255."""
    top = max(_values(band).max(initial=0.0) for _, band in _bands(image))
    if image.mode.startswith("I;16"):
        # Cameras and scanners store 10, 12 or 14 bits in 16; no file says so. A photo whose
        # brightest pixel is in the upper half of such a range is taken to fill it.
        bits = next((n for n in (10, 12, 14) if 1 << (n - 1) <= top < 1 << n), 16)
        return 255.0 / ((1 << bits) - 1)
    if image.mode == "F" and top <= 1.0:
        return 255.0
    if top <= 255.0:
        return 1.0
    return 1 / 257 if top <= 65_535.0 else float(255.0 / top)


def _eight_bits(band: Image.Image, scale: float) -> Image.Image:
    """Scale grey of more than 8 bits, which Pillow's own conversion would clip at 255."""
    return Image.fromarray(np.clip(np.rint(_values(band) * scale), 0, 255).astype(np.uint8))
