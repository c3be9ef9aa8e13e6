"""The one door through which an image is opened: whatever it is, upright 8-bit RGB comes out."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from celebattr.config import FRAME_SIZE
from celebattr.errors import (
    ImageNotFoundError,
    ImageTooLargeError,
    UnreadableImageError,
)

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
"""Pillow's names of the accepted formats: no other is looked at. JPEG covers MPO, its variant."""

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
)
"""What a folder is searched for, in lower case; a file named outright may have any suffix."""

MAX_PIXELS = 89_478_485
"""Pixels an image may have, before it is decoded: a quarter of a GiB of RGB. Pillow's own limit."""

# Pillow warns of large images and odd metadata on standard error, without a file's name. Here an
# image is refused with an error or it is good; a million photos must not print a million lines.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow raises on broken files, besides its own: found by feeding it damaged ones.
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    NotImplementedError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
)


def open_image(
    source: str | os.PathLike[str] | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Opens an image: EXIF orientation applied, first frame, 8-bit RGB.

    16-bit and float grey is scaled, transparency is laid on white.

    Args:
        source: a path, or the bytes of a file.
        name: what to call it in errors; the path itself if not given.
        max_pixels: a larger image is refused before it is decoded.

    Raises:
        ImageNotFoundError: there is no such file.
        ImageTooLargeError: it has more pixels than the limit, or than memory holds.
        UnreadableImageError: it cannot be read, is truncated or damaged, or is not an image of an
            accepted format.
    """
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), name or "the image", max_pixels)
    name = name or os.fspath(source)
    try:
        with Path(source).open("rb") as file:
            return _decode(file, name, max_pixels)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageNotFoundError(f"{name}: no such file") from error
    except OSError as error:
        raise UnreadableImageError(f"{name}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a NUL in the name
        raise ImageNotFoundError(f"{name!r}: not a file name ({error})") from error


def _decode(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    try:
        if not file.read(1):
            raise UnreadableImageError(f"{name}: the file is empty")
        file.seek(0)
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageTooLargeError(
                    f"{name}: {width}x{height} pixels are more than the limit of {max_pixels:,}"
                )
            image.load()
            return _rgb(_turn(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise ImageTooLargeError(
            f"{name}: too large to decode ({str(error) or 'out of memory'})"
        ) from error
    except UnidentifiedImageError as error:
        accepted = "JPEG, PNG, WebP, BMP, GIF or TIFF"
        raise UnreadableImageError(f"{name}: not a {accepted} image") from error
    except _BROKEN as error:
        raise UnreadableImageError(f"{name}: damaged or truncated ({error})") from error


def _turn(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; damaged EXIF counts as none, the picture itself is fine."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return image
    transpose = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if transpose is None else image.transpose(transpose)


def _rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of the current frame, whatever its mode."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        # Converting straight to RGB would show whatever colour hides under transparent pixels.
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values_HW: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey of more than 8 bits, scaled: Pillow's own conversion would cut it off at 255."""
    values = np.nan_to_num(values_HW.astype(np.float64), posinf=0.0, neginf=0.0)
    top = values.max(initial=0.0)
    if values_HW.dtype.kind == "f" and top <= 1.0:
        values = values * 255.0
    elif values_HW.dtype.kind == "u" or 255.0 < top <= 65_535.0:  # 16 bits, in either byte order
        values = values / 257.0
    elif top > 65_535.0:
        values = values * (255.0 / top)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def is_aligned(image: Image.Image) -> bool:
    """Whether an image has the size of CelebA's aligned crop, 178 wide and 218 high."""
    return image.size == (FRAME_SIZE[1], FRAME_SIZE[0])


def to_frame(image: Image.Image) -> NDArray[np.uint8]:
    """The frame uint8 [218, 178, 3] of an image of a face: stretched to it where it is not one."""
    if not is_aligned(image):
        image = image.resize((FRAME_SIZE[1], FRAME_SIZE[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)
