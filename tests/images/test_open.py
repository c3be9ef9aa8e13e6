from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from celebattr.data import synthetic
from celebattr.errors import ImageNotFoundError, ImageTooLargeError, UnreadableImageError
from celebattr.images import turns
from celebattr.images.formats import FORMATS
from celebattr.images.open import open_image
from celebattr.images.photo import Photo, is_aligned, to_frame


def face() -> Image.Image:
    return synthetic.draw_face({"Smiling", "Eyeglasses"}, np.random.default_rng(0))


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_every_accepted_format_opens_as_rgb(format: str) -> None:
    image = open_image(saved(face(), format))
    assert image.mode == "RGB"
    difference = np.asarray(image, float) - np.asarray(face(), float)
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize("format", ["ICO", "PPM", "TGA"])
def test_other_formats_are_refused(format: str) -> None:
    with pytest.raises(UnreadableImageError, match="not a JPEG, PNG, WebP, AVIF, JPEG 2000, "):
        open_image(saved(face(), format))


def test_heic_opens_where_its_package_is_installed() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    data = saved(face(), "HEIF")
    image = open_image(data)
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image, float) - np.asarray(face(), float)).mean() < 6
    with pytest.raises(UnreadableImageError, match="damaged"):
        open_image(data[: len(data) // 2])


def profile(
    *primaries: tuple[float, float, float], gamma: float = 2.2, space: bytes = b"RGB "
) -> bytes:
    """A colour profile of matrix and gamma: its primaries' XYZ for a white of D50."""
    xyz = {
        name: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in value))
        for name, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=False)
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    names = (b"rTRC", b"gTRC", b"bTRC") if xyz else (b"kTRC",)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {**xyz, **dict.fromkeys(names, curve), b"wtpt": white}
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value
    head = struct.pack(
        ">I4sI4s4s4s12x4s", at + len(body), b"", 0x2100000, b"mntr", space, b"XYZ ", b"acsp"
    )
    return (
        head.ljust(68, b"\0")
        + struct.pack(">3i", 63190, 65536, 54061).ljust(60, b"\0")
        + table
        + body
    )


SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
WIDE = ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249))  # ProPhoto RGB


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_colours_of_a_wide_profile_come_out_as_srgb(format: str) -> None:
    grey, red = (
        Image.new("RGB", (32, 32), (128, 128, 128)),
        Image.new("RGB", (32, 32), (160, 90, 80)),
    )
    wide = profile(*WIDE, gamma=1.8)
    assert open_image(saved(grey, format, icc_profile=wide)).getpixel((5, 5))[0] > 140  # the gamma
    r, g, _ = open_image(saved(red, format, icc_profile=wide)).getpixel((5, 5))
    assert r - g > 110
    near = open_image(saved(red, format, icc_profile=profile(*SRGB))).getpixel((5, 5))
    assert np.abs(np.array(near) - (160, 90, 80)).max() <= 6


@pytest.mark.parametrize("content", [b"no profile" * 30, profile(space=b"GRAY"), b""])
def test_a_profile_that_is_broken_or_of_other_colours_changes_nothing(content: bytes) -> None:
    plain, with_it = saved(face(), "PNG"), saved(face(), "PNG", icc_profile=content)
    np.testing.assert_array_equal(open_image(with_it), open_image(plain))


def test_only_what_is_used_of_a_photo_is_converted() -> None:
    data = saved(face(), "PNG", icc_profile=profile(*WIDE, gamma=1.8))
    photo = Photo(data, 640)
    np.testing.assert_array_equal(photo.at(640), np.asarray(face()))
    np.testing.assert_array_equal(photo.frame(), np.asarray(open_image(data)))
    assert np.abs(photo.frame().astype(int) - np.asarray(face())).max() > 20


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_last_two_bytes_opens_and_one_that_lacks_pixels_does_not(
    progressive: bool,
) -> None:
    data = saved(face(), "JPEG", progressive=progressive)
    np.testing.assert_array_equal(open_image(data[:-2]), open_image(data))
    for cut in (3, 4, 20, 300):
        with pytest.raises(UnreadableImageError, match="truncated"):
            open_image(data[:-cut])
        with pytest.raises(UnreadableImageError, match="truncated"):
            Photo(data[:-cut], 50)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_grey_of_fewer_bits_than_its_sixteen_is_scaled_by_what_it_has(bits: int) -> None:
    ramp = np.linspace(0, (1 << bits) - 1, 256).astype(np.uint16).reshape(1, 256)
    image = open_image(saved(Image.fromarray(ramp), "TIFF"))
    np.testing.assert_allclose(np.asarray(image)[0, :, 0], np.arange(256), atol=1)


def test_a_tiff_of_float_colours_is_called_one(good_files: Any) -> None:
    kinds = {258: (3, 1), 277: (3, 1), 339: (3, 1)}
    data = good_files.tiff({258: 64, 339: 3}, kinds)
    with pytest.raises(UnreadableImageError, match="a TIFF with pixels of a kind that is not read"):
        open_image(data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int) -> None:
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes the viewer's turn
    stored = face()
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(inverse[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(saved(stored, "JPEG", quality=95, exif=exif))
    assert image.size == (178, 218)
    assert np.abs(np.asarray(image, float) - np.asarray(face(), float)).mean() < 3


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_tiff_is_turned_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = face()
    wanted = stored
    if orientation > 1:
        turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}
        wanted = stored.transpose(turns.get(orientation, Image.Transpose.ROTATE_90))
    np.testing.assert_array_equal(open_image(saved(stored, "TIFF", exif=exif)), wanted)


@pytest.mark.parametrize(("mode", "order"), [("I;16", "<u2"), ("I;16B", ">u2")])
def test_dark_sixteen_bit_grey_stays_dark_in_either_byte_order(mode: str, order: str) -> None:
    values = np.arange(256).reshape(16, 16).astype(order)
    image = Image.frombytes(mode, (16, 16), values.tobytes())
    assert np.asarray(open_image(saved(image, "TIFF"))).max() == 1


def test_sixteen_bit_grey_is_scaled_not_cut_off() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(1, 256).repeat(8, axis=0)
    image = open_image(saved(Image.fromarray(ramp), "PNG"))
    np.testing.assert_allclose(np.asarray(image)[0, :, 0], np.arange(256), atol=1)


def test_float_grey_between_0_and_1_is_scaled() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 256)
    image = open_image(saved(Image.fromarray(ramp), "TIFF"))
    np.testing.assert_allclose(np.asarray(image)[0, :, 0], np.arange(256), atol=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_become_white_whatever_colour_they_hide(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0)).convert(mode)
    assert open_image(saved(image, "PNG")).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([200, 0, 0, 0, 200, 0])
    assert open_image(saved(image, "PNG", transparency=0)).getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(("mode", "format"), [("CMYK", "JPEG"), ("P", "GIF"), ("L", "PNG")])
def test_other_modes_become_rgb(mode: str, format: str) -> None:
    expected = face().convert("L" if mode == "L" else "RGB").convert("RGB")
    stored = face().quantize(256) if mode == "P" else face().convert(mode)
    image = open_image(saved(stored, format))
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image, float) - np.asarray(expected, float)).mean() < 8


def test_black_and_white_becomes_black_and_white() -> None:
    image = open_image(saved(Image.new("1", (4, 4), 1), "PNG"))
    assert image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "TIFF", "MPO"])
def test_the_first_frame_of_an_animation_counts(format: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    data = saved(frames[0], format, save_all=True, append_images=frames[1:])
    red, _, blue = open_image(data).getpixel((5, 5))
    assert red > 200
    assert blue < 60


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, format: str) -> None:
    path = tmp_path / "cut.jpg"
    data = saved(face(), format)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableImageError, match=r"cut\.jpg: (damaged|not a)"):
        open_image(path)


def test_an_empty_file_a_text_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("I am no image")
    (tmp_path / "folder.jpg").mkdir()
    for name, why in (("empty", "empty"), ("text", "not a JPEG"), ("folder", "is a directory")):
        with pytest.raises(UnreadableImageError, match=rf"{name}\.jpg: .*{why}"):
            open_image(tmp_path / f"{name}.jpg")


@pytest.mark.parametrize("name", ["missing.jpg", "a/b/missing.jpg", "nul\0.jpg"])
def test_a_missing_file_is_not_found(name: str) -> None:
    with pytest.raises(ImageNotFoundError, match=r"no such file|not a file name"):
        open_image(name)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_a_forbidden_file_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "secret.jpg"
    path.write_bytes(saved(face(), "JPEG"))
    path.chmod(0)
    with pytest.raises(UnreadableImageError, match="permission denied"):
        open_image(path)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its pixels are not there."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    with pytest.raises(ImageTooLargeError, match=r"bomb\.png"):
        open_image(png_of_size(side, side), name="bomb.png")


def test_an_image_of_no_pixels_is_refused() -> None:
    with pytest.raises(UnreadableImageError):
        open_image(png_of_size(0, 0))


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_bytes_open_or_are_refused_but_never_crash(format: str) -> None:
    rng = np.random.default_rng(0)
    good = saved(face().resize((40, 48)), format)
    refused = 0
    for _ in range(150):
        data = bytearray(good)
        for place in rng.integers(0, len(data), rng.integers(1, 12)):
            data[place] = rng.integers(0, 256)
        try:
            assert open_image(bytes(data)).mode == "RGB"
        except (UnreadableImageError, ImageTooLargeError):
            refused += 1
    assert refused > 0


def test_a_name_that_is_not_utf8_opens(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\xfe.jpg")
    path.write_bytes(saved(face(), "JPEG"))
    assert open_image(path).size == (178, 218)


def test_an_aligned_image_is_its_own_frame_and_others_are_stretched() -> None:
    assert is_aligned(face().size)
    np.testing.assert_array_equal(to_frame(face()), np.asarray(face()))
    half = face().resize((89, 109))
    assert not is_aligned(half.size)
    frame = to_frame(half)
    assert frame.shape == (218, 178, 3)
    assert frame.dtype == np.uint8


@pytest.mark.celeba
@pytest.mark.parametrize("series", ["Landscape", "Portrait"])
def test_all_pictures_of_an_orientation_series_come_out_alike(real_data: Path, series: str) -> None:
    def small(number: int) -> np.ndarray:
        image = open_image(real_data / f"photos/orientation/{series}_{number}.jpg")
        assert (image.width > image.height) == (series == "Landscape")
        return np.asarray(image.convert("L").resize((32, 32)), float).ravel()

    reference = small(1)
    for number in range(9):
        assert np.corrcoef(reference, small(number))[0, 1] > 0.98, number


@pytest.mark.celeba
def test_a_png_with_alpha_opens(real_data: Path) -> None:
    assert open_image(real_data / "photos/single/rgba_32bit.png").mode == "RGB"


def test_threads_decode_large_images_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("L", (1500, 1000)).save(file, "PNG")
    monkeypatch.setattr(turns, "MAX_PIXELS", 3_200_000)  # two of them
    at_work, most = 0, []
    changed = threading.Lock()

    @turns.in_turn()
    def opened(_: int) -> None:
        nonlocal at_work
        for _ in range(2):  # the second takes the place of the first
            open_image(file.getvalue())
        with changed:
            at_work += 1
            most.append(at_work)
        time.sleep(0.02)
        with changed:
            at_work -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(opened, range(16)))
    assert max(most) == 2
    assert turns._held == 0
    with pytest.raises(UnreadableImageError), turns.in_turn():
        open_image(file.getvalue()[:500])
    assert turns._held == 0
    file = io.BytesIO()  # larger than all that threads may have, as a caller may allow: alone
    Image.new("L", (2000, 2000)).save(file, "PNG")
    with turns.in_turn():
        assert open_image(file.getvalue()).size == (2000, 2000)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
def test_threads_that_decode_bombs_take_the_memory_of_one(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("RGBA", (9400, 9400), (9, 9, 9, 9)).save(bomb, compress_level=9)
    assert bomb.stat().st_size < 500_000
    code = (
        "import resource, sys; from concurrent.futures import ThreadPoolExecutor\n"
        "from celebattr.images.open import open_image; from celebattr.images.turns import in_turn\n"
        "opened = in_turn()(lambda _: open_image(sys.argv[1]).size)\n"
        "print(set(ThreadPoolExecutor(8).map(opened, range(8))))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, bomb], capture_output=True, text=True, check=True
    )
    size, kilobytes = done.stdout.splitlines()
    assert size == "{(9400, 9400)}"
    assert int(kilobytes) < 1_200_000  # one takes 700 MB, eight at once 4 GB
