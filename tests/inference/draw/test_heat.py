from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from celebattr.inference.draw import heatmaps


def test_colour_lies_where_the_map_is_high_and_nowhere_else() -> None:
    photo = Image.new("RGB", (60, 40), (40, 90, 200))
    map_HW = np.full((40, 60), -3.0, np.float32)
    map_HW[10:20, 30:50] = 5.0
    pixels = np.asarray(heatmaps.overlay(photo, heatmaps.heat(map_HW, 1.0))).astype(int)
    changed = np.abs(pixels - np.array([40, 90, 200])).sum(axis=2) > 5
    assert changed[10:20, 30:50].all()
    assert changed.sum() == 200


def test_the_map_of_an_unlikely_attribute_fades() -> None:
    map_HW = np.array([[-2.0, 3.0, 6.0]], np.float32)
    np.testing.assert_allclose(heatmaps.heat(map_HW, 0.8), [[0.0, 0.4, 0.8]], rtol=1e-6)
    assert not heatmaps.heat(-map_HW[:, 1:], 0.8).any()


def test_a_map_of_nothing_leaves_the_photo_as_it_is() -> None:
    photo = Image.new("RGB", (6, 4), (40, 90, 200))
    assert np.array_equal(heatmaps.overlay(photo, np.zeros((4, 6), np.float32)), photo)


def test_a_map_lies_beside_the_annotated_picture() -> None:
    assert heatmaps.name_of(Path("out/a.annotated.jpg"), "Smiling") == Path("out/a.Smiling.jpg")
