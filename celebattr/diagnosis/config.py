"""Options of `celebattr doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from celebattr.constants import SPLITS
from celebattr.errors import UsageError
from celebattr.options import (
    Checks,
    Location,
    allow_outside_option,
    attributes_option,
    column_option,
    data_option,
    decoders_option,
    device_option,
    faces_option,
    flag,
    option,
    overwrite_option,
    weights_option,
)

LABELS = "Wrong labels"
"""Panel of the options that go with --labels."""


@dataclass(frozen=True)
class DoctorConfig(Checks):
    """Options of `celebattr doctor`: data sets and the depth of the checks."""

    data: tuple[Location, ...] = data_option()
    limit: int | None = option(None, "Open only N images per folder, evenly spread.", "Data")
    faces: str = faces_option()
    allow_outside: bool = allow_outside_option()
    column: str | None = column_option()
    attributes: str | None = attributes_option()
    quick: bool = option(False, "Check lists and names only; open no image.", "Data")
    labels: bool = option(False, "Search for labels that are likely wrong.", LABELS)
    weights: str | None = weights_option(LABELS, "accurate")
    probabilities: Path | None = option(
        None, "CSV of probabilities, instead of --weights.", LABELS, metavar="FILE"
    )
    split: str = option("all", "Split to search: {choices}.", LABELS, choices=("all", *SPLITS))
    output: Path | None = option(
        None, "Write all suspects to a .csv or .json file.", LABELS, metavar="FILE"
    )
    report: Path | None = option(
        None, "Write an HTML page of the first suspects.", LABELS, metavar="FILE", was="--sheet"
    )
    overwrite: bool = overwrite_option(LABELS)
    pictures: int = option(12, "Suspects per attribute in --report.", LABELS)
    workers: int = decoders_option()
    batch_size: int | None = option(None, "Images per batch.", "Performance", shown="16, GPU: 256")
    device: str = device_option()

    def __post_init__(self) -> None:
        self._check(
            workers=(1, 256), limit=(1, 10**9), batch_size=(1, 65_536), pictures=(1, 10_000)
        )
        if self.labels and self.quick:
            raise UsageError("--labels opens images and --quick does not: give one of them")
        if self.weights is not None and self.probabilities is not None:
            raise UsageError("--weights and --probabilities exclude each other: give one")
        if not self.labels:
            for name in ("weights", "probabilities", "split", "output", "report"):
                if getattr(self, name) not in (None, "all"):
                    raise UsageError(f"{flag(name)} is part of --labels: add --labels")
