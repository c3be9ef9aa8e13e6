"""Confident learning: estimates the number of wrong labels, and finds them, from probabilities.

A network's mean probability of present, over the images that are labelled present, is its usual
case of one; the same for absent. A label whose other value reaches that value's usual case counts
as wrong, one whose own value does counts as right. Scaled to the labels there are, these counts
estimate how many of the present labels and how many of the absent ones are wrong; that many are
suspected, the least probable first ("prune by noise rate").

Ranked by the probability that the other value is right. For labels flipped by chance nothing is
better if probabilities are calibrated, and `benchmarks/label_errors.py` agrees: by the distance to
the usual case instead, as `cleanlab` can, about half as many are found.

An attribute that the network cannot see counts as label errors: estimates for attributes that are
hard to predict are too high.

Our own few lines, since cleanlab 2.9 takes no weights of images, which intervals over people need,
and would bring pandas and scikit-learn; the tests hold them against it.

Source: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70, 2021: the confident joint and its calibration (section 3.1), pruning (3.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.evaluation.bootstrap import Resamples, Samples

_SLACK = 1e-6
"""A mean of equal numbers may differ from them in its last digit."""

_CHUNK = 16  # resamples at once: what fits into a processor's cache


def scores(probabilities_NA: NDArray[Any], labels_NA: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability of each label's other value, [N, A], 0 to 1."""
    assert probabilities_NA.shape == labels_NA.shape
    return np.asarray(np.abs(labels_NA.astype(np.float64) - probabilities_NA))


def suspected(probabilities_NA: NDArray[Any], labels_NA: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the labels most likely wrong, as many as estimated, bool [N, A].

    Only labels that are less probable than their opposite. An attribute of which all labels are
    alike has no suspects: nothing tells how probable its other value usually is.
    """
    scores_NA, truth_NA = scores(probabilities_NA, labels_NA), labels_NA.astype(bool)
    found_NA = np.zeros(truth_NA.shape, np.bool_)
    images = once(len(truth_NA))
    for column in range(truth_NA.shape[1]):
        rates = error_rates(probabilities_NA[:, column], truth_NA[:, column], images)
        for value, (share,) in zip((False, True), rates, strict=True):
            rows = np.flatnonzero((truth_NA[:, column] == value) & (scores_NA[:, column] > 0.5))
            worst_first = rows[np.argsort(-scores_NA[rows, column], kind="stable")]
            count = 0 if np.isnan(share) else round(share * len(truth_NA))
            found_NA[worst_first[:count], column] = True
    return found_NA


def error_rates(
    probabilities_N: NDArray[Any], labels_N: NDArray[Any], resamples: Resamples
) -> tuple[Samples, Samples]:
    """Return the shares of wrongly absent and wrongly present labels of an attribute, [R] each.

    Args:
        probabilities_N: that the attribute is present, 0 to 1.
        labels_N: 0 or 1.
        resamples: of the images; once each gives the estimate itself.

    Returns:
        One value per resample, NaN where all its labels are alike.
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
    """Return the one resample that holds each image once."""
    return Resamples(np.ones((1, images), np.float32), np.arange(images))


def _edges(present: Samples, absent: Samples) -> tuple[Samples, Samples]:
    """Return the highest probability that says absent, and the lowest that says present.

    From the mean probabilities of either where it is the label.
    """
    # Where both means are reached, which only a network near chance does, the likelier value wins.
    low, high = 1.0 - absent + _SLACK, present - _SLACK
    return np.minimum(low, np.maximum(high, 0.5)), np.maximum(high, np.minimum(low, 0.5))


def _shares(
    p_N: Samples, truth_N: NDArray[np.float32], weights_RN: NDArray[np.float32]
) -> tuple[Samples, Samples]:
    """Return `error_rates` of images sorted by probability, weighted by resample."""
    present_RN, absent_RN = weights_RN * truth_N, weights_RN * (1.0 - truth_N)
    positives_R, negatives_R = (p.sum(axis=1, dtype=float) for p in (present_RN, absent_RN))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = present_RN @ p_N / positives_R, absent_RN @ (1.0 - p_N) / negatives_R
        low_R, high_R = _edges(*means)
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
    shares = missing_R / total_R, false_R / total_R
    return np.where(known_R, shares[0], np.nan), np.where(known_R, shares[1], np.nan)


def _first(values_RN: NDArray[np.float32], count_R: NDArray[np.int64]) -> Samples:
    """Return sums of the first `count` values per row; float32 counts exactly to 16 million."""
    sums_RN = np.zeros((values_RN.shape[0], values_RN.shape[1] + 1), np.float32)
    np.cumsum(values_RN, axis=1, out=sums_RN[:, 1:])
    return np.take_along_axis(sums_RN, count_R[:, None], axis=1)[:, 0].astype(np.float64)
