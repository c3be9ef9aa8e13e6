"""How good a bundle is on parts of a split: for men and women, for the young and the old, ..."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.evaluation import metrics
from celebattr.results import SliceReport


def slices(
    probabilities_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    present_NA: NDArray[np.bool_],
    attributes: Sequence[str],
    by: Sequence[str],
    people_N: NDArray[np.int64] | None,
) -> tuple[SliceReport, ...]:
    """A report for each combination of the attributes `by`, by their labels; largest first.

    Args:
        probabilities_NA: calibrated, [N, A], 0 to 1.
        targets_NA: [N, A], 0 or 1.
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
        part = metrics.report(
            probabilities_NA[rows],
            targets_NA[rows],
            present_NA[rows],
            attributes,
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
