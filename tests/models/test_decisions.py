from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celebattr.attributes import CELEBA, RULES, Rule, rules_of
from celebattr.errors import UsageError
from celebattr.models import decisions

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
    code = "import sys, celebattr.models.decisions; sys.exit('torch' in sys.modules)"
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


GROUP = ("Black_Hair", "Brown_Hair", "Bald", "Goatee", "No_Beard", "Heavy_Makeup", "Smiling")
LIPSTICK = ("Heavy_Makeup", "Smiling", "Wearing_Lipstick")


def best_by_trying_all(
    p_A: np.ndarray[Any, Any], thresholds_A: np.ndarray[Any, Any], attributes: tuple[str, ...]
) -> float:
    """The highest worth of an answer that breaks no rule, of all 2^A."""
    odds_A = np.log(p_A / (1 - p_A)) - np.log(thresholds_A / (1 - thresholds_A))
    worths = []
    for answer in itertools.product((False, True), repeat=len(attributes)):
        held = dict(zip(attributes, answer, strict=True))
        if not any(held[r.first] and held[r.second] == r.second_present for r in rules_of(held)):
            worths.append(float(odds_A @ np.array(answer)))
    return max(worths)


shares = st.floats(0.01, 0.99)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("attributes", [GROUP, LIPSTICK])
def test_no_consistent_answer_is_more_probable_than_the_one_decoded(
    attributes: tuple[str, ...], data: st.DataObject
) -> None:
    p_A = np.array(data.draw(st.lists(shares, min_size=len(attributes), max_size=len(attributes))))
    thresholds_A = np.array([data.draw(shares) for _ in attributes])
    decoded_A = decisions.Consistent(attributes).present(p_A[None], thresholds_A)[0]
    odds_A = np.log(p_A / (1 - p_A)) - np.log(thresholds_A / (1 - thresholds_A))
    best = best_by_trying_all(p_A, thresholds_A, attributes)
    assert float(odds_A @ decoded_A) == pytest.approx(best, abs=1e-9)


# The ends too: what is certain, what is always and what is never present.
any_share = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1, width=32))
any_threshold = st.one_of(st.sampled_from([0.0, 0.5, 1.0, np.inf]), st.floats(0, 1))


@given(
    p=st.lists(st.lists(any_share, min_size=40, max_size=40), min_size=1, max_size=4),
    thresholds=st.lists(any_threshold, min_size=40, max_size=40),
)
@settings(max_examples=50, deadline=None)
def test_consistent_answers_break_no_rule_and_leave_what_breaks_none_as_it_was(
    p: list[list[float]], thresholds: list[float]
) -> None:
    p_NA, thresholds_A = np.array(p, np.float32), np.array(thresholds)
    plain_NA = decisions.present(p_NA, thresholds_A)
    decoded_NA = decisions.Consistent(CELEBA).present(p_NA, thresholds_A)
    assert decoded_NA.dtype == np.bool_
    assert not decisions.contradictions(decoded_NA, CELEBA, RULES).any()
    fine_N = ~decisions.contradictions(plain_NA, CELEBA, RULES).any(axis=1)
    assert (decoded_NA[fine_N] == plain_NA[fine_N]).all()
    ruled = {name for rule in RULES for name in (rule.first, rule.second)}
    free_A = np.array([name not in ruled for name in CELEBA])
    assert (decoded_NA[:, free_A] == plain_NA[:, free_A]).all()
    assert not decoded_NA[:, np.isinf(thresholds_A)].any()


def test_the_likelier_of_two_that_exclude_each_other_stays() -> None:
    names = ("No_Beard", "Goatee")
    p = np.array([[0.8, 0.6], [0.6, 0.8], [0.8, 0.4]], np.float32)
    decided = decisions.Consistent(names).present(p, np.full(2, 0.5))
    assert decided.tolist() == [[True, False], [False, True], [True, False]]
    # Counted from its threshold a goatee at 0.6 is surer than no beard at 0.8.
    lower = decisions.Consistent(names).present(p[:1], np.array([0.75, 0.3]))
    assert lower.tolist() == [[False, True]]


def test_one_answer_may_settle_two_contradictions() -> None:
    names = ("Bald", "Bangs", "Wavy_Hair")
    p = np.array([[0.8, 0.7, 0.7]], np.float32)  # bald is the surest, but alone against two
    assert decisions.Consistent(names).present(p, np.full(3, 0.5)).tolist() == [[False, True, True]]


def test_contradictions_are_counted_rule_by_rule() -> None:
    names = ("Heavy_Makeup", "Wearing_Lipstick", "Bald", "Bangs")
    answers = np.array([[1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]], bool)
    rules = (Rule("Bald", "Bangs"), Rule("Heavy_Makeup", "Wearing_Lipstick", False))
    found = decisions.contradictions(answers, names, rules)
    assert found.tolist() == [[True, True], [False, False], [False, False], [False, False]]


def test_attributes_without_rules_cannot_be_made_consistent() -> None:
    with pytest.raises(UsageError, match="no rule is known"):
        decisions.Consistent(("Smiling", "Bald"))
