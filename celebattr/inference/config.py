"""Options of `celebattr predict`, and the choice of the bundle for worker processes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from celebattr import weights
from celebattr.constants import MIN_SCORE, PRECISIONS
from celebattr.device import gpu_likely
from celebattr.errors import UsageError
from celebattr.options import (
    Checks,
    consistent_option,
    flag,
    operating_point_option,
    option,
    parse_operating_point,
    unsure_below_option,
)

FACES: tuple[str, ...] = ("largest", "all", "none")
SPEEDS: tuple[str, ...] = ("accurate", "fast")
ENGINES: tuple[str, ...] = ("local", "ray")


@dataclass(frozen=True)
class PredictConfig(Checks):
    """Options of scoring."""

    weights: str | None = option(
        None,
        "Bundle to predict with: a name or a path. Without it, the one for --speed.",
        metavar="BUNDLE",
    )
    speed: str = option(
        "accurate",
        "accurate: ResNet50; fast: a slimmer one on smaller images, some four times as fast on a "
        "CPU and 0.6 points less accurate.",
        choices=SPEEDS,
    )
    faces: str = option(
        "largest",
        "largest: the main face of a photo; all: every face; none: each image is one aligned face.",
        choices=FACES,
    )
    min_face: int = option(
        0,
        "Leave out faces of fewer pixels; below 40, also look closer for small ones.",
        metavar="PIXELS",
    )
    min_score: float = option(
        MIN_SCORE, "Leave out faces of a lower score of the detector; an animal may have 0.85."
    )
    attributes: str | None = option(
        None, "Report these attributes only, separated by commas.", metavar="NAMES"
    )
    threshold: float | None = option(
        None, "Probability from which an attribute is present. Without it, the bundle's own."
    )
    operating_point: str = operating_point_option()
    consistent: bool = consistent_option()
    unsure_below: float | None = unsure_below_option()
    batch_size: int = option(
        16, "Faces that a torch bundle scores together; ONNX takes a few photos at a time."
    )
    workers: int | None = option(
        None,
        "Processes that open photos, find faces and, on a CPU, score them. Without it, one a core.",
    )
    timeout: float = option(10.0, "Seconds that opening one photo and finding its faces may take.")
    device: str = option(
        "auto", "auto takes CUDA, else MPS, else the CPU; cuda:1 names one.", metavar="DEVICE"
    )
    precision: str = option("auto", "Arithmetic of the forward pass.", choices=PRECISIONS)
    engine: str = option(
        "local", "local: this machine; ray: the actors of a Ray cluster.", choices=ENGINES
    )
    address: str | None = option(
        None,
        "With --engine ray: the cluster, auto for the one this machine is in. Without it, one is "
        "started here.",
    )
    actors: int | None = option(
        None, "With --engine ray: how many score. Without it, as many as the cluster has room for."
    )
    gpus_per_actor: float = option(0.0, "With --engine ray: the share of a GPU an actor takes.")
    allow_protocol: tuple[str, ...] = option(
        (),
        "Also open inputs through this protocol of fsspec, sftp for instance (repeatable).",
        metavar="NAME",
    )
    part_inputs: int = option(1024, "With --engine ray: inputs in a part of the output.")

    def __post_init__(self) -> None:
        self._check(
            threshold=(0.0, 1.0),
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
        if parse_operating_point(self.operating_point).kind != "default" and (
            self.threshold is not None
        ):
            raise UsageError("--threshold and --operating-point exclude each other: give one")

    @property
    def bundle(self) -> str:
        """The requested bundle, as `celebattr.weights.bundle_file` takes it."""
        return self.speed if self.weights is None else self.weights

    def of_bundle(self, path: Path) -> PredictConfig:
        """Return the same options with the bundle of a file."""
        return dataclasses.replace(self, weights=str(path), speed="accurate")


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
