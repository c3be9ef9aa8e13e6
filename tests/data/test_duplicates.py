from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from celebattr.data import duplicates, synthetic
from celebattr.diagnosis.config import DoctorConfig
from celebattr.diagnosis.examine import examine
from celebattr.images.open import decode


def textures(count: int, seed: int = 0) -> np.ndarray:
    """Pictures with one mean face in common and smooth textures of their own, uint8 [N, 16, 16]."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count + 1, 5, 5)).astype(np.float32)
    smooth = np.stack([np.asarray(Image.fromarray(c).resize((16, 16))) for c in coarse])
    return np.clip(128 + 40 * smooth[0] + 20 * smooth[1:], 0, 255).astype(np.uint8)


def test_planted_pairs_are_found_and_no_others() -> None:
    pictures = textures(3000)
    noise = np.random.default_rng(1).normal(0, 1.0, (40, 16, 16))
    copies = np.clip(0.8 * pictures[:40] + 20 + noise, 0, 255).astype(np.uint8)
    found = duplicates.pairs(np.concatenate([pictures, copies]))
    assert found.tolist() == [[i, 3000 + i] for i in range(40)]


def test_hashing_finds_what_comparing_all_finds() -> None:
    pictures = textures(1200)
    rng = np.random.default_rng(2)
    near = pictures[:200] + rng.normal(0, 1, (200, 16, 16)) * np.linspace(0, 8, 200)[:, None, None]
    both = np.concatenate([pictures, np.clip(near, 0, 255).astype(np.uint8)])
    flat = both.reshape(len(both), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    rest = flat - flat.sum(axis=0) / (len(flat) + 4)
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    truth = {tuple(p) for p in np.argwhere(np.triu(rest @ rest.T, 1) >= duplicates.SAME).tolist()}
    found = {tuple(pair) for pair in duplicates.pairs(both).tolist()}
    assert len(truth) > 60
    assert len(found - truth) <= 1  # rounded to half precision
    assert len(truth & found) >= 0.98 * len(truth)


def test_two_pictures_are_enough_and_one_is_none() -> None:
    pictures = textures(2)
    assert len(duplicates.pairs(pictures[:1])) == 0
    assert len(duplicates.pairs(pictures)) == 0
    assert duplicates.pairs(np.stack([pictures[0], pictures[0]])).tolist() == [[0, 1]]


def test_pictures_of_one_colour_are_not_called_the_same() -> None:
    assert len(duplicates.pairs(np.full((50, 16, 16), 128, np.uint8))) == 0


def test_many_copies_of_one_picture_take_no_square_of_their_number() -> None:
    found = duplicates.pairs(np.repeat(textures(1), 5000, axis=0))
    assert len(np.unique(found)) == 5000
    assert len(found) <= 5000 * duplicates._WINDOW


@pytest.mark.parametrize(
    ("size", "quality"), [((178, 218), 40), ((89, 109), 80), ((64, 64), 90), ((356, 436), 75)]
)
def test_a_thumbnail_does_not_depend_on_size_and_compression(
    size: tuple[int, int], quality: int
) -> None:
    face = synthetic.draw_face({"Smiling", "Eyeglasses"}, np.random.default_rng(0))
    whole = duplicates.thumbnail(face, face.size).astype(int)
    file = io.BytesIO()
    face.resize(size).save(file, "JPEG", quality=quality)
    image, full = decode(file.getvalue(), "x", side=48.0)
    assert np.abs(duplicates.thumbnail(image, full) - whole).mean() < 2.5


@pytest.mark.celeba
@pytest.mark.long
def test_real_pictures_that_are_in_two_splits_are_found(real_data: Path) -> None:
    """CelebA has one person under two numbers, 5820 and 5821, in test and in train."""
    report = examine(DoctorConfig(data=(real_data / "celeba",)))
    several = {f.check: f for f in report.findings if f.severity != "ok"}
    found = several["pictures in two splits"]
    assert "15 pictures of validation also in train; 6 pictures of test also in train" in found.what
    assert "5820 = 5821: 5 pictures" in several["one person, two numbers"].examples
    assert report.trains
