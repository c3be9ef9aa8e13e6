"""What the commands can be asked for: frozen dataclasses that validate themselves.

The help of a field is the help of the command-line option that `celebattr.cli.options` derives
from it: names, types, defaults and texts stand here once.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from celebattr.attributes import suggestion
from celebattr.errors import UsageError
from celebattr.parse import parse_operating_point, parse_sizes, parse_widths

T = TypeVar("T")

FRAME_SIZE: tuple[int, int] = (218, 178)
"""Height and width of CelebA's aligned crop, in pixels: what every face is brought to."""

LOSSES: tuple[str, ...] = ("bce", "mse")
OPTIMIZERS: tuple[str, ...] = ("adamw", "sgd", "gd")
ACTIVATIONS: tuple[str, ...] = ("relu", "sigmoid", "tanh")
DEVICES: tuple[str, ...] = ("auto", "cuda", "mps", "cpu")
PRECISIONS: tuple[str, ...] = ("auto", "float32", "bfloat16", "float16")
SPLITS: tuple[str, ...] = ("train", "validation", "test")
FACES: tuple[str, ...] = ("largest", "all", "none")


def option(default: T, text: str, *, choices: tuple[str, ...] = (), metavar: str = "") -> T:
    """A dataclass field with the help text and choices of its command-line option."""
    metadata = {"help": text, "choices": choices, "metavar": metavar}
    field: T = dataclasses.field(default=default, metadata=metadata)
    return field


def _operating_point() -> str:
    return option(
        "default",
        "Where thresholds lie: default, the bundle's own (0.5); f1, the best F1; precision=P or "
        "recall=R, at least that much on the validation images.",
        metavar="POINT",
    )


def _unsure_below() -> float | None:
    return option(
        None,
        "Decisions less likely right than this are reported as unsure. Without it, the bundle's "
        "own.",
    )


def _consistent() -> bool:
    return option(
        False,
        "Decide for the most probable answers that do not contradict each other, as No_Beard and "
        "Goatee do.",
    )


def _thumbnails() -> bool:
    return option(
        True,
        "Small pictures of the images that the HTML page names; --no-thumbnails for data that must "
        "not leave.",
    )


class _Checks:
    """Shared validation: declared choices, and ranges by name."""

    def _check(self, **ranges: tuple[float, float]) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            choices = field.metadata.get("choices")
            if choices and value is not None and value not in choices:
                raise UsageError(
                    f"{flag(field.name)} {value!r} is not one of {', '.join(choices)}."
                    f"{suggestion(str(value), choices)}"
                )
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{flag(name)} {value} is outside {low:g} to {high:g}")


def flag(name: str) -> str:
    """The command-line spelling of a field name."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class TrainConfig(_Checks):
    """Everything that decides how a run trains."""

    data: tuple[Path, ...] = option(
        (),
        "CelebA or your own data set, or `drawn`, faces drawn by program; repeat to join several, "
        "each row keeps its split.",
        metavar="DIR",
    )
    out: Path = option(
        Path("runs/train"),
        "Run folder: config.json, history.jsonl, last, best, curves.png, report.html.",
        metavar="DIR",
    )
    arch: str = option("resnet50", "Architecture.")
    backbone_weights: str | None = option(
        None,
        "Where the backbone starts: imagenet (torchvision's), none (random), a .safetensors file "
        "of backbone weights, or a celebattr bundle to fine-tune. Without it, imagenet for a "
        "ResNet, none for the others.",
        metavar="imagenet|none|PATH",
    )
    freeze_backbone: bool = option(False, "Train the fully-connected layers only.")
    head: str | None = option(
        None,
        "Fully-connected layers after the backbone: linear, or hidden widths such as 512,256. "
        "Without it, linear for a ResNet, 512,512 for cnn, 512,256 for mlp.",
        metavar="linear|WIDTHS",
    )
    activation: str = option(
        "relu", "Activation of the hidden fully-connected layers.", choices=ACTIVATIONS
    )
    dropout: float | None = option(
        None,
        "Dropout before each fully-connected layer, 0 to 0.9. Without it, 0.5 for cnn, 0.2 for "
        "mlp, 0 for the others.",
    )
    output_stride: int = option(
        32,
        "Pixels of the image a place of ResNet50's last feature map: 32, or finer at 16 (a third "
        "more work) or 8.",
    )
    epochs: int | None = option(
        None, "Passes over the training images. Without it, 5 to 12: fewer, the more images."
    )
    batch_size: int | None = option(None, "Images a gradient step. Without it, 64.")
    optimizer: str = option(
        "adamw",
        "adamw; sgd: stochastic gradient descent with momentum 0.9; gd: plain gradient descent, "
        "one step an epoch against the gradient over all training images.",
        choices=OPTIMIZERS,
    )
    lr: float | None = option(
        None,
        "Peak learning rate of the backbone. Without it, 0.0003 for a ResNet, 0.001 for the "
        "others, which start at random; 0.001 for sgd, 0.005 for gd.",
    )
    head_lr: float | None = option(
        None,
        "Peak learning rate of the fully-connected layers. Without it, 0.001; for sgd and gd that "
        "of the backbone.",
    )
    weight_decay: float = option(0.05, "AdamW weight decay; norms and biases have none.")
    warmup: float = option(0.15, "Share of the steps over which the learning rate rises, 0 to 1.")
    loss: str = option(
        "bce",
        "bce: binary cross-entropy; mse: squared error of the sigmoid outputs.",
        choices=LOSSES,
    )
    image_size: str | None = option(
        None,
        "Input height x width; several, for equal shares of the epochs, train small first. Without "
        "it, 80x64,128x104 on a CPU and 128x104,176x144 on a GPU.",
        metavar="SIZES",
    )
    erasing: float | None = option(
        None,
        "Share of the images in which a rectangle is painted over. Without it, 0.25 for a ResNet, "
        "0 for the others.",
    )
    low_resolution: float = option(
        0.0,
        "Share of the images that are reduced to 52 to 109 pixels of height and enlarged again.",
    )
    cut_margins: float | None = option(
        None,
        "Share of the images whose margins are cut off and filled by repeating the edge, as in "
        "frames of photos that end near the face. Without it, 0.5 for a ResNet, 0 for the others.",
    )
    mixup: float | None = option(
        None,
        "Blend pairs of images and their targets: alpha of the Beta distribution; 0 is off. "
        "Without it, 0.2 for a ResNet, 0 for the others.",
    )
    person_balance: float = option(
        0.5,
        "An image counts as the number of images of its person to minus this power, where the "
        "data names people: 0 counts all images alike, 1 all people.",
    )
    train_share: float = option(
        1.0, "Share of the training images to use, chosen at random: for a scaling curve."
    )
    soft_labels: Path | None = option(
        None,
        "CSV of probabilities, as `celebattr predict --format csv` writes: they replace the "
        "targets of the train images that it names.",
        metavar="FILE",
    )
    teacher: tuple[Path, ...] = option(
        (),
        "Bundle whose predictions the network learns to repeat (distillation); repeat for the "
        "mean of several.",
        metavar="BUNDLE",
    )
    teacher_weight: float = option(0.5, "Share of the teachers in the targets, 0 to 1.")
    ema: float = option(0.998, "Decay of the averaged weights that are kept; 0 turns it off.")
    seed: int = option(0, "Seed of order, augmentation and initial weights.")
    workers: int = option(2, "Threads that decode images.")
    precision: str = option("auto", "Arithmetic of the forward pass.", choices=PRECISIONS)
    device: str = option(
        "auto", "auto takes CUDA, else MPS, else the CPU; cuda:1 names one.", metavar="DEVICE"
    )
    limit: int | None = option(None, "Use only the first N images of each split.")
    skip_missing: bool = option(False, "Leave out rows whose image file is missing.")
    thumbnails: bool = _thumbnails()
    tensorboard: bool = option(False, "Also write the curves for TensorBoard, to tensorboard/.")
    resume: bool = option(False, "Go on from the last checkpoint in --out.")

    def __post_init__(self) -> None:
        self._check(
            epochs=(1, 10_000),
            batch_size=(1, 65_536),
            dropout=(0.0, 0.9),
            lr=(0.0, 100.0),
            head_lr=(0.0, 100.0),
            weight_decay=(0.0, 10.0),
            warmup=(0.0, 1.0),
            ema=(0.0, 0.999999),
            erasing=(0.0, 1.0),
            low_resolution=(0.0, 1.0),
            cut_margins=(0.0, 1.0),
            mixup=(0.0, 100.0),
            person_balance=(0.0, 1.0),
            teacher_weight=(0.0, 1.0),
            train_share=(0.001, 1.0),
            seed=(0, 2**31 - 1),
            workers=(1, 256),
            limit=(1, 10**9),
        )
        if self.image_size is not None:
            parse_sizes(self.image_size)
        if self.head is not None:
            parse_widths(self.head)

    def size_at(self, epoch: int) -> tuple[int, int]:
        """Input height and width in pixels at an epoch, counted from 0, once both are decided."""
        assert self.image_size is not None
        assert self.epochs is not None
        sizes = parse_sizes(self.image_size)
        return sizes[epoch * len(sizes) // self.epochs]

    def to_json(self) -> str:
        """The run folder's config.json."""
        return json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n"

    def recipe(self) -> dict[str, Any]:
        """The fields that decide the result, as plain values: what --resume may not change."""
        values = json.loads(self.to_json())
        for name in ("data", "out", "resume", "workers", "device", "skip_missing"):
            values.pop(name)
        for name in ("thumbnails", "tensorboard"):  # what is shown of a run
            values.pop(name)
        return dict(values)


@dataclass(frozen=True)
class EvaluateConfig(_Checks):
    """What to evaluate, and on what."""

    data: tuple[Path, ...] = option(
        (),
        "CelebA or your own data set; repeat to join several folders.",
        metavar="DIR",
    )
    split: str = option("test", "Which rows count.", choices=SPLITS)
    weights: str | None = option(
        None, "Bundle to evaluate: a name or a path. Without it, the default.", metavar="BUNDLE"
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
        "Also score every image spoiled, for example jpeg,blur, or all: jpeg, blur, noise, dark, "
        "small, grey, rotate, shift, each at one to three levels.",
        metavar="all|NAMES",
    )
    operating_point: str = _operating_point()
    consistent: bool = _consistent()
    unsure_below: float | None = _unsure_below()
    flip: bool = option(False, "Average each image with its mirror image (twice the work).")
    limit: int | None = option(None, "Use only the first N images of the split.")
    skip_missing: bool = option(False, "Leave out rows whose image file is missing.")
    examples: int | None = option(
        None,
        "Images of each kind that --report shows: the hardest, the most surely wrong. Without it, "
        "12.",
    )
    thumbnails: bool = _thumbnails()

    def __post_init__(self) -> None:
        self._check(
            unsure_below=(0.0, 1.0),
            batch_size=(1, 65_536),
            workers=(1, 256),
            limit=(1, 10**9),
            examples=(0, 200),
        )
        parse_operating_point(self.operating_point)


@dataclass(frozen=True)
class PredictConfig(_Checks):
    """How photos become predictions."""

    weights: str | None = option(
        None, "Bundle to predict with: a name or a path. Without it, the default.", metavar="BUNDLE"
    )
    faces: str = option(
        "largest",
        "largest: the main face of a photo; all: every face; none: each image is one aligned face.",
        choices=FACES,
    )
    attributes: str | None = option(
        None, "Report these attributes only, separated by commas.", metavar="NAMES"
    )
    threshold: float | None = option(
        None, "Probability from which an attribute is present. Without it, the bundle's own."
    )
    operating_point: str = _operating_point()
    consistent: bool = _consistent()
    unsure_below: float | None = _unsure_below()
    batch_size: int = option(16, "Faces scored together.")
    workers: int | None = option(
        None, "Processes that open photos and find faces. Without it, one a core."
    )
    timeout: float = option(5.0, "Seconds that opening one photo and finding its faces may take.")
    device: str = option(
        "auto", "auto takes CUDA, else MPS, else the CPU; cuda:1 names one.", metavar="DEVICE"
    )
    precision: str = option("auto", "Arithmetic of the forward pass.", choices=PRECISIONS)

    def __post_init__(self) -> None:
        self._check(
            threshold=(0.0, 1.0), unsure_below=(0.0, 1.0), batch_size=(1, 65_536), workers=(1, 256)
        )
        if parse_operating_point(self.operating_point).kind != "default" and (
            self.threshold is not None
        ):
            raise UsageError("--threshold and --operating-point exclude each other: give one")


@dataclass(frozen=True)
class DoctorConfig(_Checks):
    """Which data sets to look at, and how thoroughly."""

    data: tuple[Path, ...] = option(
        (), "A data set; repeat for those that are used together.", metavar="DIR"
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
