"""95 % intervals of every metric, by bootstrap over people (or over images where nobody is named).

Photos of one person are not independent: whoever labelled CelebA often judged the person. So whole
people are drawn with replacement, not photos, and an interval is as wide as 251 people make it, not
as narrow as 4,548 photos would.

Source: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile intervals); Field,
Welsh, "Bootstrapping clustered data", JRSS B 2007 (clusters).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.evaluation import calibration
from celebattr.evaluation.report import MEANS

RESAMPLES = 400
_CHUNK = 16  # resamples at once: what fits into a processor's cache
COVERAGE = 0.95

Interval = tuple[float, float]
Samples = NDArray[np.float64]
"""One value per resample, [R] or [R, A]; NaN where undefined."""


@dataclass(frozen=True)
class Resamples:
    """The count of draws per group, `times_RG` [R, G], and the group of each image, [N]."""

    times_RG: NDArray[np.float32]
    group_N: NDArray[np.int64]

    @classmethod
    def draw(
        cls, images: int, people_N: NDArray[np.int64] | None, *, count: int = RESAMPLES
    ) -> Resamples:
        """Draw groups with replacement, as many as there are; always the same draws."""
        keys = np.arange(images) if people_N is None else people_N
        groups, group_N = np.unique(keys, return_inverse=True)
        random = np.random.default_rng(0)
        size = len(groups)
        times = random.multinomial(size, np.full(size, 1.0 / size), size=count)
        return cls(times.astype(np.float32), group_N)

    def sums(self, values: NDArray[Any]) -> Samples:
        """Return sums over the images of each resample: values [N] or [N, A] -> [R] or [R, A]."""
        by_group = np.zeros((self.times_RG.shape[1], *values.shape[1:]), np.float32)
        np.add.at(by_group, self.group_N, values)
        # float32 counts exactly up to 16 million.
        return np.asarray(self.times_RG @ by_group, np.float64)


def interval(samples_R: Samples) -> Interval | None:
    """Return the middle 95 % of the resamples that define a metric; None if none does."""
    defined = samples_R[np.isfinite(samples_R)]
    if len(defined) == 0:
        return None
    low, high = np.quantile(defined, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def metric_samples(
    probabilities_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    present_NA: NDArray[np.bool_],
    resamples: Resamples,
) -> dict[str, Samples]:
    """Return each metric of `AttributeReport`, by name, per resample, [R, A], or NaN."""
    truth, known = targets_NA == 1, ~np.isnan(targets_NA)
    images, positives, predicted_positives, true_positives = (
        resamples.sums(values) for values in (known, truth, known & present_NA, truth & present_NA)
    )
    negatives = images - positives
    correct = true_positives + negatives - (predicted_positives - true_positives)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, specificity = true_positives / positives, (correct - true_positives) / negatives
        samples = {
            "accuracy": correct / images,
            "majority_accuracy": np.maximum(positives, negatives) / images,
            "balanced_accuracy": (recall + specificity) / 2.0,
            "f1": np.where(
                positives > 0, 2.0 * true_positives / (predicted_positives + positives), np.nan
            ),
        }
    squared_NA = np.where(known, (probabilities_NA - truth) ** 2, 0.0)
    with np.errstate(invalid="ignore"):
        samples["brier_score"] = resamples.sums(squared_NA) / images
    ranked = [
        _ranking(p_N[k_N], y_N[k_N], Resamples(resamples.times_RG, resamples.group_N[k_N]))
        for p_N, y_N, k_N in zip(probabilities_NA.T, truth.T, known.T, strict=True)
    ]
    for i, name in enumerate(("average_precision", "roc_auc", "expected_calibration_error")):
        samples[name] = np.stack([row[i] for row in ranked], axis=1)
    return samples


def mean_samples(
    samples: dict[str, Samples], right_NA: NDArray[np.bool_], resamples: Resamples
) -> dict[str, Samples]:
    """Return the means over attributes, by the field of `EvalReport`, in each resample, [R].

    Args:
        samples: as `metric_samples` gives them; what is undefined is left out of its mean.
        right_NA: as in `Measured`.
        resamples: those of the samples.
    """
    exact_R = resamples.sums(np.asarray(right_NA.all(axis=1))) / resamples.sums(
        np.ones(len(right_NA))
    )
    found = {"exact_match_ratio": exact_R}
    for metric, samples_RA in samples.items():
        known_RA = np.isfinite(samples_RA)
        total_R = np.where(known_RA, samples_RA, 0.0).sum(axis=1)
        with np.errstate(invalid="ignore"):
            found[MEANS[metric]] = total_R / known_RA.sum(axis=1)
    return found


def _ranking(
    scores_N: NDArray[np.floating[Any]], truth_N: NDArray[np.bool_], resamples: Resamples
) -> tuple[Samples, Samples, Samples]:
    """Return average precision, ROC AUC and calibration error of an attribute, [R]."""
    order = np.argsort(-scores_N, kind="stable")
    sorted_truth = truth_N[order].astype(np.float32)
    # Images of equal score are called present together: only where it changes is a threshold.
    starts = np.flatnonzero(np.diff(scores_N[order], prepend=np.inf))
    parts = []
    for at in range(0, len(resamples.times_RG), _CHUNK):
        weights_RN = resamples.times_RG[at : at + _CHUNK, resamples.group_N[order]]
        gained_RT = weights_RN * sorted_truth
        lost_RT = weights_RN - gained_RT
        if len(starts) < len(order):
            gained_RT = np.add.reduceat(gained_RT, starts, axis=1)
            lost_RT = np.add.reduceat(lost_RT, starts, axis=1)
        parts.append(_areas(gained_RT, lost_RT))
    average_precision_R, roc_auc_R = (np.concatenate(part) for part in zip(*parts, strict=True))
    bins_N = calibration.bins(scores_N)
    gap_NK = np.zeros((len(scores_N), calibration.BINS))
    gap_NK[np.arange(len(scores_N)), bins_N] = scores_N - truth_N
    total_R = resamples.sums(np.ones(len(scores_N)))
    with np.errstate(invalid="ignore"):
        calibration_R = np.abs(resamples.sums(gap_NK)).sum(axis=1) / total_R
    # A resample adds its own chance to every bin's gap, and none is negative: all lie too high.
    # Their spread is what is wanted, around the error itself.
    calibration_R += np.abs(gap_NK.sum(axis=0)).sum() / len(scores_N) - np.nanmean(calibration_R)
    calibration_R = np.maximum(calibration_R, 0.0)
    return average_precision_R, roc_auc_R, calibration_R


def _areas(gained_RT: NDArray[np.float32], lost_RT: NDArray[np.float32]) -> tuple[Samples, Samples]:
    """Return average precision and ROC AUC, [R], from counts by falling threshold."""
    true_positives_RT = np.cumsum(gained_RT, axis=1)
    positives_R = true_positives_RT[:, -1].astype(np.float64)
    negatives_R = lost_RT.sum(axis=1, dtype=np.float64)
    predicted_positives_RT = np.cumsum(lost_RT, axis=1)
    predicted_positives_RT += true_positives_RT
    with np.errstate(invalid="ignore", divide="ignore"):
        # Where nothing was called present nothing was gained either: 0 times anything.
        np.maximum(predicted_positives_RT, 1.0, out=predicted_positives_RT)
        gained_precision_RT = gained_RT * (true_positives_RT / predicted_positives_RT)
        average_precision_R = gained_precision_RT.sum(axis=1, dtype=np.float64) / positives_R
        # Each negative is beaten by the positives above it, and by half of those of its score.
        true_positives_RT -= gained_RT / 2.0
        area_R = (lost_RT * true_positives_RT).sum(axis=1, dtype=np.float64)
        return average_precision_R, area_R / (positives_R * negatives_R)
