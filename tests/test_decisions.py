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
