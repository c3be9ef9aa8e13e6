"""Opening of every image: any accepted file becomes upright 8-bit RGB."""

from __future__ import annotations

import errno
import functools
import io
import logging
import math
import os
import random
import stat
import struct
import sys
import warnings
import zlib

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
from celebattr.images.colour import to_rgb
from celebattr.images.formats import formats_of, refusal
from celebattr.images.sanitize import sieve

_MAX_RLE = 1 << 23
"""Pixels, and bytes, of a run-length encoded BMP: Pillow takes 0.25 s for a million, in Python."""

_MAX_SCANNED = 1 << 30
"""Pixels of a JPEG times its scans: each goes over the whole picture, however few bytes it has."""

_MAX_PIXELS_OF_SCANS = 60_000_000
"""Pixels of a JPEG of several scans: its coefficients are kept, 6 bytes per pixel besides the 4."""

_MAX_PIXELS = {"WEBP": 40_000_000, "AVIF": 40_000_000, "HEIF": 40_000_000, "JPEG2000": 30_000_000}
"""Pixels of formats whose decoders keep more than the picture: WebP 17.5 bytes per pixel in all."""

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
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, RuntimeError, struct.error, zlib.error),
)

_KINDS = {
    stat.S_IFDIR: "is a directory, not a file",
    stat.S_IFIFO: "a named pipe, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
}


def open_image(
    source: str | os.PathLike[str] | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Open an image: EXIF orientation applied, first frame, 8-bit sRGB.

    16-bit and float grey is scaled, transparency is laid on white, and a colour profile converted.

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
    name = name or ("the image" if isinstance(source, bytes) else os.fspath(source))
    shown = printable(name[:4096])  # it goes into a cell
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
        circle = "a symbolic link that leads round in a circle"
        why = circle if error.errno == errno.ELOOP else reason(error)
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
        what = _KINDS.get(stat.S_IFMT(status.st_mode), "not a file")
        raise UnreadableImageError(f"{name}: {what}")
    if status.st_size > MAX_BYTES:
        raise ImageTooLargeError(
            f"{name}: {status.st_size:,} bytes are more than the limit of {MAX_BYTES:,}"
        )


def decode(
    data: bytes,
    name: str,
    *,
    max_pixels: int = MAX_PIXELS,
    side: float = math.inf,
    keep_profile: bool = False,
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode an image as `open_image` does, and return its full width and height too.

    Args:
        data: the bytes of a file.
        name: what to call it in errors.
        max_pixels: a larger image is refused before it is decoded.
        side: what suffices for the longer side, in pixels. A larger JPEG is decoded to 1/2, 1/4 or
            1/8 of its size as long as that is no less; every byte of it is read all the same. Other
            formats come in full.
        keep_profile: see `to_rgb`.

    Raises:
        ImageTooLargeError, UnreadableImageError: as `open_image` does, at any `side` alike.
    """
    try:
        data = sieve(data)
        try:
            return _decoded(data, name, max_pixels, side, keep_profile)
        except OSError:
            if not data.startswith(_JPEG) or not _lacks_its_end_only(data, name, max_pixels):
                raise
            return _decoded(data + _JPEG_END, name, max_pixels, side, keep_profile)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        why = "out of memory" if isinstance(error, MemoryError) else reason(error)
        raise ImageTooLargeError(f"{name}: too large to decode ({why})") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{name}: {refusal(data)}") from error
    except _BROKEN as error:
        raise UnreadableImageError(f"{name}: damaged or truncated ({reason(error)})") from error


def _decoded(
    data: bytes, name: str, max_pixels: int, side: float, keep_profile: bool
) -> tuple[Image.Image, tuple[int, int]]:
    with Image.open(io.BytesIO(data), formats=formats_of(data)) as image:
        _check_size(image, data, name, max_pixels)
        width, height = image.size
        share = max(width, height) / side
        if share >= 2.0 and isinstance(image, JpegImageFile):
            image.draft(None, (max(1, int(width / share)), max(1, int(height / share))))
        upright, sideways = _turn(image)
        if min(upright.size) < 1:
            raise UnreadableImageError(f"{name}: an image of no pixels")
        rgb = to_rgb(upright, keep_profile=keep_profile)
        return rgb, (height, width) if sideways else (width, height)


_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_NOISE = bytes(random.Random(0).randrange(0x80, 0xFF) for _ in range(64))
"""Picture data of a JPEG that means nothing, without a marker."""


def _lacks_its_end_only(data: bytes, name: str, max_pixels: int) -> bool:
    """Return True if a JPEG that breaks off has all of its pixels.

    The decoder fills what is missing, and does not say so. But if pixels are missing, they become
    others when something else stands in their place.
    """
    one, other = (
        _decoded(data + end, name, max_pixels, math.inf, True)[0].tobytes()
        for end in (_JPEG_END, _NOISE + _JPEG_END)
    )
    return one == other


def _check_size(image: ImageFile.ImageFile, data: bytes, name: str, max_pixels: int) -> None:
    """Refuse an image that would take too much memory or time, before decoding it."""
    width, height = image.size
    pixels, size = width * height, f"{name}: {width}x{height} pixels"
    if pixels > max_pixels:
        raise ImageTooLargeError(f"{size} are more than the limit of {max_pixels:,}")
    if image.format == "BMP" and image.tile[0][0] == "bmp_rle":
        if max(pixels, len(data)) > _MAX_RLE:
            raise ImageTooLargeError(f"{size}, run-length encoded, take too long to decode")
    elif pixels > (most := _MAX_PIXELS.get(image.format or "", pixels)):
        raise ImageTooLargeError(f"{size} are more than the limit of {image.format}, {most:,}")
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
    if len(image.info.get("exif") or b"") > _MAX_EXIF:
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
