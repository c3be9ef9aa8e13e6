"""Image formats: those that are opened, and the names of others, with what to do about them."""

from __future__ import annotations

import functools
import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "JPEG2000")
"""Pillow's names of the accepted formats: no other is looked at. JPEG covers MPO, its variant; HEIF
is opened where pillow-heif is installed."""
NAMES = "JPEG, PNG, WebP, AVIF, JPEG 2000, HEIC, BMP, GIF or TIFF"

_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
"""Brands of HEIF files whose pictures are coded as HEVC: HEIC, as phones write it."""
_GENERAL = frozenset({b"mif1", b"msf1"})
"""Brands of HEIF files of any coding; the brands that follow say which."""

_CONVERT = "convert it to JPEG or PNG first"
_VIDEO = "a video", "take pictures from it first: ffmpeg -i VIDEO -vf fps=1 frame%05d.jpg"
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\x0a", "JPEG XL", "convert it first: djxl IN.jxl OUT.png"),
    (b"\0\0\0\x0cJXL ", "JPEG XL", "convert it first: djxl IN.jxl OUT.png"),
    (b"8BPS", "a Photoshop document", _CONVERT),
    (b"\x1aE\xdf\xa3", *_VIDEO),
    (b"%PDF", "a PDF document", "take its pictures out first: pdfimages -all IN.pdf OUT"),
    (b"%!PS", "PostScript", _CONVERT),
    (b"<svg", "SVG", _CONVERT),
    (b"PK\3\4", "a zip archive", "name it .zip, or unpack it"),
    (b"version https://git-lfs", "a Git LFS pointer, not the picture", "run git lfs pull"),
    (b"<!doctype html", "a web page", "download the picture itself"),
    (b"<html", "a web page", "download the picture itself"),
)
"""First bytes of other files, in lower case where they are text; what they are; what to do."""


def is_heic(data: bytes) -> bool:
    """Return True if the bytes of a file begin as those of a HEIC picture do."""
    brands = _brands(data)
    if not brands or b"avif" in brands or b"avis" in brands:
        return False
    return brands[0] in _HEIC or (brands[0] in _GENERAL and not _HEIC.isdisjoint(brands))


def formats_of(data: bytes) -> tuple[str, ...]:
    """Return Pillow's names of the formats that a file may have, their decoders made ready."""
    if is_heic(data):
        return ("HEIF",) if _register_heif() else ()
    if _brands(data):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each photo has its core
        return ("AVIF",)
    return FORMATS


@functools.cache
def _register_heif() -> bool:
    """Teach Pillow to open HEIC; return False where pillow-heif is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def refusal(data: bytes) -> str:
    """Return why the bytes of a file are not opened, and what to do about it."""
    if is_heic(data):
        if _register_heif():
            return "a damaged HEIC image"
        return "HEIC is opened with the package pillow-heif: pip install 'celebattr[heic]'"
    start = data[:64].lstrip()
    for begin, what, remedy in _OTHERS:
        if data.startswith(begin) or start.lower().startswith(begin.lower()):
            return f"{what}: {remedy}"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return (
            "a TIFF with pixels of a kind that is not read (float colours, for instance): save "
            "it with 8 bits per colour"
        )
    brands = _brands(data)
    if brands[:1] in ((b"avif",), (b"avis",)):
        return "a damaged AVIF image"
    if brands or (data[:4] == b"RIFF" and data[8:12] == b"AVI "):
        if brands[:1] == (b"crx ",):
            return f"a camera's raw file: {_CONVERT}"
        return ": ".join(_VIDEO)
    text = ", but text: give a list of photos as `celebattr predict - < LIST`"
    return f"not a {NAMES} image{text if _TEXT.fullmatch(data[:4096]) else ''}"


_TEXT = re.compile(rb"[^\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]+")
"""Text in any encoding but UTF-16: what has other control characters is not."""


def _brands(data: bytes) -> tuple[bytes, ...]:
    """Return the brands of a file of the ISO base media format: the main one, and others."""
    if data[4:8] != b"ftyp":
        return ()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return (data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4)))


def compressed(crop_HWC: NDArray[np.uint8], format: str, **options: Any) -> NDArray[np.uint8]:
    """Encode an image in a format of Pillow's, with its options, and decode it again."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(crop_HWC).save(data, format, **options)
    with Image.open(data) as decoded:
        return np.asarray(decoded.convert("RGB"), np.uint8)
