"""Metrics on parts of a split: men and women, the young and the old, ...

Also the gaps between them in recall.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.evaluation import metrics
from celebattr.evaluation.bootstrap import Resamples, interval
from celebattr.evaluation.report import FEW, GapReport, SliceReport


def slices(
    probabilities_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    present_NA: NDArray[np.bool_],
    attributes: Sequence[str],
    by: Sequence[str],
    people_N: NDArray[np.int64] | None,
) -> tuple[SliceReport, ...]:
    """Return a report per combination of the attributes `by`, by their labels; largest first.

    Args:
        probabilities_NA: calibrated, [N, A], 0 to 1.
        targets_NA: [N, A], 0 or 1; NaN where unknown.
        present_NA: the decisions, bool [N, A].
        attributes: their A names.
        by: some of these names.
        people_N: who is shown, or None where that is not known.
    """
    columns = [list(attributes).index(name) for name in by]
    found = []
    for values in itertools.product((True, False), repeat=len(by)):
        rows = np.flatnonzero((targets_NA[:, columns] == np.array(values)).all(axis=1))
        which = dict(zip(by, values, strict=True))
        if len(rows) == 0:
            found.append(SliceReport(which, 0, None if people_N is None else 0, None, None))
            continue
        known_A = ~np.isnan(targets_NA[rows]).all(axis=0)
        part = metrics.report(
            probabilities_NA[rows][:, known_A],
            targets_NA[rows][:, known_A],
            present_NA[rows][:, known_A],
            list(itertools.compress(attributes, known_A)),
            split="",
            weights="",
            people_N=None if people_N is None else people_N[rows],
        )
        names = ("mean_attribute_accuracy", "mean_average_precision")
        found.append(
            SliceReport(
                which,
                part.images,
                part.people,
                part.mean_attribute_accuracy,
                part.mean_average_precision,
                {name: part.intervals[name] for name in names},
            )
        )
    return tuple(sorted(found, key=lambda one: -one.images))


def gaps(
    parts: Sequence[SliceReport],
    targets_NA: NDArray[Any],
    present_NA: NDArray[np.bool_],
    attributes: Sequence[str],
    people_N: NDArray[np.int64] | None,
) -> tuple[GapReport, ...]:
    """Return the largest gap in recall between slices, for each attribute.

    The share of those who show an attribute in whom it is found: equal opportunity asks that this
    be alike. Which two slices are compared is chosen on the same images, so of many slices the
    gap is somewhat too large, and its interval is that of these two.

    A slice in which a handful shows the attribute would be the extreme one by chance, so slices
    with fewer than `FEW` of them count only where there are not two others.

    Source: Hardt, Price, Srebro, "Equality of Opportunity in Supervised Learning", NIPS 2016.

    Args:
        parts: what `slices` gave for these images.
        targets_NA: [N, A], 0 or 1; NaN where unknown.
        present_NA: the decisions, bool [N, A].
        attributes: their A names.
        people_N: who is shown, or None where that is not known.

    Returns:
        One report for each attribute, other than those sliced by, that images of two slices show.
    """
    by = list(parts[0].slice)
    columns = [list(attributes).index(name) for name in by]
    truth_NA = targets_NA == 1
    hits_NA = truth_NA & present_NA
    inside_PN = np.array(
        [(targets_NA[:, columns] == list(one.slice.values())).all(axis=1) for one in parts]
    )
    positives_PA, hits_PA = (
        np.array([of_NA[inside_N].sum(axis=0) for inside_N in inside_PN])
        for of_NA in (truth_NA, hits_NA)
    )
    resamples = Resamples.draw(len(truth_NA), people_N)
    found = []
    for a, name in enumerate(attributes):
        shown = np.flatnonzero(positives_PA[:, a] >= FEW)
        if len(shown) < 2:
            shown = np.flatnonzero(positives_PA[:, a])
        if name in by or len(shown) < 2:
            continue
        recall_P = hits_PA[shown, a] / positives_PA[shown, a]
        # From either end, so that slices of equal recall are still two.
        pair = shown[[recall_P.argmax(), len(shown) - 1 - recall_P[::-1].argmin()]]
        best, worst = pair
        positives_R2, hits_R2 = (
            resamples.sums(of_NA[:, a, None] & inside_PN[pair].T) for of_NA in (truth_NA, hits_NA)
        )
        with np.errstate(invalid="ignore"):
            recall_R2 = hits_R2 / positives_R2
        high, low = float(recall_P.max()), float(recall_P.min())
        positives = int(positives_PA[pair, a].min())
        found.append(
            GapReport(
                attribute=name,
                best=parts[best].name,
                worst=parts[worst].name,
                best_recall=high,
                worst_recall=low,
                gap=high - low,
                interval=interval(recall_R2[:, 0] - recall_R2[:, 1]),
                positives=positives,
                few=positives < FEW,
            )
        )
    return tuple(found)
