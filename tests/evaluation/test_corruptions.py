from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from celebattr.constants import CROP_SIZE
from celebattr.errors import UsageError
from celebattr.evaluation import corruptions

ALL = corruptions.chosen("all")
names = pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one.name}-{one.level}")


@pytest.fixture(scope="module")
def frame() -> np.ndarray[Any, Any]:
    """A photographed face in the frame's size."""
    face = Image.fromarray(astronaut()).crop((130, 0, 310, 220))
    return np.asarray(face.resize(CROP_SIZE[::-1]), np.uint8)


def loss(frame: np.ndarray[Any, Any], spoiled: np.ndarray[Any, Any]) -> float:
    return float(np.abs(frame.astype(float) - spoiled).mean())


@names
def test_a_corruption_changes_the_image_keeps_its_form_and_is_repeatable(
    frame: np.ndarray[Any, Any], one: corruptions.Corruption
) -> None:
    before = frame.copy()
    spoiled = one.apply(frame, 7)
    assert (spoiled.shape, spoiled.dtype) == (frame.shape, np.uint8)
    assert loss(frame, spoiled) > 1.0
    assert (frame == before).all()
    assert (one.apply(frame, 7) == spoiled).all()


@pytest.mark.parametrize("name", [n for n, levels in corruptions.CORRUPTIONS.items() if levels[1:]])
def test_levels_go_from_mild_to_strong(frame: np.ndarray[Any, Any], name: str) -> None:
    losses = [loss(frame, level.apply(frame, 3)) for level in corruptions.CORRUPTIONS[name]]
    assert losses == sorted(losses)
    assert len({level.level for level in corruptions.CORRUPTIONS[name]}) == len(losses)


@pytest.mark.parametrize("name", ["noise", "rotate", "shift"])
def test_what_is_random_differs_from_image_to_image(frame: np.ndarray[Any, Any], name: str) -> None:
    one = corruptions.CORRUPTIONS[name][0]
    assert len({one.apply(frame, index).tobytes() for index in range(8)}) > 1


def test_jpeg_is_what_pillow_saves(frame: np.ndarray[Any, Any]) -> None:
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "JPEG", quality=30, subsampling=2)
    assert (corruptions.jpeg(frame, 0, 30) == np.asarray(Image.open(data))).all()


def test_noise_has_the_deviation_asked_for() -> None:
    middle = np.full((*CROP_SIZE, 3), 128, np.uint8)
    noisy = corruptions.noise(middle, 0, 10).astype(float)
    assert noisy.std() == pytest.approx(10, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.2)


def test_blur_spreads_a_point_by_its_deviation() -> None:
    point = np.zeros((*CROP_SIZE, 3), np.uint8)
    point[100:104, 80:84] = 255
    spread = corruptions.blur(point, 0, 4).astype(float)[..., 0]
    rows = spread.sum(axis=1)
    centre = (rows * np.arange(len(rows))).sum() / rows.sum()
    variance = (rows * (np.arange(len(rows)) - centre) ** 2).sum() / rows.sum()
    # The square's own variance and that of the filter add up; faint tails are rounded away.
    assert variance == pytest.approx(4.0**2 + (4**2 - 1) / 12, rel=0.15)


def test_darkness_grey_and_smallness_do_what_they_say(frame: np.ndarray[Any, Any]) -> None:
    assert corruptions.dark(frame, 0, 0.5).mean() == pytest.approx(frame.mean() / 2, abs=0.3)
    colourless = corruptions.grey(frame, 0)
    assert (colourless == colourless[..., :1]).all()
    stripes = np.zeros((*CROP_SIZE, 3), np.uint8)
    stripes[::2] = 255
    assert corruptions.small(stripes, 0, 64)[20:-20].std() < 20  # averaged, not every n-th row


def test_a_shift_moves_by_its_pixels_and_a_turn_by_its_degrees() -> None:
    dot = np.zeros((*CROP_SIZE, 3), np.uint8)
    dot[58:61, 88:91] = 255

    def middle(spoiled: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        weights = spoiled[..., 0].astype(float)
        y, x = np.mgrid[: CROP_SIZE[0], : CROP_SIZE[1]]
        return np.array([(weights * y).sum(), (weights * x).sum()]) / weights.sum()

    before = middle(dot)
    for index in range(4):
        assert np.linalg.norm(middle(corruptions.shift(dot, index, 16)) - before) == pytest.approx(
            16, abs=0.5
        )
        turned = middle(corruptions.rotate(dot, index, 30)) - np.array([108.5, 88.5])
        start = before - np.array([108.5, 88.5])
        cosine = turned @ start / np.linalg.norm(turned) / np.linalg.norm(start)
        assert np.degrees(np.arccos(cosine)) == pytest.approx(30, abs=0.5)


def test_names_are_read_and_unknown_ones_refused() -> None:
    assert corruptions.chosen(None) == ()
    assert [one.name for one in corruptions.chosen("Grey, jpeg,grey")] == ["grey", "jpeg", "jpeg"]
    assert {one.name for one in ALL} == set(corruptions.CORRUPTIONS)
    with pytest.raises(UsageError, match="Did you mean blur"):
        corruptions.chosen("jpeg,blurr")


def test_the_docs_name_every_corruption() -> None:
    text = (Path(__file__).parents[2] / "docs/evaluation.md").read_text()
    assert ", ".join(corruptions.CORRUPTIONS) in " ".join(text.split())


def test_versions_are_the_frames_as_they_are_and_then_each_image_by_its_own_index(
    frame: np.ndarray[Any, Any],
) -> None:
    frames = np.stack([frame, frame[::-1].copy()])
    one = corruptions.CORRUPTIONS["noise"][0]
    clean, noisy = corruptions.versions(frames, np.array([5, 9]), [one])
    assert (clean == frames).all()
    assert (noisy == np.stack([one.apply(frames[0], 5), one.apply(frames[1], 9)])).all()
