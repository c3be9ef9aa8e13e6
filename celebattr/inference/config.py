"""Options of `celebattr predict`, and the choice of the bundle for worker processes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from celebattr.attributes import key_of, parse_thresholds
from celebattr.constants import MIN_SCORE
from celebattr.errors import UsageError, suggestion
from celebattr.models import weights
from celebattr.models.device import gpu_likely
from celebattr.options import (
    DECISIONS,
    Checks,
    Location,
    consistent_option,
    device_option,
    flag,
    operating_point_option,
    option,
    overwrite_option,
    parse_operating_point,
    precision_option,
    threshold_option,
    unsure_below_option,
    weights_option,
)
from celebattr.predictions import FAILURES, NO_FACE

FACES: tuple[str, ...] = ("largest", "all", "none")
SPEEDS: tuple[str, ...] = ("accurate", "fast")
ENGINES: tuple[str, ...] = ("local", "ray")


RETRIED: tuple[str, ...] = (*FAILURES, NO_FACE)
"""Statuses of rows that --retry takes."""

FORMATS: tuple[str, ...] = ("table", "json", "jsonl", "csv", "csv-excel", "parquet")


@dataclass(frozen=True)
class ScoreOptions(Checks):
    """Inputs of a run and how its results are written: options of `predict` and of `score`."""

    column: str | None = option(
        None,
        "Column of the photos in a CSV or Parquet PATH.",
        "Input",
        metavar="NAME",
        shown="image, path, ...",
    )
    null: bool = option(False, "Standard input ends paths in NUL, not newline.", "Input")
    shard: str = option(
        "1/1", "Score only every N-th input, starting with the i-th.", "Input", metavar="i/N"
    )
    format: str | None = option(
        None, "Format: {choices}.", "Output", choices=FORMATS, shown="table, or jsonl in a pipe"
    )
    annotate: Path | None = option(
        None,
        "Also write each photo here, with boxes and attributes drawn on it.",
        "Output",
        metavar="DIR",
    )
    explain: str | None = option(
        None, "With --annotate: also heat maps of these attributes.", "Output", metavar="NAMES"
    )
    resume: bool = option(False, "Resume an interrupted --output.", "Output")
    append: bool = option(False, "Start, resume or extend --output.", "Output")
    retry: str | None = option(
        None,
        "Score inputs of this status again.",
        "Output",
        metavar="STATUS",
    )
    overwrite: bool = overwrite_option()
    fail_fast: bool = option(False, "Stop at the first failed input.", "Output")
    max_failures: int | None = option(None, "Stop after more than N failed inputs.", "Output")

    def __post_init__(self) -> None:
        self._check(max_failures=(0, 10**12))
        given = [
            flag(name) for name in ("resume", "append", "retry", "overwrite") if self._has(name)
        ]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} exclude each other: give one")
        if self.append and self.shard != "1/1":
            raise UsageError(
                "--append cannot be combined with --shard: which share an input is in depends on "
                "all of them"
            )
        for status in self.statuses:
            if status not in RETRIED:
                raise UsageError(
                    f"--retry {status!r} is not one of {', '.join(RETRIED)}."
                    f"{suggestion(status, RETRIED)}"
                )

    def _has(self, name: str) -> bool:
        return getattr(self, name) not in (False, None)

    @property
    def how(self) -> str:
        """Treatment of an output that exists: new (refuse it) or the name of an option."""
        names = ("resume", "append", "retry", "overwrite")
        return next((name for name in names if self._has(name)), "new")

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses of `retry`, sorted."""
        return tuple(sorted({part.strip() for part in self.retry.split(",")})) if self.retry else ()

    @property
    def most_failures(self) -> int | None:
        """Failed inputs that do not end the run, or None for any number."""
        return 0 if self.fail_fast else self.max_failures


@dataclass(frozen=True)
class PredictConfig(Checks):
    """Options of scoring."""

    weights: str | None = weights_option(DECISIONS, "by --speed")
    speed: str = option(
        "accurate",
        "accurate, or fast (4 times as fast on a CPU, 0.6 points less accurate).",
        DECISIONS,
        choices=SPEEDS,
    )
    faces: str = option(
        "largest",
        "Faces of a photo: largest, all, or none (each image is one aligned crop).",
        DECISIONS,
        choices=FACES,
    )
    min_face: int = option(
        0,
        "Leave out faces of fewer pixels; under 40, look closer for small ones.",
        DECISIONS,
        metavar="PIXELS",
    )
    min_score: float = option(
        MIN_SCORE, "Leave out faces below this detector score.", DECISIONS, metavar="P"
    )
    attributes: str | None = option(
        None,
        "Report only these attributes, for example Smiling,Eyeglasses.",
        DECISIONS,
        metavar="NAMES",
    )
    threshold: str | float | None = threshold_option()
    operating_point: str = operating_point_option()
    consistent: bool = consistent_option()
    unsure_below: float | None = unsure_below_option()
    strict: bool = option(False, "No face counts as failed.", "Output")
    batch_size: int | None = option(
        None, "Faces per batch (torch bundles).", "Performance", shown="16, GPU: 256"
    )
    workers: int | None = option(None, "Worker processes.", "Performance", shown="one per core")
    timeout: float = option(
        10.0, "Processor time for opening one photo.", "Performance", metavar="SECONDS"
    )
    device: str = device_option()
    precision: str = precision_option()
    engine: str = option(
        "local", "local (this machine) or ray (a Ray cluster).", "Cluster", choices=ENGINES
    )
    address: str | None = option(
        None,
        "Ray cluster, or auto for this machine's.",
        "Cluster",
        metavar="ADDRESS",
        shown="start one here",
    )
    actors: int | None = option(None, "Number of actors.", "Cluster", shown="as many as fit")
    gpus_per_actor: float = option(0.0, "GPUs per actor; 0.5 shares one between two.", "Cluster")
    part_inputs: int = option(1024, "Inputs per part of the output.", "Cluster")
    allow_protocol: tuple[str, ...] = option(
        (), "Also open inputs with this fsspec protocol (repeatable).", "Input", metavar="NAME"
    )

    def __post_init__(self) -> None:
        self._check(
            unsure_below=(0.0, 1.0),
            min_face=(0, 100_000),
            min_score=(0.3, 1.0),
            batch_size=(1, 65_536),
            workers=(1, 256),
            actors=(1, 100_000),
            gpus_per_actor=(0.0, 16.0),
            part_inputs=(1, 1_000_000),
        )
        if self.weights is not None and self.speed != "accurate":
            raise UsageError("--weights and --speed exclude each other: give one")
        if self.engine != "ray":
            for name in ("address", "actors", "gpus_per_actor"):
                if getattr(self, name):
                    raise UsageError(f"{flag(name)} is for --engine ray")
        point = parse_operating_point(self.operating_point)
        if point.kind != "default" and isinstance(self.thresholds, float):
            raise UsageError("--threshold and --operating-point exclude each other: give one")

    @property
    def thresholds(self) -> float | dict[str, float] | None:
        """The threshold of all attributes, or those of some by name; None: the bundle's own.

        Names have one spelling, whatever was typed.
        """
        given = None if self.threshold is None else parse_thresholds(self.threshold)
        if not isinstance(given, dict):
            return given
        alike = {key_of(name): value for name, value in given.items()}
        return alike if len(alike) == len(given) else given

    @property
    def bundle(self) -> str:
        """The requested bundle, as `celebattr.models.weights.bundle_file` takes it."""
        return self.speed if self.weights is None else self.weights

    def of_bundle(self, path: Path) -> PredictConfig:
        """Return the same options with the bundle of a file."""
        return dataclasses.replace(self, weights=str(path), speed="accurate")


@dataclass(frozen=True)
class ExportConfig(Checks):
    """Options of `celebattr export`."""

    output: Path | None = option(
        None, "File to write.", "Output", metavar="FILE", shown="beside the bundle"
    )
    half: bool = option(False, "Store and compute in half precision, for GPUs.", "Output")
    hub: Path | None = option(
        None, "Write a folder for Hugging Face's hub instead.", "Output", metavar="DIR"
    )
    seal: bool = option(False, "Seal an ONNX bundle that an optimiser rewrote.", "Output")
    overwrite: bool = overwrite_option()
    int8: bool = option(False, "Quantise to int8 (needs --data).", "int8")
    data: tuple[Location, ...] = option(
        (), "Data set to calibrate on (repeatable).", "int8", metavar="DIR|URL"
    )
    calibration_images: int = option(256, "Validation images to calibrate on.", "int8")

    def __post_init__(self) -> None:
        self._check(calibration_images=(1, 10**6))
        others = (self.int8, self.half, self.seal, self.output is not None)
        if self.hub is not None and any(others):
            raise UsageError("--hub takes a bundle as it is: export it first, then give the result")
        if self.int8 + self.half + self.seal > 1:
            raise UsageError("--int8, --half and --seal exclude each other: give one")
        if self.int8 and not self.data:
            raise UsageError("--int8 needs images: give --data DIR or set CELEBATTR_DATA")


def bundle_for(config: PredictConfig) -> Path | None:
    """Return the ONNX bundle that worker processes score with on the CPU, or None.

    Each process then takes a core and passes on some numbers; the crops of its photos, 116 kB
    each, go nowhere.

    Raises:
        WeightsError: there is no such bundle.
    """
    if config.device not in ("auto", "cpu") or config.precision not in ("auto", "float32"):
        return None
    gpu = config.bundle in weights.SPEEDS and config.device == "auto" and gpu_likely()
    path = weights.bundle_file(config.bundle, gpu=gpu)
    try:
        with path.open("rb") as file:
            return path if file.read(1) == weights.ONNX_BEGINS else None
    except OSError:
        return None  # who loads it says why it cannot be read
