"""From logits to decisions: probability, present or not, sure or not. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 100
"""Bins of `counts`, so thresholds have two decimals: 0.00, 0.01, ... 0.99."""

SUPPORT = 10
"""Images that must be called present before their precision is taken for one."""


def probabilities(
    logits_NA: NDArray[np.floating[Any]],
    scale_A: NDArray[np.floating[Any]],
    bias_A: NDArray[np.floating[Any]],
) -> NDArray[np.float32]:
    """Calibrated probabilities, p = sigmoid(scale * logit + bias).

    Args:
        logits_NA: [N, A], any float type.
        scale_A: one an attribute, over 0.
        bias_A: one an attribute.

    Returns:
        float32 [N, A], 0 to 1, without overflow however large the logits.
    """
    assert logits_NA.shape[1:] == scale_A.shape == bias_A.shape
    z_NA = np.asarray(logits_NA, np.float64) * scale_A + bias_A
    # exp of a negative number cannot overflow, and small probabilities keep their digits.
    e_NA = np.exp(-np.abs(z_NA))
    p_NA = np.where(z_NA >= 0.0, 1.0, e_NA) / (1.0 + e_NA)
    return np.asarray(p_NA, np.float32)


def present(
    probabilities_NA: NDArray[np.floating[Any]], thresholds_A: NDArray[np.floating[Any]]
) -> NDArray[np.bool_]:
    """Decisions, bool [N, A]: the probability reaches the attribute's threshold."""
    assert probabilities_NA.shape[1:] == thresholds_A.shape
    # In one type: as float64, 0.7 is more than the float32 that stands for 0.7.
    decided_NA: NDArray[np.bool_] = probabilities_NA >= thresholds_A.astype(probabilities_NA.dtype)
    return decided_NA


def unsure(
    probabilities_NA: NDArray[np.floating[Any]],
    present_NA: NDArray[np.bool_],
    below: float,
) -> NDArray[np.bool_]:
    """Decisions that are less likely right than `below`, bool [N, A].

    A decision is right with probability p where it says present, with 1 - p where it does not.
    """
    assert probabilities_NA.shape == present_NA.shape
    right_NA = np.where(present_NA, probabilities_NA, 1.0 - probabilities_NA)
    return np.asarray(right_NA < below, np.bool_)


def counts(
    probabilities_NA: NDArray[np.floating[Any]], targets_NA: NDArray[Any]
) -> NDArray[np.int64]:
    """How many negative and positive images fall into each bin of probability, [2, A, 100].

    All that thresholds are chosen from; small enough to travel in a card.
    """
    assert probabilities_NA.shape == targets_NA.shape
    bins_NA = np.minimum((np.asarray(probabilities_NA, np.float64) * BINS).astype(int), BINS - 1)
    attributes = targets_NA.shape[1]
    tally = np.zeros((2, attributes, BINS), np.int64)
    np.add.at(tally, (targets_NA.astype(int), np.arange(attributes), bins_NA), 1)
    return tally


def thresholds(counts_2AB: NDArray[np.int64], kind: str, least: float = 0.0) -> NDArray[np.float64]:
    """The threshold of each attribute at an operating point other than the default, [A].

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
