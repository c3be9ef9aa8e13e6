"""Metrics of decisions and probabilities against targets. Pure functions.

Everything is a share between 0 and 1. What is undefined is None, never 0, and is left out of the
means: average precision and F1 need a positive image; ROC AUC and balanced accuracy need a
negative one too.

Ranking metrics come from torchmetrics. What follows from counts is computed from integers here:
torchmetrics divides in float32, and its multi-label functions refuse a single attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import celebattr.models.resnet  # noqa: F401  torchmetrics imports torchvision
from celebattr.errors import DataError, MissingExtraError
from celebattr.evaluation import bootstrap
from celebattr.evaluation.bootstrap import Resamples
from celebattr.evaluation.calibration import calibration_error, check
from celebattr.evaluation.report import MEANS, AttributeReport, EvalReport
from celebattr.reports.formatting import headless, without

try:
    import torch

    with headless(), without("LOCAL_RANK"):  # it imports matplotlib, and takes this for a number
        from torchmetrics.functional.classification import binary_auroc, binary_average_precision
except ModuleNotFoundError as error:
    if error.name != "torchmetrics":
        raise
    raise MissingExtraError("torchmetrics", "train") from error


@dataclass(frozen=True)
class Summary:
    """The metrics that an epoch is judged by; see `EvalReport` for their meaning."""

    mean_attribute_accuracy: float
    mean_average_precision: float | None


def summary(
    probabilities_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    present_NA: NDArray[np.bool_],
) -> Summary:
    """Return the two metrics of a validation pass. Arguments and errors as in `measure`."""
    _check(probabilities_NA, targets_NA, present_NA)
    return Summary(
        mean_attribute_accuracy=_accuracy(present_NA, targets_NA),
        mean_average_precision=mean(average_precision(probabilities_NA, targets_NA)),
    )


@dataclass(frozen=True)
class Measured:
    """A report with its resamples, which pair with another's of the same images.

    Attributes:
        report: the figures.
        right_NA: False where a decision is wrong, bool [N, A]; True where the label is unknown.
        samples: each metric of `AttributeReport` in each resample, [R, A]; NaN: undefined.
        resamples: which those are.
    """

    report: EvalReport
    right_NA: NDArray[np.bool_]
    samples: dict[str, bootstrap.Samples]
    resamples: Resamples


def report(
    probabilities_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    present_NA: NDArray[np.bool_],
    attributes: Sequence[str],
    **about: Any,
) -> EvalReport:
    """Return all metrics of one split. Arguments and errors as in `measure`."""
    return measure(probabilities_NA, targets_NA, present_NA, attributes, **about).report


def measure(
    probabilities_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    present_NA: NDArray[np.bool_],
    attributes: Sequence[str],
    *,
    split: str,
    weights: str,
    people_N: NDArray[np.int64] | None = None,
    unsure_NA: NDArray[np.bool_] | None = None,
    images_per_second: float | None = None,
) -> Measured:
    """Return all metrics of one split.

    Args:
        probabilities_NA: calibrated, [N, A], 0 to 1.
        targets_NA: [N, A], 0 or 1; NaN where unknown: metrics are over what is known. Each
            attribute needs one known label.
        present_NA: the decisions, bool [N, A].
        attributes: their A names.
        split: which rows these are.
        weights: the bundle's name.
        people_N: who is shown, where that is known: intervals are then over people.
        unsure_NA: decisions that are reported as unsure; none if not given.
        images_per_second: decoding and scoring together, where timed.

    Raises:
        DataError: no images, shapes that differ, targets other than 0 and 1, or probabilities that
            are not between 0 and 1.
    """
    _check(probabilities_NA, targets_NA, present_NA)
    if len(attributes) != targets_NA.shape[1]:
        raise DataError(f"{len(attributes)} attribute names for {targets_NA.shape[1]} columns")
    images = len(targets_NA)
    known_NA = ~np.isnan(targets_NA)
    right_NA = (targets_NA == present_NA) | ~known_NA
    resamples = Resamples.draw(images, people_N)
    samples = bootstrap.metric_samples(probabilities_NA, targets_NA, present_NA, resamples)
    rows = _attribute_rows(probabilities_NA, targets_NA, present_NA, attributes, samples)
    unsure_NA = np.zeros_like(present_NA) if unsure_NA is None else unsure_NA
    means: dict[str, Any] = {
        field: mean([getattr(row, metric) for row in rows]) for metric, field in MEANS.items()
    }
    whole = EvalReport(
        images=images,
        people=None if people_N is None else len(np.unique(people_N)),
        split=split,
        weights=weights,
        **means,
        exact_match_ratio=float(right_NA.all(axis=1).mean()),
        unsure_share=float(unsure_NA.mean()),
        accuracy_where_sure=_share(right_NA[known_NA & ~unsure_NA]),
        accuracy_where_unsure=_share(right_NA[known_NA & unsure_NA]),
        intervals={
            name: bootstrap.interval(samples_R)
            for name, samples_R in bootstrap.mean_samples(samples, right_NA, resamples).items()
        },
        attributes=tuple(rows),
        images_per_second=images_per_second,
    )
    return Measured(whole, right_NA, samples, resamples)


def _attribute_rows(
    probabilities_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    present_NA: NDArray[np.bool_],
    attributes: Sequence[str],
    samples: dict[str, bootstrap.Samples],
) -> list[AttributeReport]:
    """Return the metrics of each attribute. `samples` are those of the bootstrap, by metric."""
    known_NA = ~np.isnan(targets_NA)
    known_A = known_NA.sum(axis=0)
    truth_NA = targets_NA == 1
    right_NA = targets_NA == present_NA
    positives_A = truth_NA.sum(axis=0)
    true_positives_A = (truth_NA & present_NA).sum(axis=0)
    predicted_positives_A = (present_NA & known_NA).sum(axis=0)
    correct_A = right_NA.sum(axis=0)
    average_precision_A = average_precision(probabilities_NA, targets_NA)
    roc_auc_A = roc_auc(probabilities_NA, targets_NA)
    calibration_A = calibration_error(probabilities_NA, targets_NA)
    squared_NA = np.where(known_NA, (probabilities_NA - truth_NA) ** 2, 0.0)
    brier_A = (squared_NA.sum(axis=0, dtype=np.float64) / known_A).tolist()
    rows = []
    for a, name in enumerate(attributes):
        images, positives, true_positives, correct = (
            int(of_A[a]) for of_A in (known_A, positives_A, true_positives_A, correct_A)
        )
        negatives = images - positives
        recall = true_positives / positives if positives else None
        specificity = (correct - true_positives) / negatives if negatives else None
        rows.append(
            AttributeReport(
                attribute=name,
                positives=positives,
                accuracy=correct / images,
                majority_accuracy=max(positives, negatives) / images,
                balanced_accuracy=None
                if recall is None or specificity is None
                else (recall + specificity) / 2.0,
                # The harmonic mean of precision and recall.
                f1=2.0 * true_positives / (int(predicted_positives_A[a]) + positives)
                if positives
                else None,
                average_precision=average_precision_A[a],
                roc_auc=roc_auc_A[a],
                expected_calibration_error=calibration_A[a],
                brier_score=brier_A[a],
                intervals={
                    metric: bootstrap.interval(samples_RA[:, a])
                    for metric, samples_RA in samples.items()
                },
                images=images,
            )
        )
    return rows


def average_precision(
    scores_NA: NDArray[np.floating[Any]], targets_NA: NDArray[Any]
) -> list[float | None]:
    """Return the average precision of each attribute, without interpolation.

    The sum of precision times gain in recall; None without a positive image.
    """
    return [
        float(binary_average_precision(scores_N, targets_N)) if targets_N.any() else None
        for scores_N, targets_N in _columns(scores_NA, targets_NA)
    ]


def roc_auc(scores_NA: NDArray[np.floating[Any]], targets_NA: NDArray[Any]) -> list[float | None]:
    """Return the ROC AUC of each attribute; None without a positive and a negative image."""
    return [
        float(binary_auroc(scores_N, targets_N))
        if targets_N.any() and not targets_N.all()
        else None
        for scores_N, targets_N in _columns(scores_NA, targets_NA)
    ]


def _accuracy(present_NA: NDArray[np.bool_], targets_NA: NDArray[Any]) -> float:
    """Return the mean over attributes of the share of known labels that are decided right."""
    known_A = (~np.isnan(targets_NA)).sum(axis=0)
    right_A = (present_NA == targets_NA).sum(axis=0)
    return float(np.mean(right_A[known_A > 0] / known_A[known_A > 0]))


def _share(right: NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if right.size else None


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the defined values, None if there are none."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _columns(
    scores_NA: NDArray[np.floating[Any]], targets_NA: NDArray[Any]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return known targets and their scores per attribute, as torchmetrics takes them."""
    known_AN = ~np.isnan(targets_NA.T)
    return [
        (torch.from_numpy(scores_N[known_N]), torch.from_numpy(targets_N[known_N].astype(np.int64)))
        for scores_N, targets_N, known_N in zip(scores_NA.T, targets_NA.T, known_AN, strict=True)
    ]


def _check(
    probabilities_NA: NDArray[Any], targets_NA: NDArray[Any], present_NA: NDArray[Any]
) -> None:
    check("probabilities", probabilities_NA, targets_NA)
    if present_NA.shape != targets_NA.shape or present_NA.dtype != np.bool_:
        raise DataError(
            f"decisions are {present_NA.dtype} of shape {list(present_NA.shape)}: they must be "
            f"bool of shape {list(targets_NA.shape)}"
        )
    low, high = float(probabilities_NA.min()), float(probabilities_NA.max())
    if low < 0.0 or high > 1.0:
        raise DataError(
            f"probabilities range from {low:g} to {high:g}: they must be between 0 and 1 "
            "(are these logits?)"
        )
