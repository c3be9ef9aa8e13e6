"""Options of `celebattr doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from celebattr.constants import SPLITS
from celebattr.errors import UsageError
from celebattr.options import Checks, Location, flag, option


@dataclass(frozen=True)
class DoctorConfig(Checks):
    """Options of `celebattr doctor`: data sets and the depth of the checks."""

    data: tuple[Location, ...] = option(
        (), "A data set; repeat for those that are used together.", metavar="DIR|URL"
    )
    quick: bool = option(False, "Look at lists and names only: open no image, hash no archive.")
    limit: int | None = option(
        None,
        "Open N images of each folder only, with --labels of each split, evenly spread: most "
        "repeated pictures are missed.",
    )
    workers: int = option(2, "Threads that decode images.")
    labels: bool = option(
        False,
        "Instead, name labels that are likely wrong: by what a network sees, by the image's other "
        "labels, by its copies.",
    )
    weights: str | None = option(
        None,
        "Bundle that --labels asks: a name or a path. Without it, the default.",
        metavar="BUNDLE",
    )
    probabilities: Path | None = option(
        None,
        "CSV that --labels takes instead of a bundle's probabilities, as `celebattr predict "
        "--format csv` writes: for instance of a cross-validation.",
        metavar="FILE",
    )
    split: str = option("all", "Which rows --labels looks at.", choices=("all", *SPLITS))
    batch_size: int = option(32, "Images scored together.")
    device: str = option(
        "auto", "auto takes CUDA, else MPS, else the CPU; cuda:1 names one.", metavar="DEVICE"
    )
    pictures: int = option(12, "Suspects of each attribute that --sheet shows.")

    def __post_init__(self) -> None:
        self._check(
            workers=(1, 256), limit=(1, 10**9), batch_size=(1, 65_536), pictures=(1, 10_000)
        )
        if self.labels and self.quick:
            raise UsageError("--labels opens images, --quick opens none: give one of them")
        if self.weights is not None and self.probabilities is not None:
            raise UsageError("--weights and --probabilities exclude each other: give one")
        if not self.labels:
            for name, unused in (("weights", None), ("probabilities", None), ("split", "all")):
                if getattr(self, name) != unused:
                    raise UsageError(
                        f"{flag(name)} is for the search for wrong labels: add --labels"
                    )
