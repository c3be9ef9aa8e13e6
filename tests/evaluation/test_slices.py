from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from celebattr.evaluation import metrics
from celebattr.evaluation.report import GapReport
from celebattr.evaluation.slices import gaps, slices
from celebattr.evaluation.tables import slice_cells

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


def gap_case(images: int = 1200) -> tuple[Any, Any, Any]:
    """Smiles are found in nine of ten men, and in six of ten women."""
    random = np.random.default_rng(1)
    y = (random.random((images, 3)) < [0.5, 0.8, 0.5]).astype(np.uint8)
    found = random.random(images) < np.where(y[:, 0] == 1, 0.9, 0.6)
    present = y == 1
    present[:, 2] &= found
    return y, present, np.arange(images) // 2


def found_gaps(y: Any, present: Any, people: Any, by: list[str]) -> tuple[GapReport, ...]:
    parts = slices(present.astype(np.float32), y, present, ATTRIBUTES, by, people)
    return gaps(parts, y, present, ATTRIBUTES, people)


def test_the_gap_is_between_the_slices_of_highest_and_lowest_recall() -> None:
    y, present, people = gap_case()
    young, smiling = found_gaps(y, present, people, ["Male"])
    assert (young.attribute, smiling.attribute) == ("Young", "Smiling")
    man = y[:, 0] == 1
    assert (smiling.best, smiling.worst) == ("Male", "not Male")
    assert smiling.best_recall == pytest.approx(
        oracle.recall_score(y[man, 2], present[man, 2]), abs=1e-12
    )
    assert smiling.worst_recall == pytest.approx(
        oracle.recall_score(y[~man, 2], present[~man, 2]), abs=1e-12
    )
    assert smiling.gap == pytest.approx(smiling.best_recall - smiling.worst_recall)
    low, high = smiling.interval or (0.0, 0.0)
    assert 0.0 < low < smiling.gap < high
    assert smiling.positives == min(y[man, 2].sum(), y[~man, 2].sum())
    assert not smiling.few
    # Everybody young is found: slices of equal recall are still two.
    assert {young.best, young.worst} == {"Male", "not Male"}
    assert (young.gap, young.interval) == (0.0, (0.0, 0.0))


def test_the_interval_of_a_gap_is_as_wide_as_theory_says_and_wider_over_people() -> None:
    y, present, _ = gap_case(4000)
    (smiling,) = found_gaps(y, present, None, ["Male", "Young"])
    (alone,) = (one for one in found_gaps(y, present, None, ["Male"]) if one.attribute != "Young")
    variance = sum(
        r * (1 - r) / y[side, 2].sum()
        for r, side in ((alone.best_recall, y[:, 0] == 1), (alone.worst_recall, y[:, 0] == 0))
    )
    assert alone.interval is not None
    width = alone.interval[1] - alone.interval[0]
    assert width == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.15)
    assert smiling.gap >= alone.gap  # of four slices the extremes
    eight = np.repeat(np.arange(4000), 8)  # each image eight times, as photos of one person
    parts = found_gaps(y[eight], present[eight], eight, ["Male"])
    over_people = next(one for one in parts if one.attribute == "Smiling").interval
    assert over_people is not None
    assert over_people[1] - over_people[0] == pytest.approx(width, rel=0.15)


def test_slices_that_hardly_show_an_attribute_do_not_hide_those_that_do() -> None:
    y, present, people = gap_case()
    y[:, 2] = present[:, 2] = False
    smiling = {"not Male, not Young": (5, 0), "Male, Young": (50, 45), "not Male, Young": (40, 20)}
    for name, (shown, right) in smiling.items():
        male, young = "not Male" not in name, "not Young" not in name
        rows = np.flatnonzero((y[:, 0] == male) & (y[:, 1] == young))
        y[rows[:shown], 2] = 1
        present[rows[:right], 2] = True
    (gap,) = found_gaps(y, present, people, ["Male", "Young"])
    assert (gap.worst, gap.best, gap.few) == ("not Male, Young", "Male, Young", False)
    assert (gap.gap, gap.positives) == (pytest.approx(0.4), 40)
    # Once only one slice is left with enough of them, the small ones count, and say so.
    y[(y[:, 0] == 0) & (y[:, 1] == 1), 2] = 0
    (gap,) = found_gaps(y, present, people, ["Male", "Young"])
    assert (gap.worst, gap.worst_recall, gap.positives) == ("not Male, not Young", 0.0, 5)
    assert gap.few


def test_a_slice_without_the_attribute_has_no_recall_and_one_slice_has_no_gap() -> None:
    y, present, people = gap_case()
    y[y[:, 0] == 0, 2] = 0  # no woman smiles
    assert [one.attribute for one in found_gaps(y, present, people, ["Male"])] == ["Young"]


def test_the_worst_slice_is_that_of_the_lowest_accuracy() -> None:
    y, present, people = gap_case()
    report = metrics.report(
        present.astype(np.float32), y, present, ATTRIBUTES, split="", weights="", people_N=people
    )
    assert report.worst_slice is None
    parts = slices(present.astype(np.float32), y, present, ATTRIBUTES, ["Male"], people)
    report = dataclasses.replace(report, slices=parts)
    assert report.worst_slice is not None
    assert report.worst_slice.name == "not Male"
