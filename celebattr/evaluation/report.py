"""Results of an evaluation: metrics of a bundle on a split, and all that goes with them."""

from __future__ import annotations

from dataclasses import dataclass, field

from celebattr.evaluation.published import PublishedReport


@dataclass(frozen=True)
class ReliabilityBin:
    """Decisions of similar probability, and the share in which the attribute is present.

    `low` and `high` bound the bin; `decisions` is at least 1; `share_present` is by the labels.
    """

    low: float
    high: float
    decisions: int
    mean_probability: float
    share_present: float


@dataclass(frozen=True)
class ThresholdRow:
    """The figures at one threshold, None where a metric is undefined."""

    threshold: float
    accuracy: float
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class AttributeCurves:
    """The data of an attribute's charts, at most some 100 points each.

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


FEW = 30
"""Number of images or people below which figures say little. Of 30, each is over 3 points of a
recall, whose interval is some 29 points wide at 80 %; with fewer, a bootstrap's is too narrow."""


@dataclass(frozen=True)
class AttributeReport:
    """Metrics of one attribute on one split. None where a metric is undefined.

    Shares between 0 and 1; `positives` counts images; `intervals` holds the 95 % interval of each
    metric, low and high; `curves` is there where asked for; `images` counts those whose label is
    known, None in reports of earlier versions.
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
    brier_score: float
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    curves: AttributeCurves | None = None
    images: int | None = None


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
        """The slice in words: "Male, not Young"."""
        return ", ".join(k if yes else f"not {k}" for k, yes in self.slice.items())


@dataclass(frozen=True)
class PointingReport:
    """The pointing game of an attribute: shares, 0 to 1, of peaks in its region.

    Attributes:
        region: the part of the face in which the peak should lie.
        images: that show the attribute, by their labels.
        inside: share of them whose peak lies in the region; None without images.
        centre: the same for the baseline that always points to the middle of the crop.
        area: of the region, as a share of the crop: what random points would get.
    """

    attribute: str
    region: str
    images: int
    inside: float | None
    centre: float
    area: float


@dataclass(frozen=True)
class GapReport:
    """The gap of an attribute between slices in true positive rate (recall).

    Attributes:
        attribute: whose recall.
        best, worst: names of the slices with the highest and the lowest recall, of those that
            `FEW` images of the attribute are in; of all where there are not two such.
        best_recall, worst_recall: shares between 0 and 1.
        gap: the first minus the second, with its 95 % `interval`.
        positives: images that show the attribute, in the smaller of the two.
        few: whether those are fewer than `FEW`.
    """

    attribute: str
    best: str
    worst: str
    best_recall: float
    worst_recall: float
    gap: float
    interval: tuple[float, float] | None
    positives: int
    few: bool


@dataclass(frozen=True)
class Difference:
    """One figure of two bundles on the same images.

    Attributes:
        metric: a field of `EvalReport`, or of `AttributeReport` where `attribute` is given.
        ours, theirs: the evaluated bundle's figure, and the other's.
        interval: the 95 % interval of `ours` minus `theirs`, images or people paired.
        noise: whether 0 lies in it: the two may well be alike.
    """

    metric: str
    attribute: str | None
    ours: float | None
    theirs: float | None
    interval: tuple[float, float] | None
    noise: bool

    @property
    def difference(self) -> float | None:
        """`ours` minus `theirs`, None where undefined."""
        return None if self.ours is None or self.theirs is None else self.ours - self.theirs


@dataclass(frozen=True)
class Comparison:
    """A bundle against another, `weights`, on the same images and the attributes both predict.

    `differences` are those of the means, then attribute by attribute.
    """

    weights: str
    differences: tuple[Difference, ...]

    @property
    def ranked(self) -> tuple[list[Difference], list[Difference], list[Difference]]:
        """The means; of the attributes, those that differ, largest first; and the noise."""
        means = [one for one in self.differences if one.attribute is None]
        each = [one for one in self.differences if one.attribute is not None]
        clear = sorted((d for d in each if not d.noise), key=lambda d: -abs(d.difference or 0.0))
        return means, clear, [one for one in each if one.noise]


@dataclass(frozen=True)
class RuleReport:
    """Share of the images, by decisions and by labels, that break one rule.

    `rule` is for a person, for instance "No_Beard with Goatee".
    """

    rule: str
    predicted: float
    labelled: float


@dataclass(frozen=True)
class LogicReport:
    """Contradictions in decisions and labels, and the cost or gain of decoding without them.

    Decisions are those of each attribute by itself, also where the report's other figures are of
    consistent answers.

    Attributes:
        predicted, labelled: share of the images with at least one contradiction.
        consistent_accuracy: mean attribute accuracy of the most probable consistent answers.
        difference: that minus the accuracy of the plain decisions, with its 95 % `interval`.
    """

    rules: tuple[RuleReport, ...]
    predicted: float
    labelled: float
    consistent_accuracy: float
    difference: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class CorruptionReport:
    """The split's figures with one corruption applied to every image.

    Attributes:
        corruption: its name, as `--corrupt` takes it.
        level: how much, with its unit, for a person: "quality 10", "8 px".
        difference: of the mean attribute accuracy to that of the images as they are.
        interval: the 95 % interval of that difference.
    """

    corruption: str
    level: str
    mean_attribute_accuracy: float
    mean_average_precision: float | None
    difference: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Example:
    """An image that the bundle gets wrong, most surely wrong first.

    `why` is for a person: "hardest", or "most surely wrong". `errors` are (attribute, label,
    probability that it is present), the worst first. `jpeg` is a small picture, if one may leave.
    """

    name: str
    why: str
    errors: tuple[tuple[str, bool, float], ...]
    jpeg: bytes | None


METRICS: tuple[tuple[str, str, str, str], ...] = (
    ("accuracy", "mean_attribute_accuracy", "accuracy", "mean attribute accuracy"),
    ("majority_accuracy", "majority_accuracy", "majority", "majority"),
    ("balanced_accuracy", "mean_balanced_accuracy", "balanced", "balanced accuracy"),
    ("f1", "mean_f1", "F1", "F1"),
    ("average_precision", "mean_average_precision", "AP", "mAP"),
    ("roc_auc", "mean_roc_auc", "ROC AUC", "ROC AUC"),
    ("expected_calibration_error", "mean_expected_calibration_error", "ECE", "calibration error"),
    ("brier_score", "mean_brier_score", "Brier", "Brier score"),
)
"""The columns of every table of attributes, in order, for terminal, JSON, CSV, Markdown and HTML:
the field of `AttributeReport`, that of its mean in `EvalReport`, and the titles of both."""

MEANS: dict[str, str] = {name: mean for name, mean, _, _ in METRICS}
"""The field of `EvalReport` that holds the mean of each metric of `AttributeReport`."""


@dataclass(frozen=True)
class EvalReport:
    """Metrics of a bundle on one split. Shares between 0 and 1.

    Attributes:
        images: number of images, each counted once.
        mean_attribute_accuracy: accuracy averaged over attributes, the papers' number.
        majority_accuracy: the majority baseline: always the split's own more frequent value.
        mean_average_precision: average precision averaged over attributes where defined (mAP).
        exact_match_ratio: share of images with every attribute right.
        unsure_share: share of decisions that are reported as unsure.
        accuracy_where_sure, accuracy_where_unsure: of the other decisions, and of those.
        intervals: the 95 % interval of each metric, low and high, by its name here; over people
            where they are known, else over images.
        measured_in: the arithmetic: float32, bfloat16, float16 or int8; "+flip" where mirror images
            were averaged in.
        reliability: of all decisions together, where curves are asked for.
        slices, gaps: the same by what images show, where asked for.
        pointing: results of the pointing game, where asked for.
        against: the differences to another bundle, where asked for.
        logic: contradictions between attributes, where the data has CelebA's.
        corruptions: the same on corrupted images, where asked for.
        published: what others reached.
        examples: images that it gets wrong, where a report with examples is asked for.
        people: how many different people are shown, or None where that is not known.
        consistent: whether decisions are the most probable ones without contradictions.
        faces: none for images as they came, largest for photos that were aligned, or mixed.
        no_face: photos without a face, which `images` does not count.
        images_per_second: decoding and scoring together; None where not timed, or where more was
            scored than these images by this bundle.
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
    mean_brier_score: float
    exact_match_ratio: float
    attributes: tuple[AttributeReport, ...]
    unsure_share: float = 0.0
    accuracy_where_sure: float | None = None
    accuracy_where_unsure: float | None = None
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    people: int | None = None
    reliability: tuple[ReliabilityBin, ...] = ()
    slices: tuple[SliceReport, ...] = ()
    gaps: tuple[GapReport, ...] = ()
    pointing: tuple[PointingReport, ...] = ()
    against: Comparison | None = None
    logic: LogicReport | None = None
    corruptions: tuple[CorruptionReport, ...] = ()
    published: tuple[PublishedReport, ...] = ()
    examples: tuple[Example, ...] = ()
    measured_in: str = ""
    consistent: bool = False
    faces: str = "none"
    no_face: int = 0
    images_per_second: float | None = None

    @property
    def worst_slice(self) -> SliceReport | None:
        """The slice of lowest mean attribute accuracy; None without slices."""
        held = [one for one in self.slices if one.mean_attribute_accuracy is not None]
        return min(held, key=lambda one: one.mean_attribute_accuracy or 0.0, default=None)
