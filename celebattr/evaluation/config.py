"""Options of `celebattr evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from celebattr.constants import SPLITS
from celebattr.models.device import PRECISIONS
from celebattr.options import (
    Checks,
    Location,
    consistent_option,
    operating_point_option,
    option,
    parse_operating_point,
    thumbnails_option,
    unsure_below_option,
)


@dataclass(frozen=True)
class EvaluateConfig(Checks):
    """Options of `celebattr evaluate`."""

    data: tuple[Location, ...] = option(
        (),
        "CelebA or your own data set; repeat to join several folders.",
        metavar="DIR|URL",
    )
    split: str = option("test", "Which rows count.", choices=tuple(SPLITS))
    weights: str | None = option(
        None,
        "Bundle to evaluate: a name or a path, or fast, as `predict --speed` takes it. Without it, "
        "the default.",
        metavar="BUNDLE",
    )
    batch_size: int = option(32, "Images scored together.")
    workers: int = option(2, "Threads that decode images.")
    device: str = option(
        "auto", "auto takes CUDA, else MPS, else the CPU; cuda:1 names one.", metavar="DEVICE"
    )
    precision: str = option("auto", "Arithmetic of the forward pass.", choices=PRECISIONS)
    slices: str | None = option(
        None,
        "Attributes, separated by commas: also show figures for each combination of their labels, "
        "for example Male,Young, and how far recall differs between them.",
        metavar="NAMES",
    )
    against: str | None = option(
        None,
        "Another bundle, scored on the same images: differences with 95 % intervals, and which are "
        "noise.",
        metavar="BUNDLE",
    )
    curves: bool = option(
        False,
        "Also give what charts are drawn from, as JSON: reliability, ROC, precision and recall, "
        "and what thresholds of 0.05 to 0.95 would give.",
    )
    pointing: bool = option(
        False,
        "Also tell how often heat maps peak where attributes are: eyes, mouth and so on, on 500 "
        "images. Needs a .safetensors bundle.",
    )
    corrupt: str | None = option(
        None,
        "Also score every image spoiled, for example jpeg,blur, or all: jpeg, webp, blur, noise, "
        "dark, small, grey, rotate, shift, each at one to three levels.",
        metavar="all|NAMES",
    )
    operating_point: str = operating_point_option()
    consistent: bool = consistent_option()
    unsure_below: float | None = unsure_below_option()
    flip: bool = option(False, "Average each image with its mirror image (twice the work).")
    limit: int | None = option(None, "Use only the first N images of the split.")
    skip_missing: bool = option(False, "Leave out rows whose image file is missing.")
    examples: int | None = option(
        None,
        "Images of each kind that --report shows: the hardest, the most surely wrong. Without it, "
        "12.",
    )
    thumbnails: bool = thumbnails_option()
    cache: str = option(
        "off",
        "disk: decoded images are kept in --cache-folder, and taken from there where a training "
        "or `celebattr pack` left them.",
        choices=("disk", "off"),
    )
    cache_folder: Path | None = option(
        None,
        "Where --cache disk keeps images. Without it, what CELEBATTR_CACHE names, else celebattr/ "
        "in the user's folder of caches.",
        metavar="DIR",
    )

    def __post_init__(self) -> None:
        self._check(
            unsure_below=(0.0, 1.0),
            batch_size=(1, 65_536),
            workers=(1, 256),
            limit=(1, 10**9),
            examples=(0, 200),
        )
        parse_operating_point(self.operating_point)
