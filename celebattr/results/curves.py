"""What the charts of an evaluation are drawn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReliabilityBin:
    """Decisions of similar probability, and how often the attribute was there.

    Attributes:
        low, high: bounds of the bin of probabilities.
        decisions: how many fall into it, at least 1.
        mean_probability: of them.
        share_present: of them by their labels.
    """

    low: float
    high: float
    decisions: int
    mean_probability: float
    share_present: float


@dataclass(frozen=True)
class ThresholdRow:
    """What a threshold would give. None where a metric is undefined."""

    threshold: float
    accuracy: float
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class AttributeCurves:
    """What the charts of one attribute are drawn from; at most some 100 points each.

    Attributes:
        reliability: bins that hold images, by rising probability.
        roc: (false positive rate, true positive rate) by falling threshold, from (0, 0) to (1, 1);
            empty without a positive and a negative image.
        precision_recall: (recall, precision) by falling threshold, from the highest that calls an
            image present to the one that calls all; empty without a positive image.
        thresholds: by rising threshold.
    """

    reliability: tuple[ReliabilityBin, ...]
    roc: tuple[tuple[float, float], ...]
    precision_recall: tuple[tuple[float, float], ...]
    thresholds: tuple[ThresholdRow, ...]
