"""Options of `celebattr evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from celebattr.attributes import parse_thresholds
from celebattr.constants import SPLITS
from celebattr.options import (
    DECISIONS,
    Checks,
    Location,
    allow_outside_option,
    attributes_option,
    column_option,
    consistent_option,
    data_option,
    decoders_option,
    device_option,
    faces_option,
    operating_point_option,
    option,
    overwrite_option,
    parse_operating_point,
    precision_option,
    skip_missing_option,
    threshold_option,
    thumbnails_option,
    unsure_below_option,
    weights_option,
)

MEASURES = "Further measurements"


@dataclass(frozen=True)
class CalibrateConfig(Checks):
    """Options of `celebattr calibrate`, which `celebattr evaluate` has too."""

    data: tuple[Location, ...] = data_option()
    split: str | None = option(
        None,
        "Split to use: {choices}.",
        "Data",
        choices=(*SPLITS, "all"),
        shown="validation, or all",
    )
    limit: int | None = option(None, "Use only the first N images of the split.", "Data")
    skip_missing: bool = skip_missing_option()
    allow_outside: bool = allow_outside_option()
    faces: str = faces_option()
    column: str | None = column_option()
    attributes: str | None = attributes_option()
    overwrite: bool = overwrite_option()
    operating_point: str = operating_point_option("f1")
    batch_size: int | None = option(None, "Images per batch.", "Performance", shown="16, GPU: 256")
    workers: int = decoders_option()
    device: str = device_option()
    precision: str = precision_option()
    cache: str = option(
        "off",
        "Keep decoded images: disk or off.",
        "Performance",
        choices=("disk", "off"),
    )
    cache_folder: Path | None = option(
        None, "Folder of --cache disk.", "Performance", metavar="DIR", shown="$CELEBATTR_CACHE"
    )

    def __post_init__(self) -> None:
        self._check(batch_size=(1, 65_536), workers=(1, 256), limit=(1, 10**9))
        parse_operating_point(self.operating_point)


@dataclass(frozen=True)
class EvaluateConfig(CalibrateConfig):
    """Options of `celebattr evaluate`."""

    split: str = option("test", "Split: {choices}.", "Data", choices=(*SPLITS, "all"))
    weights: str | None = weights_option(DECISIONS, "accurate")
    threshold: str | float | None = threshold_option()
    operating_point: str = operating_point_option()
    consistent: bool = consistent_option()
    unsure_below: float | None = unsure_below_option()
    flip: bool = option(False, "Average with the mirror image (half as fast).", DECISIONS)
    slices: str | None = option(
        None, "Add metrics per combination of these attributes.", MEASURES, metavar="NAMES"
    )
    against: str | None = option(
        None, "Compare with another bundle on the same images.", MEASURES, metavar="BUNDLE"
    )
    curves: bool = option(
        False, "Add reliability, ROC and precision-recall curves to the JSON.", MEASURES
    )
    pointing: bool = option(
        False, "Run the pointing game: how often heat maps peak in the right region.", MEASURES
    )
    corrupt: str | None = option(
        None,
        "Also evaluate on corrupted images: all, or a list such as jpeg,blur.",
        MEASURES,
        metavar="NAMES",
    )
    examples: int | None = option(
        None, "Images per kind of mistake in --report.", "Output", shown="12"
    )
    thumbnails: bool = thumbnails_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(unsure_below=(0.0, 1.0), examples=(0, 200))
        parse_thresholds("0" if self.threshold is None else self.threshold)
