"""Fixtures for what opens images: good files of every kind, and the judge of any other."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from celebattr.errors import (
    ImageError,
    ImageNotFoundError,
    ImageTooLargeError,
    UnreadableImageError,
)
from celebattr.images.open import open_image


def picture(mode: str = "RGB") -> Image.Image:
    values = np.add.outer(np.arange(48) * 3, np.arange(40) * 2).astype(np.uint8)
    colours = np.stack([values, values[::-1], values[:, ::-1]], axis=-1)
    if mode == "I;16":
        return Image.fromarray(values.astype(np.uint16) * 257)
    if mode == "P":
        return Image.fromarray(colours).quantize(64)
    return Image.fromarray(colours).convert(mode)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


class Corpus(dict[str, bytes]):
    """Good files by name, and what builds bad ones: of a good one, with something inserted."""

    def __repr__(self) -> str:
        return "Corpus()"  # hypothesis prints what a test was given

    @staticmethod
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    @staticmethod
    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 255, marker, len(body) + 2) + body

    @staticmethod
    def tiff(tags: dict[int, int], kinds: dict[int, tuple[int, int]] | None = None) -> bytes:
        """A grey TIFF without compression; `tags` are set, `kinds` are (type, count)."""
        values = {256: 40, 257: 48, 258: 8, 259: 1, 262: 1, 277: 1}
        values |= {324: 400, 325: 256} if 322 in tags else {273: 400, 278: 48, 279: 40 * 48}
        values |= tags
        entries = [(t, *(kinds or {}).get(t, (4, 1)), v) for t, v in sorted(values.items())]
        head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
        head += b"".join(struct.pack("<HHII", *entry) for entry in entries)
        return head.ljust(400, b"\0") + bytes(range(256)) * 10

    @staticmethod
    def run_length_bmp(width: int, height: int, body: bytes) -> bytes:
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
        palette = bytes(255 - v for v in range(256) for _ in range(4))
        return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + header + palette + body

    def png(self, *before: bytes, after: bytes = b"", header: bytes = b"") -> bytes:
        data = self["PNG RGB"]
        first = self.chunk(b"IHDR", header) if header else data[8:33]
        return data[:8] + first + b"".join(before) + data[33:-12] + after + data[-12:]

    def jpeg(self, *segments: bytes) -> bytes:
        data = self["JPEG RGB"]
        return data[:2] + b"".join(segments) + data[2:]

    def gif(self, before: bytes) -> bytes:
        data = self["GIF P"]
        palette = 13 + (3 << ((data[10] & 7) + 1))
        return data[:palette] + before + data[palette:]

    @staticmethod
    def webp(exif: bytes) -> bytes:
        return saved(picture(), "WEBP", exif=exif)

    @staticmethod
    def patched(data: bytes, place: int, layout: str, *values: int) -> bytes:
        return data[:place] + struct.pack(layout, *values) + data[place + struct.calcsize(layout) :]

    @staticmethod
    def sized_jpeg(data: bytes, width: int, height: int) -> bytes:
        frame = data.find(b"\xff\xc2" if b"\xff\xc2" in data else b"\xff\xc0")
        return Corpus.patched(data, frame + 5, ">HH", height, width)


@pytest.fixture(scope="session")
def good_files() -> Corpus:
    """One small file of each accepted format in each of its variants, 40 wide and 48 high."""
    exif = Image.Exif()
    exif[0x0112] = 6

    def animation(format: str) -> bytes:
        others = [picture().rotate(angle) for angle in (90, 180)]
        return saved(picture(), format, save_all=True, append_images=others)

    plain = [
        *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
        *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *(("BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")),
        *(("GIF", mode) for mode in ("L", "P")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
        *(("TIFF", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F")),
    ]
    files = {f"{format} {mode}": saved(picture(mode), format) for format, mode in plain}
    files |= {
        "JPEG progressive": saved(picture(), "JPEG", progressive=True),
        "JPEG turned": saved(picture(), "JPEG", exif=exif, icc_profile=b"no profile" * 99),
        "MPO": animation("MPO"),
        "PNG transparency": saved(picture("P"), "PNG", transparency=3),
        "PNG exif": saved(picture(), "PNG", exif=exif, icc_profile=b"no profile"),
        "APNG": animation("PNG"),
        "GIF frames": animation("GIF"),
        "WEBP lossless": saved(picture(), "WEBP", lossless=True, exif=exif),
        "WEBP animated": animation("WEBP"),
        "TIFF pages": animation("TIFF"),
        "TIFF turned": saved(picture(), "TIFF", exif=exif),
        "TIFF tiled": Corpus.tiff({322: 16, 323: 16}),
        "BMP run-length": Corpus.run_length_bmp(40, 48, b"\x28\x07\0\0" * 48 + b"\0\1"),
        "TIFF group4": saved(picture("1"), "TIFF", compression="group4"),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        files[f"TIFF {compression}"] = saved(picture(), "TIFF", compression=compression)
    return Corpus(files)


def verdict(source: bytes | str | Path, name: str = "x.jpg") -> tuple[object, ...]:
    """What comes of a file, after checking that nothing else does."""
    try:
        image = open_image(source, name=name)
    except ImageError as error:
        message = str(error)
        assert type(error) in (ImageNotFoundError, ImageTooLargeError, UnreadableImageError)
        assert message.startswith(f"{name}: ")
        assert message.isprintable()
        assert len(message) < 300 + len(name)
        outcome: tuple[object, ...] = (error.status, message)
    else:
        assert image.mode == "RGB"
        assert min(image.size) > 0
        outcome = ("ok", image.size, zlib.crc32(image.tobytes()))
    return outcome


@pytest.fixture(scope="session")
def judge(
    good_files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[bytes], tuple[object, ...]]:
    """The verdict on some bytes: the same from a path, and leaving the process as it was."""
    path = tmp_path_factory.mktemp("judge") / "any.jpg"
    good = good_files["JPEG RGB"]
    reference = verdict(good)

    def judged(data: bytes) -> tuple[object, ...]:
        outcome = verdict(data)
        path.write_bytes(data)
        assert verdict(path) == outcome
        assert verdict(good) == reference
        return outcome

    return judged
