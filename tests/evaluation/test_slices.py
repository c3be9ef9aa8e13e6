from __future__ import annotations

import json

import numpy as np
import pytest

from celebattr.evaluation.slices import slices
from celebattr.reports.parts import slice_cells

ATTRIBUTES = ("Male", "Young", "Smiling")


def test_each_image_is_in_one_slice_and_each_slice_has_its_own_figures() -> None:
    random = np.random.default_rng(0)
    y = (random.random((400, 3)) < [0.5, 0.8, 0.5]).astype(np.uint8)
    right = np.where(y[:, :1] == 1, 0.9, 0.6)  # better on men
    p = np.where(random.random(y.shape) < right, y, 1 - y).astype(np.float32)
    people = np.arange(400) // 2
    found = slices(p, y, p >= 0.5, ATTRIBUTES, ["Male", "Young"], people)
    assert sum(one.images for one in found) == 400
    assert [one.images for one in found] == sorted((one.images for one in found), reverse=True)
    assert {one.name for one in found} == {
        "Male, Young",
        "Male, not Young",
        "not Male, Young",
        "not Male, not Young",
    }
    for one in found:
        rows = (y[:, 0] == one.slice["Male"]) & (y[:, 1] == one.slice["Young"])
        assert one.images == rows.sum()
        assert one.people == len(np.unique(people[rows]))
        assert one.mean_attribute_accuracy == pytest.approx(((p >= 0.5) == y)[rows].mean())
        low, high = one.intervals["mean_attribute_accuracy"] or (0.0, 0.0)
        assert low < (one.mean_attribute_accuracy or 0.0) < high


def test_a_combination_nobody_shows_is_said_to_be_empty() -> None:
    y = np.array([[1, 1, 0], [0, 1, 1]], np.uint8)
    found = slices(y.astype(np.float32), y, y == 1, ATTRIBUTES, ["Young"], None)
    empty = found[-1]
    assert (empty.name, empty.images, empty.people) == ("not Young", 0, None)
    assert empty.mean_attribute_accuracy is None
    assert slice_cells(empty) == ("not Young", "0", "-", "", "")
    assert json.dumps(empty.slice) == '{"Young": false}'
