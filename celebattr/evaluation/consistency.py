"""Contradictions between attributes, and the accuracy of answers without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import Rule, rules_of
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
        targets_NA: [N, A], 0 or 1; NaN where unknown.
        thresholds_A: the probability from which an attribute is present.
        attributes: their A names.
        people_N: who is shown, or None where that is not known.
    """
    rules = rules_of(attributes)
    if not rules:
        return None
    plain_NA = decisions.present(probabilities_NA, thresholds_A)
    consistent_NA = decisions.Consistent(attributes).present(probabilities_NA, thresholds_A)
    predicted_NR = decisions.contradictions(plain_NA, attributes, rules)
    labelled_NR = _labelled(targets_NA, attributes, rules)
    difference, interval = paired(consistent_NA, plain_NA, targets_NA, people_N)
    return LogicReport(
        rules=tuple(
            RuleReport(rule.name, float(predicted), float(labelled))
            for rule, predicted, labelled in zip(
                rules, predicted_NR.mean(axis=0), labelled_NR.mean(axis=0), strict=True
            )
        ),
        predicted=float(predicted_NR.any(axis=1).mean()),
        labelled=float(labelled_NR.any(axis=1).mean()),
        consistent_accuracy=float((consistent_NA == targets_NA)[~np.isnan(targets_NA)].mean()),
        difference=difference,
        interval=interval,
    )


def _labelled(
    targets_NA: NDArray[Any], attributes: Sequence[str], rules: Sequence[Rule]
) -> NDArray[np.bool_]:
    """Return which rules the labels break, bool [N, R]; what is unknown breaks none."""
    broken_NR = decisions.contradictions(targets_NA == 1, attributes, rules)
    names = list(attributes)
    for r, rule in enumerate(rules):
        columns = [names.index(rule.first), names.index(rule.second)]
        broken_NR[:, r] &= ~np.isnan(targets_NA[:, columns]).any(axis=1)
    return broken_NR


def paired(
    present_NA: NDArray[np.bool_],
    reference_NA: NDArray[np.bool_],
    targets_NA: NDArray[Any],
    people_N: NDArray[np.int64] | None,
) -> tuple[float, Interval | None]:
    """Return mean accuracy minus that of a reference on the same images, with 95 % interval.

    Args:
        present_NA: the decisions, bool [N, A].
        reference_NA: those of the reference, bool [N, A].
        targets_NA: [N, A], 0 or 1; NaN where unknown, which counts for neither.
        people_N: who is shown, or None where that is not known; people, or images, are resampled.
    """
    right_N, reference_N = (
        (of_NA == targets_NA).sum(axis=1) for of_NA in (present_NA, reference_NA)
    )
    difference_N, known_N = right_N - reference_N, (~np.isnan(targets_NA)).sum(axis=1)
    resamples = Resamples.draw(len(difference_N), people_N)
    with np.errstate(invalid="ignore"):
        samples_R = resamples.sums(difference_N) / resamples.sums(known_N)
    return float(difference_N.sum() / known_N.sum()), bootstrap.interval(samples_R)
