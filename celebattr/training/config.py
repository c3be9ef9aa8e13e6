"""Options of `celebattr train`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celebattr.errors import DataError, UsageError, reason
from celebattr.options import (
    CACHES,
    Checks,
    Location,
    allow_outside_option,
    attributes_option,
    column_option,
    data_option,
    decoders_option,
    device_option,
    faces_option,
    from_keywords,
    option,
    precision_option,
    skip_missing_option,
    skip_unreadable_option,
    thumbnails_option,
)

LOSSES: tuple[str, ...] = ("bce", "mse", "focal", "asymmetric")
OPTIMIZERS: tuple[str, ...] = ("adamw", "sgd", "gd")
ACTIVATIONS: tuple[str, ...] = ("relu", "sigmoid", "tanh")
COMPILE: tuple[str, ...] = ("auto", "on", "off")

# Panels of the help page.
DATA, MODEL, OPTIMISATION = "Data", "Model", "Optimisation"
AUGMENTATION, DISTILLATION, RUNTIME = "Augmentation", "Distillation", "Runtime"


def parse_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Parse `"128x104,176x144"` as ((128, 104), (176, 144)): heights and widths in pixels.

    Raises:
        UsageError: not sizes, or a side under 32 or over 1024 pixels.
    """
    sizes = []
    for part in text.split(","):
        height, _, width = part.strip().lower().partition("x")
        if not (height.isdecimal() and width.isdecimal()):
            raise UsageError(f"image size {part!r} is not HEIGHTxWIDTH, for example 176x144")
        if not (32 <= int(height) <= 1024 and 32 <= int(width) <= 1024):
            raise UsageError(f"image size {part!r}: both sides must be 32 to 1024 pixels")
        sizes.append((int(height), int(width)))
    return tuple(sizes)


def parse_widths(text: str) -> tuple[int, ...]:
    """Parse the hidden layers of a head: "linear" is (), "512,256" is (512, 256).

    Raises:
        UsageError: neither "linear" nor positive whole numbers.
    """
    if text.strip().lower() == "linear":
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"head {text!r} is neither 'linear' nor widths such as 512,256")
    return tuple(int(part) for part in parts)


@dataclass(frozen=True)
class TrainConfig(Checks):
    """Options of a training run."""

    data: tuple[Location, ...] = data_option()
    limit: int | None = option(None, "Use only the first N images of each split.", DATA)
    train_share: float = option(1.0, "Share of the training images to use.", DATA)
    skip_missing: bool = skip_missing_option()
    allow_outside: bool = allow_outside_option()
    skip_unreadable: bool = skip_unreadable_option()
    faces: str = faces_option()
    column: str | None = column_option()
    attributes: str | None = attributes_option()
    folds: int | None = option(None, "Cross-validate: train one run per fold.", DATA, metavar="K")
    fold: int | None = option(None, "Train only this one of --folds.", DATA)
    leave_out_repeats: bool = option(
        False, "Leave out training images repeated in validation or test.", DATA
    )
    arch: str = option("resnet50", "Architecture: {choices}.", MODEL)
    backbone_weights: str | None = option(
        None,
        "Start: imagenet, none (random) or a file.",
        MODEL,
        metavar="PATH",
        shown="by --arch",
    )
    freeze_backbone: bool = option(False, "Train only the fully-connected layers.", MODEL)
    freeze_stages: int = option(
        0, "Freeze the first N backbone stages (1 saves about 25 % of a step).", MODEL
    )
    head: str | None = option(
        None,
        "Fully-connected layers: linear, or widths such as 512,256.",
        MODEL,
        metavar="WIDTHS",
        shown="by --arch",
    )
    activation: str = option(
        "relu",
        "Activation of the hidden layers of the head: {choices}.",
        MODEL,
        choices=ACTIVATIONS,
    )
    dropout: float | None = option(
        None, "Dropout before each layer of the head.", MODEL, shown="by --arch"
    )
    output_stride: int = option(32, "Output stride of the backbone: 32, 16 or 8.", MODEL)
    image_size: str | None = option(
        None,
        "Input sizes in equal shares of the epochs, for example 128x104,176x144.",
        MODEL,
        metavar="HxW",
        shown="by --arch, device",
    )
    epochs: int | None = option(None, "Number of epochs.", OPTIMISATION, shown="5 to 12")
    patience: int | None = option(
        None,
        "Stop after N epochs without a better one.",
        OPTIMISATION,
        shown="never",
    )
    batch_size: int | None = option(
        None, "Images per step, over all processes.", OPTIMISATION, shown="64"
    )
    optimizer: str = option(
        "adamw",
        "adamw, sgd (momentum 0.9), or gd (one full-batch step per epoch).",
        OPTIMISATION,
        choices=OPTIMIZERS,
    )
    lr: float | None = option(
        None, "Peak learning rate of the backbone.", OPTIMISATION, shown="by --arch"
    )
    head_lr: float | None = option(
        None, "Peak learning rate of the head.", OPTIMISATION, shown="0.001"
    )
    weight_decay: float = option(0.05, "Weight decay of AdamW.", OPTIMISATION)
    warmup: float | None = option(
        None, "Share of the steps in which the learning rate rises.", OPTIMISATION, shown="0.15"
    )
    loss: str = option("bce", "Loss: {choices}.", OPTIMISATION, choices=LOSSES)
    pos_weight: str | None = option(
        None,
        "Weight of positives: a number or auto.",
        OPTIMISATION,
        metavar="X",
    )
    ema: float | None = option(
        None, "Decay of the averaged weights; 0 turns averaging off.", OPTIMISATION, shown="0.998"
    )
    person_balance: float = option(
        0.0, "Weight each image by n^-P, n = images of that identity.", OPTIMISATION, metavar="P"
    )
    seed: int = option(0, "Seed of order, augmentation and initial weights.", OPTIMISATION)
    erasing: float | None = option(
        None, "Share of images with a rectangle erased.", AUGMENTATION, shown="ResNet 0.25"
    )
    low_resolution: float | None = option(
        None, "Share of images reduced to low resolution.", AUGMENTATION, shown="ResNet 0.1"
    )
    cut_margins: float | None = option(
        None, "Share of images with margins cut off.", AUGMENTATION, shown="ResNet 0.5"
    )
    noise: float | None = option(
        None, "Share of images with added noise.", AUGMENTATION, shown="ResNet 0.1"
    )
    grey: float | None = option(
        None, "Share of images turned grey.", AUGMENTATION, shown="ResNet 0.05"
    )
    dark: float | None = option(None, "Share of images darkened.", AUGMENTATION, shown="0")
    recompress: float | None = option(
        None, "Share of images re-compressed as JPEG or WebP.", AUGMENTATION, shown="ResNet 0.5"
    )
    mixup: float | None = option(
        None, "Mixup: alpha of the Beta distribution.", AUGMENTATION, shown="ResNet 0.2"
    )
    teacher: tuple[Path, ...] = option(
        (), "Bundle to distil from (repeatable).", DISTILLATION, metavar="BUNDLE"
    )
    soft_labels: tuple[Path, ...] = option(
        (), "CSV of probabilities as targets (repeatable).", DISTILLATION, metavar="FILE"
    )
    teacher_weight: float = option(
        0.6, "Weight of --teacher and --soft-labels in the targets.", DISTILLATION
    )
    workers: int = decoders_option(RUNTIME)
    cache: str = option("auto", "Keep decoded images: {choices}.", RUNTIME, choices=CACHES)
    cache_folder: Path | None = option(
        None, "Folder of --cache disk.", RUNTIME, metavar="DIR", shown="$CELEBATTR_CACHE"
    )
    device: str = device_option(RUNTIME)
    precision: str = precision_option(RUNTIME)
    compile: str = option("auto", "torch.compile: {choices}.", RUNTIME, choices=COMPILE)
    output: Path = option(Path("runs/train"), "Run folder.", "Output", metavar="DIR", was="--out")
    resume: bool = option(False, "Resume from the last checkpoint in --output.", "Output")
    checkpoint_every: int | None = option(
        None, "Also write a checkpoint every N steps.", "Output", shown="every 5 minutes"
    )
    tensorboard: bool = option(False, "Also log the curves for TensorBoard.", "Output")
    thumbnails: bool = thumbnails_option()

    def __post_init__(self) -> None:
        if self.fold is not None and self.folds is None:
            raise UsageError("--fold is part of --folds: add --folds K")
        self._check(
            folds=(2, 100),
            fold=(1, self.folds or 1),
            epochs=(1, 10_000),
            patience=(1, 10_000),
            freeze_stages=(0, 5),
            batch_size=(1, 65_536),
            dropout=(0.0, 0.9),
            lr=(0.0, 100.0),
            head_lr=(0.0, 100.0),
            weight_decay=(0.0, 10.0),
            warmup=(0.0, 1.0),
            ema=(0.0, 0.999999),
            erasing=(0.0, 1.0),
            low_resolution=(0.0, 1.0),
            noise=(0.0, 1.0),
            grey=(0.0, 1.0),
            cut_margins=(0.0, 1.0),
            dark=(0.0, 1.0),
            recompress=(0.0, 1.0),
            mixup=(0.0, 100.0),
            person_balance=(0.0, 1.0),
            teacher_weight=(0.0, 1.0),
            train_share=(0.001, 1.0),
            seed=(0, 2**31 - 1),
            workers=(1, 256),
            limit=(1, 10**9),
            checkpoint_every=(1, 10**9),
        )
        if self.image_size is not None:
            parse_sizes(self.image_size)
        if self.head is not None:
            parse_widths(self.head)
        if self.pos_weight is not None:
            if self.loss == "mse":
                raise UsageError("--pos-weight is for --loss bce, focal and asymmetric, not mse")
            parse_pos_weight(self.pos_weight)

    def size_at(self, epoch: int) -> tuple[int, int]:
        """Return the input's height and width in pixels at an epoch, from 0."""
        assert self.image_size is not None
        assert self.epochs is not None
        sizes = parse_sizes(self.image_size)
        return sizes[epoch * len(sizes) // self.epochs]

    def to_json(self) -> str:
        """Return the run folder's config.json."""
        return json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n"

    def recipe(self) -> dict[str, Any]:
        """Return the fields that decide the result, which --resume may not change."""
        values: dict[str, Any] = json.loads(self.to_json())
        left_out = (
            "patience",  # when a run ends early
            *("data", "output", "resume", "workers", "device"),
            *("skip_missing", "skip_unreadable", "allow_outside"),
            *("cache", "cache_folder", "compile"),  # where the same figures come from
            *("thumbnails", "tensorboard", "checkpoint_every"),  # what is kept of a run
        )
        return {name: value for name, value in values.items() if name not in left_out}


def read_config(path: Path) -> dict[str, Any]:
    """Read the settings that a run wrote, all but whether it was resumed.

    Args:
        path: a run's config.json, or its folder.

    Raises:
        DataError: it cannot be read, or holds no settings.
        UsageError: a setting is unknown, or its value is not possible.
    """
    path = path / "config.json" if path.is_dir() else path
    try:
        values = json.loads(path.read_text("utf-8"))
        if not isinstance(values, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not the config.json of a run: {reason(error)}") from error
    values.pop("resume", None)
    try:
        from_keywords(TrainConfig, values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    earlier = {f.metadata["was"][2:]: f.name for f in dataclasses.fields(TrainConfig)}
    return {str(earlier.get(name, name)): value for name, value in values.items()}


def parse_pos_weight(text: str) -> float | None:
    """Parse a weight of positives: "auto" is None.

    Raises:
        UsageError: it is neither "auto" nor a number over 0 and up to 1,000.
    """
    if text == "auto":
        return None
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0.0 < weight <= 1000.0:
        raise UsageError(
            f"--pos-weight {text} is neither auto nor a number over 0 and up to 1000, such as 5"
        )
    return weight
