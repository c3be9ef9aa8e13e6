"""Confident learning: which labels are likely wrong, and how many, from probabilities.

A network's mean probability for the images that are labelled present is what it takes to call a
present label its usual case; the same for absent. A label is suspected where the other value's
probability reaches that value's mean. Counted by label and suggestion, and scaled to the labels
there are, this estimates how often labels and truth differ.

Suspects are ranked by the probability that the other value is right. For labels flipped by chance
no ranking is better if probabilities are calibrated, and `benchmarks/label_errors.py` measures it:
ranking by the distance to the means instead, as `cleanlab` can, finds about half as many.

What a network cannot see counts as an error of the labels here: estimates for attributes that are
hard to predict are too high.

Our own few lines, since cleanlab 2.9 takes no weights of images, which intervals over people need,
and would bring pandas and scikit-learn; the tests hold them against it.

Source: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70, 2021: thresholds (eq. 2), confident joint (eq. 1), its calibration (eq. 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.evaluation.intervals import Resamples, Samples

_SLACK = 1e-6
"""A mean of equal numbers may differ from them in its last digit."""

_CHUNK = 16  # resamples at once: what fits into a processor's cache


def scores(probabilities_NA: NDArray[Any], labels_NA: NDArray[Any]) -> NDArray[np.float64]:
    """How likely each label is wrong: the probability of the other value, [N, A], 0 to 1."""
    assert probabilities_NA.shape == labels_NA.shape
    return np.abs(labels_NA.astype(np.float64) - probabilities_NA)


def suspected(probabilities_NA: NDArray[Any], labels_NA: NDArray[Any]) -> NDArray[np.bool_]:
    """Labels of which the network is as sure of the other value as it usually is, bool [N, A].

    And surer of it than of the label: the usual case of a rare attribute may lie below one half.
    An attribute of which all labels are alike has no suspects: its other value has no mean.
    """
    assert probabilities_NA.shape == labels_NA.shape
    p_NA, truth_NA = np.asarray(probabilities_NA, np.float64), labels_NA.astype(bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        present_A = (p_NA * truth_NA).sum(axis=0) / truth_NA.sum(axis=0)
        absent_A = ((1.0 - p_NA) * ~truth_NA).sum(axis=0) / (~truth_NA).sum(axis=0)
    low_A, high_A = _edges(present_A, absent_A)
    # Comparisons with NaN are false: no suspects.
    says_present_NA = p_NA >= high_A
    says_absent_NA = (p_NA <= low_A) & ~says_present_NA
    says_other_NA = np.where(truth_NA, says_absent_NA, says_present_NA)
    return np.asarray(says_other_NA & (scores(p_NA, truth_NA) > 0.5))


def error_rates(
    probabilities_N: NDArray[Any], labels_N: NDArray[Any], resamples: Resamples
) -> tuple[Samples, Samples]:
    """Shares of one attribute's labels that are wrongly absent and wrongly present, [R] each.

    Args:
        probabilities_N: that the attribute is present, 0 to 1.
        labels_N: 0 or 1.
        resamples: of the images; once each gives the estimate itself.

    Returns:
        One value a resample, NaN where all its labels are alike.
    """
    order = np.argsort(probabilities_N, kind="stable")
    p_N = np.asarray(probabilities_N, np.float64)[order]
    truth_N = labels_N[order].astype(np.float32)
    group_N = resamples.group_N[order]
    parts = [
        _shares(p_N, truth_N, resamples.times_RG[at : at + _CHUNK, group_N])
        for at in range(0, len(resamples.times_RG), _CHUNK)
    ]
    missing_R, false_R = (np.concatenate(part) for part in zip(*parts, strict=True))
    return missing_R, false_R


def once(images: int) -> Resamples:
    """The one resample that holds each image once."""
    return Resamples(np.ones((1, images), np.float32), np.arange(images))


def _edges(present: Samples, absent: Samples) -> tuple[Samples, Samples]:
    """Up to which probability a network says absent, and from which it says present.

    Args:
        present: mean probability of present where labelled present.
        absent: mean probability of absent where labelled absent.
    """
    # Where both means are reached, which only a network near chance does, the likelier value wins.
    low = np.minimum(1.0 - absent, np.maximum(present, 0.5))
    high = np.maximum(present, np.minimum(1.0 - absent, 0.5))
    return low + _SLACK, high - _SLACK


def _shares(
    p_N: Samples, truth_N: NDArray[np.float32], weights_RN: NDArray[np.float32]
) -> tuple[Samples, Samples]:
    """`error_rates` of images sorted by probability, each counted as often as its weight says."""
    present_RN, absent_RN = weights_RN * truth_N, weights_RN * (1.0 - truth_N)
    positives_R, negatives_R = (
        part.sum(axis=1, dtype=np.float64) for part in (present_RN, absent_RN)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        low_R, high_R = _edges(
            present_RN @ p_N / positives_R, absent_RN @ (1.0 - p_N) / negatives_R
        )
        above_R = np.searchsorted(p_N, high_R, side="left")
        below_R = np.minimum(np.searchsorted(p_N, low_R, side="right"), above_R)
        # Counts by label and suggestion; one at least is taken to be right, as cleanlab does.
        kept_present_R = np.maximum(positives_R - _first(present_RN, above_R), 1.0)
        false_R = _first(present_RN, below_R)
        kept_absent_R = np.maximum(_first(absent_RN, below_R), 1.0)
        missing_R = negatives_R - _first(absent_RN, above_R)
        missing_R = negatives_R * missing_R / (missing_R + kept_absent_R)
        false_R = positives_R * false_R / (false_R + kept_present_R)
    total_R = positives_R + negatives_R
    known_R = (positives_R > 0) & (negatives_R > 0)
    return (
        np.where(known_R, missing_R / total_R, np.nan),
        np.where(known_R, false_R / total_R, np.nan),
    )


def _first(values_RN: NDArray[np.float32], count_R: NDArray[np.int64]) -> Samples:
    """Sums of the first `count` values of each row; float32 counts exactly up to 16 million."""
    sums_RN = np.zeros((values_RN.shape[0], values_RN.shape[1] + 1), np.float32)
    np.cumsum(values_RN, axis=1, out=sums_RN[:, 1:])
    return np.take_along_axis(sums_RN, count_R[:, None], axis=1)[:, 0].astype(np.float64)
