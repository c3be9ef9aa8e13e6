"""Curves against scikit-learn; thinned ones against whole ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from celebattr.evaluation import curves as module
from celebattr.evaluation import metrics
from celebattr.evaluation.curves import POINTS, curves, reliability, with_curves

Case = tuple[NDArray[np.float32], NDArray[np.bool_]]


def case(images: int, digits: int = 6, separation: float = 1.5, share: float = 0.3) -> Case:
    random = np.random.default_rng(0)
    y = random.random(images) < share
    p = 1.0 / (1.0 + np.exp(-(random.normal(size=images) + separation * (2.0 * y - 1.0))))
    return p.round(digits).astype(np.float32), y


@pytest.mark.parametrize("digits", [6, 1], ids=["no ties", "ties"])
def test_short_curves_are_scikit_learns(digits: int) -> None:
    p, y = case(80, digits)
    found = curves(p, y)
    x, t, _ = oracle.roc_curve(y, p, drop_intermediate=False)
    assert np.array(found.roc) == pytest.approx(np.stack([x, t], axis=1))
    precision, recall, _ = oracle.precision_recall_curve(y, p)
    # By falling threshold, and without the point at recall 0 that no threshold gives.
    expected = np.stack([recall[-2::-1], precision[-2::-1]], axis=1)
    assert np.array(found.precision_recall) == pytest.approx(expected)


@pytest.mark.parametrize("separation", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_long_curves_are_thinned_keep_their_ends_and_lose_no_area(
    separation: float, share: float
) -> None:
    p, y = case(20_000, separation=separation, share=share)
    found = curves(p, y)
    assert 50 <= len(found.roc) <= POINTS
    assert len(found.precision_recall) <= POINTS
    assert (found.roc[0], found.roc[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert found.precision_recall[0][1] in (0.0, 1.0)  # of the likeliest image
    assert found.precision_recall[-1] == (1.0, pytest.approx(y.mean()))
    x, t = np.array(found.roc).T
    assert np.trapezoid(t, x) == pytest.approx(oracle.roc_auc_score(y, p), abs=0.002)
    whole = {
        tuple(point) for point in np.stack(oracle.roc_curve(y, p, drop_intermediate=False)[:2]).T
    }
    assert {(round(a, 9), round(b, 9)) for a, b in found.roc} <= {
        (round(a, 9), round(b, 9)) for a, b in whole
    }
    assert all(a <= c and b <= d for (a, b), (c, d) in zip(found.roc, found.roc[1:], strict=False))


def test_the_reliability_is_scikit_learns_and_adds_up_to_the_calibration_error() -> None:
    p, y = case(3_000)
    found = reliability(p, y)
    share, mean = calibration_curve(y, p.astype(np.float64), n_bins=15)
    assert [one.share_present for one in found] == pytest.approx(share)
    assert [one.mean_probability for one in found] == pytest.approx(mean)
    assert sum(one.decisions for one in found) == 3_000
    assert all(one.low <= one.mean_probability <= one.high for one in found)
    error = sum(o.decisions * abs(o.mean_probability - o.share_present) for o in found) / 3_000
    assert error == pytest.approx(metrics.calibration_error(p[:, None], y[:, None])[0])


def test_bins_without_decisions_are_left_out() -> None:
    found = reliability(np.array([0.0, 0.01, 1.0]), np.array([False, True, True]))
    assert [(one.low, one.high, one.decisions) for one in found] == [
        (0.0, 1 / 15, 2),
        (14 / 15, 1.0, 1),
    ]
    assert found[0].share_present == 0.5


def test_the_sweep_is_what_each_threshold_gives() -> None:
    p, y = case(500, digits=2)  # some probabilities are thresholds
    rows = curves(p, y).thresholds
    assert [row.threshold for row in rows] == [round(0.05 * k, 2) for k in range(1, 20)]
    for row in rows:
        present = p >= np.float32(row.threshold)
        assert row.accuracy == pytest.approx(oracle.accuracy_score(y, present))
        assert row.recall == pytest.approx(oracle.recall_score(y, present))
        assert row.f1 == pytest.approx(oracle.f1_score(y, present))
        if present.any():
            assert row.precision == pytest.approx(oracle.precision_score(y, present))
    half = next(row for row in rows if row.threshold == 0.5)
    report = metrics.report(
        p[:, None], y[:, None].astype(np.uint8), (p >= 0.5)[:, None], ["a"], split="", weights=""
    )
    assert (half.accuracy, half.f1) == (report.attributes[0].accuracy, report.attributes[0].f1)


def test_what_is_undefined_is_none_or_empty() -> None:
    never = curves(np.array([0.1, 0.3], np.float32), np.zeros(2, bool))
    assert (never.roc, never.precision_recall) == ((), ())
    assert (never.thresholds[0].precision, never.thresholds[0].recall) == (0.0, None)
    assert never.thresholds[-1].precision is None  # nothing is called present
    assert never.thresholds[-1].f1 is None
    always = curves(np.array([0.1, 0.3], np.float32), np.ones(2, bool))
    assert always.roc == ()
    assert always.precision_recall == ((0.5, 1.0), (1.0, 1.0))


def test_a_single_probability_makes_a_straight_roc() -> None:
    found = curves(np.full(10, 0.5, np.float32), np.arange(10) < 4)
    assert found.roc == ((0.0, 0.0), (1.0, 1.0))
    assert found.precision_recall == ((1.0, 0.4),)


def test_a_report_gets_the_curves_of_each_attribute_and_all_decisions_together() -> None:
    p = np.stack([case(200)[0], case(200, separation=0.5)[0]], axis=1)
    y = np.stack([case(200)[1]] * 2, axis=1).astype(np.uint8)
    plain = metrics.report(p, y, p >= 0.5, ("one", "two"), split="", weights="")
    report: Any = with_curves(plain, p, y)
    assert [row.curves for row in plain.attributes] == [None, None]
    assert report.attributes[1].curves == module.curves(p[:, 1], y[:, 1] == 1)
    assert sum(one.decisions for one in report.reliability) == 400
    assert report.mean_average_precision == plain.mean_average_precision
