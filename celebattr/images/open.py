"""Opening of every image: any accepted file becomes upright 8-bit RGB."""

from __future__ import annotations

import errno
import functools
import io
import logging
import math
import os
import stat
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from celebattr.constants import MAX_BYTES, MAX_PIXELS
from celebattr.errors import (
    ImageNotFoundError,
    ImageTooLargeError,
    UnreadableImageError,
    printable,
    reason,
)
from celebattr.images.sanitize import sieve

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
"""Pillow's names of the accepted formats: no other is looked at. JPEG covers MPO, its variant."""

_MAX_RLE = 1 << 23
"""Pixels, and bytes, of a run-length encoded BMP: Pillow takes 0.25 s for a million, in Python."""

_MAX_SCANNED = 1 << 30
"""Pixels of a JPEG times its scans: each goes over the whole picture, however few bytes it has."""

_MAX_PIXELS_OF_SCANS = 60_000_000
"""Pixels of a JPEG of several scans: its coefficients are kept, 6 bytes per pixel besides the 4."""

_MAX_WEBP = 40_000_000
"""Pixels of a WebP: its decoder keeps two canvases and more, 17.5 bytes per pixel in all."""

_MAX_EXIF = 1 << 20
"""Bytes of EXIF that are searched for an orientation."""

# Pillow warns of large images and odd metadata on standard error, without a file's name. Here an
# image is refused with an error or it is good; a million photos must not print a million lines.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

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
_SIDEWAYS = (5, 6, 7, 8)

# What Pillow raises on broken files, besides its own: found by feeding it damaged ones. Its
# assertions are among them; ArithmeticError and LookupError stand for all of their kinds.
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)

_KINDS = (
    (stat.S_ISDIR, "is a directory, not a file"),
    (stat.S_ISFIFO, "a named pipe, not a file"),
    (stat.S_ISSOCK, "a socket, not a file"),
    (stat.S_ISCHR, "a device, not a file"),
    (stat.S_ISBLK, "a device, not a file"),
)


def open_image(
    source: str | os.PathLike[str] | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Open an image: EXIF orientation applied, first frame, 8-bit RGB.

    16-bit and float grey is scaled, transparency is laid on white.

    Args:
        source: a path, or the bytes of a file.
        name: what to call it in errors; the path itself if not given.
        max_pixels: a larger image is refused before it is decoded.

    Raises:
        ImageNotFoundError: there is no such file.
        ImageTooLargeError: it has more pixels or bytes than the limit, or than memory holds.
        UnreadableImageError: it cannot be read, is truncated or damaged, or is not an image of an
            accepted format; or it is a folder, a pipe, a device.

    The message of each is one line: the name, its characters that are none to print escaped, and
    the reason.
    """
    return decode(*read_bytes(source, name=name), max_pixels=max_pixels)[0]


def read_bytes(
    source: str | os.PathLike[str] | bytes, *, name: str | None = None
) -> tuple[bytes, str]:
    """Return the bytes of a file, and its name for errors; raises as `open_image` does."""
    shown = printable(name or ("the image" if isinstance(source, bytes) else os.fspath(source)))
    data = source if isinstance(source, bytes) else _read(source, shown)
    if not data:
        raise UnreadableImageError(f"{shown}: the file is empty")
    return data, shown


def _read(path: str | os.PathLike[str], name: str) -> bytes:
    """Read a regular file; anything else is refused: a pipe would block, a device may act."""
    try:
        _check_kind(os.stat(path), name)  # noqa: PTH116 - pathlib would change "" into "."
        with open(path, "rb", opener=_opener) as file:
            status = os.fstat(file.fileno())
            _check_kind(status, name)  # once more: the name may stand for another by now
            return file.read(status.st_size)  # one that grows is not read for ever
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageNotFoundError(f"{name}: no such file") from error
    except OSError as error:
        why = reason(error)
        if error.errno == errno.ELOOP:
            why = "a symbolic link that leads round in a circle"
        raise UnreadableImageError(f"{name}: {why}") from error
    except MemoryError as error:
        raise ImageTooLargeError(f"{name}: too large to read (out of memory)") from error
    except ValueError as error:  # a NUL in the name, or what no file system takes
        raise ImageNotFoundError(f"{name}: not a file name ({reason(error)})") from error


def _opener(path: str, flags: int) -> int:
    # Without it, opening a pipe that took the file's place would wait for a writer, for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def _check_kind(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = next((what for is_it, what in _KINDS if is_it(status.st_mode)), "not a file")
        raise UnreadableImageError(f"{name}: {what}")
    if status.st_size > MAX_BYTES:
        raise ImageTooLargeError(
            f"{name}: {status.st_size:,} bytes are more than the limit of {MAX_BYTES:,}"
        )


def decode(
    data: bytes, name: str, *, max_pixels: int = MAX_PIXELS, side: float = math.inf
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode an image as `open_image` does, and return its full width and height too.

    Args:
        data: the bytes of a file.
        name: what to call it in errors.
        max_pixels: a larger image is refused before it is decoded.
        side: what suffices for the longer side, in pixels. A larger JPEG is decoded to 1/2, 1/4 or
            1/8 of its size as long as that is no less; every byte of it is read all the same. Other
            formats come in full.

    Raises:
        ImageTooLargeError, UnreadableImageError: as `open_image` does, at any `side` alike.
    """
    try:
        data = sieve(data)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, data, name, max_pixels)
            width, height = image.size
            share = max(width, height) / side
            if share >= 2.0 and isinstance(image, JpegImageFile):
                image.draft(None, (max(1, int(width / share)), max(1, int(height / share))))
            upright, sideways = _turn(image)
            if min(upright.size) < 1:
                raise UnreadableImageError(f"{name}: an image of no pixels")
            return to_rgb(upright), (height, width) if sideways else (width, height)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        why = "out of memory" if isinstance(error, MemoryError) else reason(error)
        raise ImageTooLargeError(f"{name}: too large to decode ({why})") from error
    except UnidentifiedImageError as error:
        accepted = "JPEG, PNG, WebP, BMP, GIF or TIFF"
        raise UnreadableImageError(f"{name}: not a {accepted} image") from error
    except _BROKEN as error:
        raise UnreadableImageError(f"{name}: damaged or truncated ({reason(error)})") from error


def _check_size(image: ImageFile.ImageFile, data: bytes, name: str, max_pixels: int) -> None:
    """Refuse an image that would take too much memory or time, before decoding it."""
    width, height = image.size
    pixels, size = width * height, f"{name}: {width}x{height} pixels"
    if pixels > max_pixels:
        raise ImageTooLargeError(f"{size} are more than the limit of {max_pixels:,}")
    if image.format == "BMP" and image.tile[0][0] == "bmp_rle":
        if max(pixels, len(data)) > _MAX_RLE:
            raise ImageTooLargeError(f"{size}, run-length encoded, take too long to decode")
    elif image.format == "WEBP" and pixels > _MAX_WEBP:
        raise ImageTooLargeError(f"{size} are more than the limit of a WebP, {_MAX_WEBP:,}")
    elif isinstance(image, JpegImageFile):
        scans = _scans(image, data)
        if scans > 1 and (pixels > _MAX_PIXELS_OF_SCANS or pixels * scans > _MAX_SCANNED):
            raise ImageTooLargeError(f"{size} in {scans:,} scans take too much to decode")


def _scans(image: JpegImageFile, data: bytes) -> int:
    """Return an upper bound of a JPEG's scans, each a pass over the whole picture."""
    assert image.fp is not None
    start = image.fp.tell() - 8 - 2 * image.layers  # Pillow has read the header of the first scan
    whole = data[start : start + 2] == b"\xff\xda"  # which names all components
    return 1 if whole and "progressive" not in image.info else data.count(b"\xff\xda")


def _turn(image: ImageFile.ImageFile) -> tuple[Image.Image, bool]:
    """Decode and apply the EXIF orientation; return True too if it swapped width and height.

    Damaged EXIF counts as none.
    """
    if image.format == "TIFF":
        _silence_libtiff()
        # Pillow turns a TIFF itself while it decodes. So that it does not read the directories
        # that other tags point to, those tags go first.
        try:
            exif = image.getexif()
            for tag in set(exif) - {_ORIENTATION}:
                del exif[tag]
        except _BROKEN:
            pass
        size = image.size
        image.load()
        return image, image.size != size
    image.load()
    if len(image.info.get("exif", b"")) > _MAX_EXIF:
        return image, False
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _BROKEN:
        return image, False
    transpose = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if transpose is None:
        return image, False
    return image.transpose(transpose), orientation in _SIDEWAYS


@functools.cache
def _silence_libtiff() -> None:
    """Stop the C library that decodes TIFFs from writing to standard error.

    Pillow gives no way to, but its module leads to the library. Where it does not, as in a build
    that has libtiff inside, damaged TIFFs still say so.
    """
    import ctypes

    try:
        library = ctypes.CDLL(sys.modules["PIL._imaging"].__file__)
        for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
    except (KeyError, OSError, AttributeError):
        pass


_BAND = 1 << 20
"""Pixels that are converted at a time, so that what is between modes never exists as a whole."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert the current frame to 8-bit RGB, whatever its mode."""
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
    if image.mode.startswith("I;16"):
        return 1 / 257
    top = max(_values(band).max(initial=0.0) for _, band in _bands(image))
    if image.mode == "F" and top <= 1.0:
        return 255.0
    if top <= 255.0:
        return 1.0
    return 1 / 257 if top <= 65_535.0 else float(255.0 / top)


def _eight_bits(band: Image.Image, scale: float) -> Image.Image:
    """Scale grey of more than 8 bits, which Pillow's own conversion would clip at 255."""
    return Image.fromarray(np.clip(np.rint(_values(band) * scale), 0, 255).astype(np.uint8))
