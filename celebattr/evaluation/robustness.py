"""How much worse a bundle is on the same images, spoiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.evaluation import metrics
from celebattr.evaluation.consistency import paired
from celebattr.evaluation.corruptions import Corruption
from celebattr.evaluation.report import CorruptionReport


def robustness(
    probabilities_VNA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    decide: Callable[[NDArray[np.floating[Any]]], NDArray[np.bool_]],
    corruptions: Sequence[Corruption],
    people_N: NDArray[np.int64] | None,
) -> tuple[CorruptionReport, ...]:
    """A report a corruption, against the images as they are.

    Args:
        probabilities_VNA: calibrated, [1 + C, N, A]: of the images as they are, then of each of
            the C corruptions.
        targets_NA: [N, A], 0 or 1.
        decide: makes decisions, bool [N, A], of probabilities [N, A].
        corruptions: their C names and levels.
        people_N: who is shown, or None where that is not known.
    """
    clean_NA = decide(probabilities_VNA[0]) == targets_NA
    reports = []
    for corruption, p_NA in zip(corruptions, probabilities_VNA[1:], strict=True):
        present_NA = decide(p_NA)
        summary = metrics.summary(p_NA, targets_NA, present_NA)
        difference, interval = paired(present_NA == targets_NA, clean_NA, people_N)
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
