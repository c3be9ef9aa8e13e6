from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from celebattr.errors import ImageError
from celebattr.images.photo import Photo

FORMATS = {"JPEG": {"quality": 92}, "PNG": {"compress_level": 1}}
SIDES_OF_ORIENTATION = [(1, 1500, 1000), (6, 1000, 1500), (3, 1500, 1000), (8, 1000, 1500)]


def saved(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **FORMATS[format] | options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    return Image.fromarray(astronaut()).resize((1500, 1000), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("side", "width"), [(1500, 1500), (751, 1500), (750, 750), (300, 375)])
def test_no_more_pixels_than_the_next_half_and_never_fewer_than_asked(scene, format, side, width):
    pixels = Photo(saved(scene, format), side).at(side)
    assert pixels.shape == (round(width / 1.5), width, 3)


@pytest.mark.parametrize("format", FORMATS)
def test_a_part_of_the_size_shows_what_the_whole_shows_averaged(scene, format):
    data = saved(scene, format)
    whole = Photo(data, 1500).at(1500)
    for divisor in (2, 4):
        part = Photo(data, 1500 / divisor).at(1500 / divisor).astype(int)
        averaged = np.asarray(Image.fromarray(whole).reduce(divisor)).astype(int)
        assert np.abs(part - averaged).mean() < 1.0
        assert np.quantile(np.abs(part - averaged), 0.99) <= 6


def test_what_was_decoded_small_is_decoded_again_when_more_is_asked_for(scene):
    photo = Photo(saved(scene, "JPEG"), 300)
    assert photo.at(300).shape == (250, 375, 3)
    assert photo.at(700).shape == (500, 750, 3)
    assert photo.at(300) is photo.at(700)  # the finer serves for the coarser
    assert photo.at(9999).shape == (1000, 1500, 3)
    assert photo.size == (1500, 1000)


@pytest.mark.parametrize(("orientation", "width", "height"), SIDES_OF_ORIENTATION)
def test_size_and_pixels_are_upright(scene, orientation, width, height):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = Photo(saved(scene, "JPEG", exif=exif), 300)
    assert photo.size == (width, height)
    assert photo.at(300).shape == (height // 4, width // 4, 3)


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (7, 2001), (1, 1)])
def test_a_long_or_tiny_photo_has_a_pixel_left_each_way(size):
    photo = Photo(saved(Image.new("RGB", size, "teal"), "JPEG"), 300)
    assert photo.size == size
    assert min(photo.at(300).shape) >= 1
    assert photo.frame().shape == (218, 178, 3)


def test_the_frame_of_a_large_photo_is_that_of_the_whole(scene):
    data = saved(scene.resize((3000, 3600)), "JPEG")
    small = Photo(data, 640).frame().astype(int)
    whole = np.asarray(Photo(data, 3600)._image.resize((178, 218), Image.Resampling.BILINEAR))
    assert np.abs(small - whole).mean() < 1.5


def test_a_damaged_jpeg_is_refused_at_any_size_alike(scene):
    data = saved(scene, "JPEG")
    random = np.random.default_rng(0)
    verdicts = []
    for trial in range(150):
        damaged = bytearray(data)
        for position in random.integers(2, len(data), 1 + trial % 4):
            damaged[position] = random.integers(256)
        damaged = damaged[: random.integers(2, len(data))] if trial % 3 == 0 else damaged
        verdicts.append([verdict(bytes(damaged), side) for side in (200, 300, 750, 1500)])
    assert all(len(set(of_one)) == 1 for of_one in verdicts)
    assert 20 < sum(of_one[0] == "good" for of_one in verdicts) < 130


def verdict(data: bytes, side: int) -> str:
    try:
        Photo(data, side).at(side)
    except ImageError as error:
        return error.status
    return "good"
