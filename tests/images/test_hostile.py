"""Any bytes may carry the name of a photo: traps that are known, each by its name.

Either a picture comes out, or one of three errors: in time, quietly, and leaving nothing behind.
"""

from __future__ import annotations

import contextlib
import io
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from celebattr.errors import ImageError
from celebattr.images.open import open_image

SIZE = (40, 48)
Files = Any  # the Corpus of conftest.py
Judge = Callable[[bytes], tuple[object, ...]]
Cases = dict[str, Callable[[Files], bytes]]


def frames_of(f: Files, kind: str, count: int) -> bytes:
    """An animation of so many tiny frames."""
    if kind == "GIF":
        data = f["GIF P"]
        frame = data[13 + (3 << ((data[10] & 7) + 1)) : -1]
        return data[:-1] + frame * count + b";"
    control = struct.pack(">IIIIIHHBB", 0, *SIZE, 0, 0, 1, 1, 0, 0)
    tiny = [
        f.chunk(b"fcTL", struct.pack(">IIIIIHHBB", 2 * i + 1, 1, 1, 0, 0, 1, 1, 0, 0))
        + f.chunk(b"fdAT", struct.pack(">I", 2 * i + 2) + zlib.compress(b"\0" * 4))
        for i in range(count)
    ]
    start = [f.chunk(b"acTL", struct.pack(">II", count + 1, 0)), f.chunk(b"fcTL", control)]
    return f.png(*start, after=b"".join(tiny))


def scans(count: int, side: int = 16) -> bytes:
    """A progressive JPEG that goes over its picture as often as that."""
    file = io.BytesIO()
    Image.new("L", (side, side), 99).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


ORIENTATION = 0x0112
EXIF = {
    "orientation 0": [(ORIENTATION, 3, 1, 0)],
    "orientation 9": [(ORIENTATION, 3, 1, 9)],
    "orientation 65535": [(ORIENTATION, 3, 1, 65535)],
    "text": [(ORIENTATION, 2, 2, 0x36)],
    "float": [(ORIENTATION, 11, 1, 0x40C00000)],
    "rational out of reach": [(ORIENTATION, 5, 1, 60000)],
    "no value": [(ORIENTATION, 3, 0, 6)],
    "2^32 values": [(ORIENTATION, 4, 2**32 - 1, 8)],
    "unknown type": [(ORIENTATION, 99, 1, 6)],
    "directories that hold themselves": [(0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0xA005, 4, 1, 8)],
    "resolution of 0/0": [(0x011A, 5, 1, 60), (0x0128, 3, 1, 3)],
    "more tags than there are": [(0x8769, 4, 1, 2**32 - 1)] * 20,
}
EXIF_BYTES = {
    name: struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    + struct.pack("<I", 8)  # the next directory is this one
    for name, entries in EXIF.items()
} | {
    "nothing": b"",
    "garbage": b"\xff\x00garbage" * 40,
    "a directory out of reach": b"MM\0*\xff\xff\xff\xff",
    "65535 tags": b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x63\0\1\0\0\0\6\0\0\0" * 4000,
}


def opening() -> Cases:
    """Files whose metadata is absurd and whose picture is good."""
    bomb = zlib.compress(b"\0" * 1_000_000, 9)
    cases: Cases = {
        "JPEG of 65,000 Exif segments": lambda f: f.jpeg(f.segment(0xE1, b"Exif\0\0abcd") * 65_000),
        "JPEG of 300 full Exif segments": lambda f: f.jpeg(
            f.segment(0xE1, b"Exif\0\0".ljust(65_000, b"x")) * 300
        ),
        "JPEG with garbage as ICC": lambda f: f.jpeg(
            f.segment(0xE2, b"ICC_PROFILE\0\xff\0" + b"?" * 99)
        ),
        "JPEG with garbage as MPF": lambda f: f.jpeg(f.segment(0xE2, b"MPF\0" + b"\xff" * 99)),
        "JPEG with garbage as Photoshop": lambda f: f.jpeg(
            f.segment(0xED, (b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5000)) * 300
        ),
        "JPEG with XMP of 5 MB": lambda f: f.jpeg(
            f.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0".ljust(65_000, b"<")) * 80
        ),
        "JPEG with 20 MB of zeros": lambda f: f.jpeg(f.segment(0xFE, b"") + bytes(20_000_000)),
        "JPEG in 900 scans": lambda f: scans(900),
        "PNG with 2,000 profiles that are bombs": lambda f: f.png(
            f.chunk(b"iCCP", b"x\0\0" + bomb) * 2000
        ),
        "PNG with texts that are bombs": lambda f: f.png(
            f.chunk(b"zTXt", b"x\0\0" + bomb) * 999, f.chunk(b"iTXt", b"x\0\1\0\0\0" + bomb) * 999
        ),
        "PNG with texts that are bombs behind": lambda f: f.png(
            after=f.chunk(b"zTXt", b"x\0\0" + bomb) * 999
        ),
        "PNG of 100,000 empty chunks": lambda f: f.png(f.chunk(b"abCd", b"") * 100_000),
        "PNG with a profile of 5 MB": lambda f: f.png(
            f.chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 5_000_000))
        ),
        "PNG with 5 MB of Exif": lambda f: f.png(f.chunk(b"eXIf", b"II*\0" + b"\xff" * 5_000_000)),
        "APNG of 20,000 frames": lambda f: frames_of(f, "PNG", 20_000),
        "GIF of 20,000 frames": lambda f: frames_of(f, "GIF", 20_000),
        "GIF with 10 MB of zeros": lambda f: f.gif(bytes(10_000_000)),
        "GIF with 50,000 comments": lambda f: f.gif(b"!\xfe\1a\0" * 50_000),
        "TIFF whose directories hold themselves": lambda f: f.tiff(
            {0x8769: 8, 0x8825: 8, 0xA005: 8}
        ),
        "TIFF of orientation 65535": lambda f: f.tiff({ORIENTATION: 65535}),
        "TIFF with a text as orientation": lambda f: f.tiff(
            {ORIENTATION: 54}, {ORIENTATION: (2, 2)}
        ),
    }
    for name, block in EXIF_BYTES.items():
        exif = b"Exif\0\0" + block
        cases[f"JPEG, {name}"] = lambda f, exif=exif: f.jpeg(f.segment(0xE1, exif))
        cases[f"PNG, {name}"] = lambda f, block=block: f.png(f.chunk(b"eXIf", block))
        cases[f"WEBP, {name}"] = lambda f, exif=exif: f.webp(exif)
    return cases


REFUSED: Cases = {  # no picture, or one that is too much
    "nothing": lambda f: b"",
    "one byte": lambda f: b"\xff",
    "text": lambda f: b"no picture\n" * 99,
    "HTML": lambda f: b"<!DOCTYPE html><html><body>404</body></html>",
    "SVG": lambda f: b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
    "zeros": lambda f: bytes(100_000),
    "noise": lambda f: random.Random(0).randbytes(100_000),
    "JPEG of nothing but markers": lambda f: b"\xff\xd8" + b"\xff\xd0" * 1_000_000,
    "JPEG of nothing but zeros": lambda f: b"\xff\xd8\xff\xe0\0\4ab" + bytes(20_000_000),
    "JPEG of many frame headers": lambda f: f.jpeg(
        f.segment(0xC0, b"\x08\0\x10\0\x10\3" * 9) * 999
    ),
    "JPEG of many tables": lambda f: f.jpeg(f.segment(0xDB, (b"\0" + b"\1" * 64) * 999) * 80),
    "JPEG of side 0": lambda f: f.sized_jpeg(f["JPEG RGB"], 0, 0),
    "JPEG of side 65,535": lambda f: f.sized_jpeg(f["JPEG RGB"], 65_535, 65_535),
    "JPEG of 70 megapixels in scans": lambda f: f.sized_jpeg(f["JPEG progressive"], 8400, 8400),
    "PNG of side 0": lambda f: f.png(header=bytes(8) + b"\x08\2\0\0\0"),
    "PNG of side 65,535": lambda f: f.png(
        header=struct.pack(">II5B", 65_535, 65_535, 8, 2, 0, 0, 0)
    ),
    "PNG of side 2^31": lambda f: f.png(header=b"\x7f\xff\xff\xff" * 2 + b"\x08\2\0\0\0"),
    "PNG of 300,000 chunks": lambda f: f.png(f.chunk(b"abCd", b"") * 300_000),
    "PNG of a chunk of 4 GB": lambda f: f.png(b"\xff\xff\xff\xffabCd"),
    "GIF of side 65,535": lambda f: f.patched(f["GIF P"], 6, "<HH", 65_535, 65_535),
    "GIF of comments": lambda f: b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\1a\0" * 300_000,
    "GIF of one comment": lambda f: b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * 3_000_000,
    "BMP of side 2^31": lambda f: f.patched(f["BMP RGB"], 18, "<ii", 2**31 - 1, 2**31 - 1),
    "BMP of side 0": lambda f: f.patched(f["BMP RGB"], 18, "<ii", 0, 0),
    "BMP upside down without end": lambda f: f.patched(f["BMP RGB"], 18, "<ii", -1, -(2**31)),
    "BMP of a row of lines": lambda f: f.run_length_bmp(89_000_000, 1, b"\1\1\0\0\0\1"),
    "BMP of runs without end": lambda f: f.run_length_bmp(16, 16, b"\1\1" * 5_000_000),
    "WEBP of side 16,383": lambda f: f.patched(f["WEBP RGB"], 26, "<HH", 16_383, 16_383),
    "TIFF of side 0": lambda f: f.tiff({256: 0}),
    "TIFF of side 65,535": lambda f: f.tiff({256: 65_535, 257: 65_535}),
    "TIFF of side 2^32": lambda f: f.tiff({256: 2**32 - 1, 257: 2**32 - 1}),
    "TIFF with a side that is a text": lambda f: f.tiff({}, {256: (2, 4)}),
    "TIFF of 65,535 samples": lambda f: f.tiff({277: 65_535}),
    "TIFF of a million strips": lambda f: (
        f.tiff({273: 0}, {273: (4, 1_000_000)}) + bytes(5_000_000)
    ),
    "TIFF of 65,535 tags": lambda f: (
        b"II*\0\x08\0\0\0\xff\xff" + b"\1\xff\3\0\1\0\0\0aaaa" * 65_535
    ),
    "BigTIFF of 2^60 tags": lambda f: (
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(99)
    ),
}


ODD: Cases = {  # neither verdict is wrong
    "GIF that enlarges itself": lambda f: f.patched(f["GIF P"], 6, "<HH", 1, 1),
    "PNG in another colour type": lambda f: f.png(
        header=struct.pack(">II5B", *SIZE, 16, 6, 0, 0, 0)
    ),
    "PNG in two pieces": lambda f: f["PNG RGB"] + f["PNG P"],
    "TIFF of absurd tiles": lambda f: f.tiff({322: 65_520, 323: 65_520}),
    "TIFF of infinities and signalling NaNs": lambda f: (
        f.tiff({258: 32, 257: 12, 339: 3, 279: 1920})[:400]
        + struct.pack("<4I", 0x7F800001, 0x7F800000, 0xFF800000, 0x7FC00000) * 120
    ),
    "TIFF whose next page is itself": lambda f: f["TIFF RGB"][:-4] + b"\x08\0\0\0",
    "TIFF of one tall strip": lambda f: f.tiff({278: 2**32 - 1, 279: 2**32 - 1}),
}


OPENING = opening()


@pytest.mark.parametrize("name", OPENING)
def test_absurd_metadata_does_not_touch_the_picture(
    name: str, good_files: Files, judge: Judge, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = judge(OPENING[name](good_files))
    assert outcome[0] == "ok"
    for kind in ("JPEG", "PNG"):
        if name.startswith((f"{kind}, ", f"{kind} with")):
            assert outcome == judge(good_files[f"{kind} RGB"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", REFUSED | ODD)
def test_what_is_no_picture_is_refused(
    name: str, good_files: Files, judge: Judge, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = judge((REFUSED | ODD)[name](good_files))
    assert outcome[0] in ("unreadable", "too_large") or name in ODD
    assert capfd.readouterr() == ("", "")


def test_good_files_open_and_cut_ones_open_or_are_refused(
    good_files: Files, judge: Judge, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, data in good_files.items():
        assert judge(data)[0] == "ok", name
        for length in {*range(0, 40, 3), *range(0, len(data), max(1, len(data) // 12))}:
            judge(data[:length])
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the memory of a process is in /proc"
)
def test_none_takes_more_than_700_mb_or_says_anything(good_files: Files, tmp_path: Path) -> None:
    for number, case in enumerate((OPENING | REFUSED | ODD).values()):
        (tmp_path / f"{number}.jpg").write_bytes(case(good_files))
    script = """if True:
        import pathlib, sys
        from celebattr.images.open import open_image
        from celebattr.errors import ImageError
        for path in pathlib.Path(sys.argv[1]).iterdir():
            try: open_image(path)
            except ImageError: pass
        status = pathlib.Path("/proc/self/status").read_text()
        print(status.split("VmHWM:")[1].split()[0])"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert int(done.stdout) < 700_000


@pytest.mark.long
def test_none_takes_five_seconds_of_a_processor(good_files: Files) -> None:
    for name, case in (OPENING | REFUSED | ODD).items():
        data = case(good_files)
        started = time.process_time()
        with contextlib.suppress(ImageError):
            open_image(data, name="x.jpg")
        assert time.process_time() - started < 5.0, name
