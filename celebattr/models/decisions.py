"""Decisions from logits: probability, present or not, sure or not. numpy only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import Rule, rules_of
from celebattr.errors import UsageError

Floats = NDArray[np.floating[Any]]
"""An array of any float type."""

BINS = 100
"""Bins of `counts`, so thresholds have two decimals: 0.00, 0.01, ... 0.99."""

SUPPORT = 10
"""Number of images called present from which their precision is trusted."""


def probabilities(logits_NA: Floats, scale_A: Floats, bias_A: Floats) -> NDArray[np.float32]:
    """Return calibrated probabilities, p = sigmoid(scale * logit + bias), with a scale over 0.

    They are float32 [N, A], 0 to 1, without overflow however large the logits.
    """
    assert logits_NA.shape[1:] == scale_A.shape == bias_A.shape
    z_NA = np.asarray(logits_NA, np.float64) * scale_A + bias_A
    # exp of a negative number cannot overflow, and small probabilities keep their digits.
    e_NA = np.exp(-np.abs(z_NA))
    p_NA = np.where(z_NA >= 0.0, 1.0, e_NA) / (1.0 + e_NA)
    return np.asarray(p_NA, np.float32)


def present(probabilities_NA: Floats, thresholds_A: Floats) -> NDArray[np.bool_]:
    """Decide, bool [N, A], whether each probability reaches the attribute's threshold."""
    assert probabilities_NA.shape[1:] == thresholds_A.shape
    # In one type: as float64, 0.7 is more than the float32 that stands for 0.7.
    return np.asarray(probabilities_NA >= thresholds_A.astype(probabilities_NA.dtype))


def contradictions(
    present_NA: NDArray[np.bool_], attributes: Sequence[str], rules: Sequence[Rule]
) -> NDArray[np.bool_]:
    """Return which of R rules between A attributes the answers [N, A] break, bool [N, R]."""
    column = {name: i for i, name in enumerate(attributes)}
    broken_NR = np.zeros((len(present_NA), len(rules)), np.bool_)
    for r, rule in enumerate(rules):
        second_N = present_NA[:, column[rule.second]] == rule.second_present
        broken_NR[:, r] = present_NA[:, column[rule.first]] & second_N
    return broken_NR


class Consistent:
    """A decoder of the most probable answers that break no rule, attributes independent.

    Rules tie attributes into small groups, here hair, beard and make-up. The answers a group may
    give are enumerated once; the best one for an image is a product of matrices.

    Raises:
        UsageError: no rule is known between these attributes.
    """

    def __init__(self, attributes: Sequence[str], rules: Sequence[Rule] | None = None) -> None:
        self.attributes = tuple(attributes)
        self.rules = rules_of(attributes) if rules is None else tuple(rules)
        if not self.rules:
            raise UsageError(
                "--consistent: no rule is known between the attributes of this bundle, so that no "
                "answers contradict each other"
            )
        self._groups = [self._group(rules) for rules in _connected(self.rules)]

    def present(self, probabilities_NA: Floats, thresholds_A: Floats) -> NDArray[np.bool_]:
        """Return decisions without contradictions, bool [N, A].

        An answer is worth the sum of the log-odds of what it calls present, each counted from its
        threshold: at thresholds of one half that is its log probability, but for a constant.
        Decisions that contradict nothing stay as `present` makes them.
        """
        decided_NA = present(probabilities_NA, thresholds_A)
        edges_A = thresholds_A.astype(probabilities_NA.dtype)
        worth_NA = _log_odds(probabilities_NA) - _log_odds(edges_A)
        worth_NA[:, thresholds_A > 1.0] = -_NEVER
        for columns_G, answers_SG, rules in self._groups:
            names = [self.attributes[i] for i in columns_G]
            wrong = contradictions(decided_NA[:, columns_G], names, rules).any(axis=1)
            rows = np.flatnonzero(wrong)
            best = (worth_NA[np.ix_(rows, columns_G)] @ answers_SG.T).argmax(axis=1)
            decided_NA[np.ix_(rows, columns_G)] = answers_SG[best]
        return decided_NA

    def _group(
        self, rules: tuple[Rule, ...]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], tuple[Rule, ...]]:
        """Return the columns of attributes that rules tie, and their possible answers."""
        tied = {name for rule in rules for name in (rule.first, rule.second)}
        names = [name for name in self.attributes if name in tied]
        every_SG = np.array(list(itertools.product((False, True), repeat=len(names))))
        allowed_SG = every_SG[~contradictions(every_SG, names, rules).any(axis=1)]
        return np.array([self.attributes.index(name) for name in names]), allowed_SG, rules


_NEVER = 1e6
"""Log-odds that no group of attributes outweighs."""


def _log_odds(probabilities: Floats) -> NDArray[np.float64]:
    """Return log(p / (1 - p)), finite for 0 and 1 too; values over 1 count as 1."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-12, 1.0 - 1e-12)
    return np.asarray(np.log(p) - np.log1p(-p), np.float64)


def _connected(rules: Sequence[Rule]) -> list[tuple[Rule, ...]]:
    """Return the rules in groups that share no attribute."""
    groups: list[tuple[set[str], tuple[Rule, ...]]] = []
    for rule in rules:
        names = {rule.first, rule.second}
        members: tuple[Rule, ...] = (rule,)
        for group in [group for group in groups if group[0] & names]:
            groups.remove(group)
            names, members = names | group[0], group[1] + members
        groups.append((names, members))
    return [members for _, members in groups]


def unsure(
    probabilities_NA: Floats, present_NA: NDArray[np.bool_], below: float
) -> NDArray[np.bool_]:
    """Return decisions that are less likely right than `below`, bool [N, A].

    A decision is right with probability p where it says present, with 1 - p where it does not.
    """
    assert probabilities_NA.shape == present_NA.shape
    right_NA = np.where(present_NA, probabilities_NA, 1.0 - probabilities_NA)
    return np.asarray(right_NA < below, np.bool_)


def counts(probabilities_NA: Floats, targets_NA: NDArray[Any]) -> NDArray[np.int64]:
    """Count negative and positive images in each bin of probability, [2, A, 100].

    Unknown targets, NaN, are not counted.
    Thresholds are chosen from these alone; they are small enough to travel in a card.
    """
    assert probabilities_NA.shape == targets_NA.shape
    bins_NA = np.minimum((np.asarray(probabilities_NA, np.float64) * BINS).astype(int), BINS - 1)
    tally = np.zeros((2, targets_NA.shape[1], BINS), np.int64)
    row_n, column_n = np.nonzero(~np.isnan(targets_NA))
    labels_n, bins_n = targets_NA[row_n, column_n].astype(int), bins_NA[row_n, column_n]
    np.add.at(tally, (labels_n, column_n, bins_n), 1)
    return tally


def thresholds(counts_2AB: NDArray[np.int64], kind: str, least: float = 0.0) -> NDArray[np.float64]:
    """Return the thresholds of a non-default operating point, [A].

    - f1: where F1, the harmonic mean of precision and recall, is highest.
    - precision: the lowest with at least that precision, so that most is found. Infinite, never
      present, where none of them has it with `SUPPORT` images called present.
    - recall: the highest with at least that recall, so that least is wrongly found.

    Args:
        counts_2AB: of `counts`, on images the network was not trained on.
        kind: f1, precision or recall.
        least: the precision or recall that is asked for, over 0 to 1.
    """
    # Called present at threshold k/100: everything in bin k and above.
    false_AB, true_AB = np.cumsum(counts_2AB[:, :, ::-1], axis=2)[:, :, ::-1]
    positives_A1 = true_AB[:, :1]
    claims_AB = false_AB + true_AB
    edges_B: NDArray[np.float64] = np.arange(BINS) / BINS
    chosen_A: NDArray[np.float64]
    if kind == "f1":
        f1_AB = 2.0 * true_AB / np.maximum(claims_AB + positives_A1, 1)
        best_AB = f1_AB >= f1_AB.max(axis=1, keepdims=True) - 1e-12
        # Of equally good ones the nearest to one half.
        chosen_A = edges_B[np.where(best_AB, np.abs(edges_B - 0.5), np.inf).argmin(axis=1)]
    elif kind == "precision":
        good_AB = (true_AB >= least * claims_AB) & (claims_AB >= SUPPORT)
        chosen_A = np.where(good_AB.any(axis=1), edges_B[good_AB.argmax(axis=1)], np.inf)
    else:
        assert kind == "recall"
        good_AB = true_AB >= least * positives_A1
        chosen_A = edges_B[BINS - 1 - good_AB[:, ::-1].argmax(axis=1)]
    return chosen_A
