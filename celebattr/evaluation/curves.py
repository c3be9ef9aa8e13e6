"""Points of the charts of an evaluation: reliability, ROC, precision and recall.

Images of equal probability are called present together, so each curve has a point for each
probability that occurs. Of more than 100 points those are kept that lie at equal steps along the
axis that the curve rises on, and both ends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.evaluation import calibration
from celebattr.evaluation.report import AttributeCurves, EvalReport, ReliabilityBin, ThresholdRow
from celebattr.models import decisions

POINTS = 100
"""Maximum number of points of a curve."""

THRESHOLDS: tuple[float, ...] = tuple(k / 20 for k in range(1, 20))
"""Thresholds of the table: 0.05, 0.10, ... 0.95."""

Curve = tuple[tuple[float, float], ...]


def with_curves(
    report: EvalReport, probabilities_NA: NDArray[np.floating[Any]], targets_NA: NDArray[Any]
) -> EvalReport:
    """Return the report with the curves of each attribute, and the reliability of all decisions.

    Args:
        report: of these images.
        probabilities_NA: calibrated, [N, A], 0 to 1.
        targets_NA: [N, A], 0 or 1; NaN where unknown.
    """
    truth_NA, known_NA = targets_NA == 1, ~np.isnan(targets_NA)
    assert probabilities_NA.shape == truth_NA.shape == (report.images, len(report.attributes))
    rows = [
        replace(row, curves=curves(p_N[known_N], y_N[known_N]))
        for row, p_N, y_N, known_N in zip(
            report.attributes, probabilities_NA.T, truth_NA.T, known_NA.T, strict=True
        )
    ]
    together = reliability(probabilities_NA[known_NA], truth_NA[known_NA])
    return replace(report, attributes=tuple(rows), reliability=together)


def curves(
    probabilities_N: NDArray[np.floating[Any]], truth_N: NDArray[np.bool_]
) -> AttributeCurves:
    """Return all curves of one attribute, of probabilities [N] and labels [N]."""
    predicted_positives_T, true_positives_T = _counts(probabilities_N, truth_N)
    return AttributeCurves(
        reliability=reliability(probabilities_N, truth_N),
        roc=_roc(predicted_positives_T, true_positives_T),
        precision_recall=_precision_recall(predicted_positives_T, true_positives_T),
        thresholds=tuple(_at(t, probabilities_N, truth_N) for t in THRESHOLDS),
    )


def reliability(
    probabilities_N: NDArray[np.floating[Any]], truth_N: NDArray[np.bool_]
) -> tuple[ReliabilityBin, ...]:
    """Return the bins of the calibration error that hold decisions, by rising probability."""
    p_N = np.asarray(probabilities_N, np.float64)
    bins_N = calibration.bins(p_N)
    count = calibration.BINS
    decisions_K = np.bincount(bins_N, minlength=count)
    sum_K, present_K = (np.bincount(bins_N, of_N, count) for of_N in (p_N, truth_N))
    return tuple(
        ReliabilityBin(k / count, (k + 1) / count, int(n), float(sum_K[k] / n), present_K[k] / n)
        for k, n in enumerate(decisions_K)
        if n
    )


def _counts(
    probabilities_N: NDArray[np.floating[Any]], truth_N: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return images called present, and the right ones, per probability, falling."""
    order = np.argsort(-probabilities_N, kind="stable")
    ends_T = np.flatnonzero(np.diff(probabilities_N[order], append=-np.inf))
    return ends_T + 1, np.cumsum(truth_N[order], dtype=np.int64)[ends_T]


def _roc(predicted_positives_T: NDArray[np.int64], true_positives_T: NDArray[np.int64]) -> Curve:
    positives, negatives = true_positives_T[-1], predicted_positives_T[-1] - true_positives_T[-1]
    if not positives or not negatives:
        return ()
    found_T, wrong_T = (
        np.concatenate([[0], of_T])
        for of_T in (true_positives_T, predicted_positives_T - true_positives_T)
    )
    x_T, y_T = wrong_T / negatives, found_T / positives
    return _thinned(x_T, y_T, along_T=x_T + y_T)


def _precision_recall(
    predicted_positives_T: NDArray[np.int64], true_positives_T: NDArray[np.int64]
) -> Curve:
    if not true_positives_T[-1]:
        return ()
    recall_T = true_positives_T / true_positives_T[-1]
    return _thinned(recall_T, true_positives_T / predicted_positives_T, along_T=recall_T)


def _thinned(
    x_T: NDArray[np.float64], y_T: NDArray[np.float64], *, along_T: NDArray[np.float64]
) -> Curve:
    """Return at most `POINTS` points at equal steps of the rising `along_T`, with both ends."""
    kept = np.arange(len(x_T))
    if len(x_T) > POINTS:
        steps = np.linspace(along_T[0], along_T[-1], POINTS - 1)
        # Where `along_T` ends in a plateau, as recall does, its first point is met, not its last.
        kept = np.union1d(np.searchsorted(along_T, steps), [0, len(x_T) - 1])
    return tuple(zip(x_T[kept].tolist(), y_T[kept].tolist(), strict=True))


def _at(
    threshold: float, probabilities_N: NDArray[np.floating[Any]], truth_N: NDArray[np.bool_]
) -> ThresholdRow:
    """Return the figures at one threshold."""
    present_N = decisions.present(probabilities_N[:, None], np.array([threshold]))[:, 0]
    positives, predicted_positives = int(truth_N.sum()), int(present_N.sum())
    true_positives = int((truth_N & present_N).sum())
    return ThresholdRow(
        threshold=threshold,
        accuracy=float((truth_N == present_N).mean()),
        precision=true_positives / predicted_positives if predicted_positives else None,
        recall=true_positives / positives if positives else None,
        f1=2.0 * true_positives / (predicted_positives + positives) if positives else None,
    )
