"""Comparison of two bundles on the same images: paired differences and their intervals.

Both are right about the easy photos and wrong about the hard ones. Each resample therefore draws
the same people for both, and the interval is that of the difference: far narrower than two
intervals side by side suggest.

Source: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993 (paired bootstrap); Koehn,
"Statistical Significance Tests for Machine Translation Evaluation", EMNLP 2004 (the same, to
compare systems).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.evaluation import bootstrap, metrics
from celebattr.evaluation.consistency import paired
from celebattr.evaluation.corruptions import Corruption
from celebattr.evaluation.metrics import Measured, mean
from celebattr.evaluation.report import MEANS, Comparison, CorruptionReport, Difference

METRICS: tuple[str, ...] = ("accuracy", "average_precision")
"""Metrics that are compared attribute by attribute; the means are of every metric."""


def compare(ours: Measured, theirs: Measured) -> Comparison:
    """Return the differences of the means, then of each attribute.

    All are over the attributes of `theirs`: the means of `ours` are taken over these too.

    Args:
        ours: the evaluated bundle.
        theirs: the other, on the same images in the same order; its attributes are some or all of
            ours.
    """
    names = [row.attribute for row in theirs.report.attributes]
    own = [row.attribute for row in ours.report.attributes]
    columns = [own.index(name) for name in names]
    shared = Measured(
        ours.report,
        ours.right_NA[:, columns],
        {metric: samples_RA[:, columns] for metric, samples_RA in ours.samples.items()},
        ours.resamples,
    )
    assert shared.right_NA.shape == theirs.right_NA.shape
    assert np.array_equal(ours.resamples.times_RG, theirs.resamples.times_RG)
    differences = _means(shared, theirs, columns)
    for a, (column, other) in enumerate(zip(columns, theirs.report.attributes, strict=True)):
        row = ours.report.attributes[column]
        for metric in METRICS:
            samples_R = shared.samples[metric][:, a] - theirs.samples[metric][:, a]
            pair = getattr(row, metric), getattr(other, metric)
            differences.append(_difference(metric, row.attribute, pair, samples_R))
    return Comparison(theirs.report.weights, tuple(differences))


def _means(shared: Measured, theirs: Measured, columns: list[int]) -> list[Difference]:
    rows = [shared.report.attributes[column] for column in columns]
    figures: dict[str, tuple[float | None, float | None]] = {
        field: (mean([getattr(row, metric) for row in rows]), getattr(theirs.report, field))
        for metric, field in MEANS.items()
        if metric != "majority_accuracy"  # of the labels, not of a bundle
    }
    exact = float(shared.right_NA.all(axis=1).mean())
    figures["exact_match_ratio"] = (exact, theirs.report.exact_match_ratio)
    ours_R, theirs_R = (
        bootstrap.mean_samples(one.samples, one.right_NA, one.resamples) for one in (shared, theirs)
    )
    return [
        _difference(field, None, pair, ours_R[field] - theirs_R[field])
        for field, pair in figures.items()
    ]


def _difference(
    metric: str,
    attribute: str | None,
    pair: tuple[float | None, float | None],
    samples_R: bootstrap.Samples,
) -> Difference:
    found = bootstrap.interval(samples_R)
    # Where nothing is defined nothing is known either.
    noise = found is None or found[0] <= 0.0 <= found[1]
    return Difference(metric, attribute, *pair, found, noise)


def robustness(
    probabilities_VNA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    present_VNA: NDArray[np.bool_],
    corruptions: Sequence[Corruption],
    people_N: NDArray[np.int64] | None,
) -> tuple[CorruptionReport, ...]:
    """Return a report per corruption, against the uncorrupted images.

    Args:
        probabilities_VNA: calibrated, [1 + C, N, A]: of the images as they are, then of each of
            the C corruptions.
        targets_NA: [N, A], 0 or 1; NaN where unknown.
        present_VNA: the decisions, bool, of the same shape.
        corruptions: their C names and levels.
        people_N: who is shown, or None where that is not known.
    """
    reports = []
    for corruption, p_NA, present_NA in zip(
        corruptions, probabilities_VNA[1:], present_VNA[1:], strict=True
    ):
        summary = metrics.summary(p_NA, targets_NA, present_NA)
        difference, interval = paired(present_NA, present_VNA[0], targets_NA, people_N)
        reports.append(
            CorruptionReport(
                corruption.name,
                corruption.level,
                summary.mean_attribute_accuracy,
                summary.mean_average_precision,
                difference,
                interval,
            )
        )
    return tuple(reports)
