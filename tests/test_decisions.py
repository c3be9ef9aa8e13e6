from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from celebattr import decisions

ZERO, ONE = np.zeros(1), np.ones(1)


def test_probabilities_are_the_sigmoid_of_scale_times_logit_plus_bias() -> None:
    logits = np.array([[0.0, 1.0], [2.0, -3.0]], np.float32)
    p = decisions.probabilities(logits, np.array([1.0, 2.0]), np.array([0.5, -0.25]))
    expected = 1.0 / (1.0 + np.exp(-np.array([[0.5, 1.75], [2.5, -6.25]])))
    assert p.dtype == np.float32
    assert p == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_extreme_logits_neither_overflow_nor_warn(dtype: type[np.floating[Any]]) -> None:
    logits = np.array([[-6e4], [-80.0], [0.0], [80.0], [6e4]], dtype)
    with warnings.catch_warnings(), np.errstate(over="raise", invalid="raise", divide="raise"):
        warnings.simplefilter("error")
        p = decisions.probabilities(logits, np.array([5.0]), ZERO)
    assert np.isfinite(p).all()
    assert p[0, 0] == 0.0
    assert p[2, 0] == 0.5
    assert p[4, 0] == 1.0
    assert (np.diff(p[:, 0]) >= 0.0).all()


def test_small_probabilities_keep_their_digits() -> None:
    p = decisions.probabilities(np.array([[-30.0], [-31.0]]), ONE, ZERO)
    assert p[0, 0] == pytest.approx(np.exp(-30.0), rel=1e-5)
    assert p[0, 0] > p[1, 0] > 0.0


def test_no_images_give_no_rows() -> None:
    assert decisions.probabilities(np.zeros((0, 3)), np.ones(3), np.zeros(3)).shape == (0, 3)


def test_present_is_reaching_the_threshold() -> None:
    p = np.array([[0.5, 0.69], [0.49999, 0.7]], np.float32)
    decided = decisions.present(p, np.array([0.5, 0.7]))
    assert decided.dtype == np.bool_
    assert decided.tolist() == [[True, False], [False, True]]


def test_each_decision_is_unsure_below_its_own_probability_of_being_right() -> None:
    p = np.array([[0.95, 0.65, 0.35, 0.05]], np.float32)
    at_half = decisions.present(p, np.full(4, 0.5))
    assert decisions.unsure(p, at_half, 0.7).tolist() == [[False, True, True, False]]
    # With a threshold of 0.9, "absent" at 0.65 is right in 35 of 100 images only.
    strict = decisions.present(p, np.full(4, 0.9))
    assert decisions.unsure(p, strict, 0.4).tolist() == [[False, True, False, False]]
    assert not decisions.unsure(p, at_half, 0.0).any()


def test_it_imports_no_torch() -> None:
    code = "import sys, celebattr.decisions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def graded() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Calibrated probabilities of two attributes and targets drawn from them."""
    random = np.random.default_rng(0)
    p = random.random((20_000, 2)) ** np.array([1.0, 3.0])
    return p.astype(np.float32), (random.random(p.shape) < p).astype(np.uint8)


def test_counts_hold_every_image_once() -> None:
    p, y = graded()
    tally = decisions.counts(p, y)
    assert tally.shape == (2, 2, decisions.BINS)
    assert (tally.sum(axis=(0, 2)) == len(p)).all()
    assert (tally[1].sum(axis=1) == y.sum(axis=0)).all()
    edge = decisions.counts(np.array([[0.0], [1.0]]), np.array([[0], [1]]))
    assert edge[0, 0, 0] == edge[1, 0, -1] == 1


def precision_recall(
    p: np.ndarray[Any, Any], y: np.ndarray[Any, Any], at: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    called = p >= at - 1e-6
    hits = (called & (y == 1)).sum(axis=0)
    return hits / called.sum(axis=0), hits / y.sum(axis=0)


def test_the_precision_asked_for_is_reached_with_the_most_recall() -> None:
    p, y = graded()
    at = decisions.thresholds(decisions.counts(p, y), "precision", 0.8)
    assert (precision_recall(p, y, at)[0] >= 0.8).all()
    assert (precision_recall(p, y, at - 0.01)[0] < 0.8).all()


def test_the_recall_asked_for_is_reached_with_the_highest_threshold() -> None:
    p, y = graded()
    at = decisions.thresholds(decisions.counts(p, y), "recall", 0.9)
    assert (precision_recall(p, y, at)[1] >= 0.9).all()
    assert (precision_recall(p, y, at + 0.01)[1] < 0.9).all()
    assert (decisions.thresholds(decisions.counts(p, y), "recall", 1.0) < at).all()


def test_no_threshold_has_a_better_f1() -> None:
    p, y = graded()
    at = decisions.thresholds(decisions.counts(p, y), "f1")

    def f1(at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        precision, recall = precision_recall(p, y, at)
        return 2 * precision * recall / (precision + recall)

    best = f1(at)
    for edge in np.arange(1, 99) / 100:
        assert (f1(np.full(2, edge)) <= best + 1e-12).all()


def test_a_precision_out_of_reach_means_never_present() -> None:
    p = np.full((1000, 1), 0.55, np.float32)
    y = (np.arange(1000) % 2 == 0).astype(np.uint8)[:, None]
    at = decisions.thresholds(decisions.counts(p, y), "precision", 0.9)
    assert at[0] > 1.0
    assert not decisions.present(p, at).any()
    few = np.zeros((1000, 1), np.float32)
    few[: decisions.SUPPORT - 1] = 0.95  # all right, and too few to believe it
    truth = (few > 0.5).astype(np.uint8)
    at = decisions.thresholds(decisions.counts(few, truth), "precision", 0.9)
    assert at[0] > 1.0
