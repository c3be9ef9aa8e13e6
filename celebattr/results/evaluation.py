"""What an evaluation gives: the metrics of a bundle on a split."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AttributeReport:
    """Metrics of one attribute on one split. None where a metric is undefined.

    Shares between 0 and 1; `positives` counts images; `intervals` holds the 95 % interval of each
    metric, low and high.
    """

    attribute: str
    positives: int
    accuracy: float
    majority_accuracy: float
    balanced_accuracy: float | None
    f1: float | None
    average_precision: float | None
    roc_auc: float | None
    expected_calibration_error: float
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class SliceReport:
    """Metrics of the images that show, or do not show, some attributes by their labels.

    Attributes:
        slice: for each attribute whether it is present, for instance Male: True, Young: False.
        images, people: how many; people is None where they are not known.
        mean_attribute_accuracy, mean_average_precision: as in `EvalReport`, None without images.
        intervals: their 95 % intervals.
    """

    slice: dict[str, bool]
    images: int
    people: int | None
    mean_attribute_accuracy: float | None
    mean_average_precision: float | None
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For a person: "Male, not Young"."""
        return ", ".join(k if yes else f"not {k}" for k, yes in self.slice.items())


@dataclass(frozen=True)
class PointingReport:
    """How often an attribute's heat map peaks where the attribute is. Shares between 0 and 1.

    Attributes:
        region: the part of the face in which the peak should lie.
        images: that show the attribute, by their labels.
        inside: share of them whose peak lies in the region; None without images.
        centre: the same for the baseline that always points to the middle of the frame.
        area: of the region, as a share of the frame: what random points would get.
    """

    attribute: str
    region: str
    images: int
    inside: float | None
    centre: float
    area: float


MEANS: dict[str, str] = {
    "accuracy": "mean_attribute_accuracy",
    "majority_accuracy": "majority_accuracy",
    "balanced_accuracy": "mean_balanced_accuracy",
    "f1": "mean_f1",
    "average_precision": "mean_average_precision",
    "roc_auc": "mean_roc_auc",
    "expected_calibration_error": "mean_expected_calibration_error",
}
"""For a metric of `AttributeReport`, the field of `EvalReport` that holds its mean."""


@dataclass(frozen=True)
class EvalReport:
    """Metrics of a bundle on one split. Shares between 0 and 1.

    Attributes:
        images: number of images, each counted once.
        mean_attribute_accuracy: accuracy averaged over attributes, the papers' number.
        majority_accuracy: its floor: always answering the split's own more frequent value.
        mean_average_precision: average precision averaged over attributes where defined (mAP).
        exact_match_ratio: share of images with every attribute right.
        unsure_share: share of decisions that are reported as unsure.
        accuracy_where_sure, accuracy_where_unsure: of the other decisions, and of those.
        intervals: the 95 % interval of each metric, low and high, by its name here; over people
            where they are known, else over images.
        measured_in: the arithmetic: float32, bfloat16, float16 or int8; "+flip" where mirror images
            were averaged in.
        slices: the same by what images show, where asked for.
        pointing: whether heat maps peak where attributes are, where asked for.
        people: how many different people are shown, or None where that is not known.
        images_per_second: decoding and scoring together, or None where not timed.
    """

    images: int
    split: str
    weights: str
    mean_attribute_accuracy: float
    majority_accuracy: float
    mean_balanced_accuracy: float | None
    mean_f1: float | None
    mean_average_precision: float | None
    mean_roc_auc: float | None
    mean_expected_calibration_error: float
    exact_match_ratio: float
    attributes: tuple[AttributeReport, ...]
    unsure_share: float = 0.0
    accuracy_where_sure: float | None = None
    accuracy_where_unsure: float | None = None
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    people: int | None = None
    slices: tuple[SliceReport, ...] = ()
    pointing: tuple[PointingReport, ...] = ()
    measured_in: str = ""
    images_per_second: float | None = None
