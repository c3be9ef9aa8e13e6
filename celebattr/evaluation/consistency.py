"""Contradictions between attributes, and the accuracy of answers without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import rules_of
from celebattr.evaluation import bootstrap
from celebattr.evaluation.bootstrap import Interval, Resamples
from celebattr.evaluation.report import LogicReport, RuleReport
from celebattr.models import decisions


def logic(
    probabilities_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    thresholds_A: NDArray[np.floating[Any]],
    attributes: Sequence[str],
    people_N: NDArray[np.int64] | None,
) -> LogicReport | None:
    """Count contradictions in the decisions and in the labels; None without rules.

    Args:
        probabilities_NA: calibrated, [N, A], 0 to 1.
        targets_NA: [N, A], 0 or 1.
        thresholds_A: the probability from which an attribute is present.
        attributes: their A names.
        people_N: who is shown, or None where that is not known.
    """
    rules = rules_of(attributes)
    if not rules:
        return None
    truth_NA = targets_NA.astype(np.bool_)
    plain_NA = decisions.present(probabilities_NA, thresholds_A)
    consistent_NA = decisions.Consistent(attributes).present(probabilities_NA, thresholds_A)
    predicted_NR = decisions.contradictions(plain_NA, attributes, rules)
    labelled_NR = decisions.contradictions(truth_NA, attributes, rules)
    difference, interval = paired(consistent_NA == truth_NA, plain_NA == truth_NA, people_N)
    return LogicReport(
        rules=tuple(
            RuleReport(rule.name, float(predicted), float(labelled))
            for rule, predicted, labelled in zip(
                rules, predicted_NR.mean(axis=0), labelled_NR.mean(axis=0), strict=True
            )
        ),
        predicted=float(predicted_NR.any(axis=1).mean()),
        labelled=float(labelled_NR.any(axis=1).mean()),
        consistent_accuracy=float((consistent_NA == truth_NA).mean()),
        difference=difference,
        interval=interval,
    )


def paired(
    right_NA: NDArray[np.bool_],
    reference_NA: NDArray[np.bool_],
    people_N: NDArray[np.int64] | None,
) -> tuple[float, Interval | None]:
    """Return mean accuracy minus that of a reference on the same images, with 95 % interval.

    Args:
        right_NA: which decisions are right, bool [N, A].
        reference_NA: which of the reference's are, bool [N, A].
        people_N: who is shown, or None where that is not known; people, or images, are resampled.
    """
    difference_N = right_NA.mean(axis=1) - reference_NA.mean(axis=1)
    resamples = Resamples.draw(len(difference_N), people_N)
    samples_R = resamples.sums(difference_N) / resamples.sums(np.ones(len(difference_N)))
    return float(difference_N.mean()), bootstrap.interval(samples_R)
