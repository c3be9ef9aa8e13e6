"""Options of `celebattr train`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celebattr.models.device import PRECISIONS
from celebattr.options import (
    CACHES,
    Checks,
    Location,
    option,
    parse_sizes,
    parse_widths,
    thumbnails_option,
)

LOSSES: tuple[str, ...] = ("bce", "mse")
OPTIMIZERS: tuple[str, ...] = ("adamw", "sgd", "gd")
ACTIVATIONS: tuple[str, ...] = ("relu", "sigmoid", "tanh")
COMPILE: tuple[str, ...] = ("auto", "on", "off")


@dataclass(frozen=True)
class TrainConfig(Checks):
    """Options of a training run."""

    data: tuple[Location, ...] = option(
        (),
        "CelebA or your own data set, or `drawn`, faces drawn by program; repeat to join several, "
        "each row keeps its split.",
        metavar="DIR|URL",
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
        "ResNet, celebattr-resnet50 for resnet50slim, none for the others.",
        metavar="imagenet|none|PATH",
    )
    freeze_backbone: bool = option(False, "Train the fully-connected layers only.")
    freeze_stages: int = option(
        0,
        "Stages of a ResNet or CNN, from the image on, that stay as they start; 1 spares a quarter "
        "of a ResNet's time.",
    )
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
        "Pixels of the image a place of the last feature map of resnet50 and resnet50slim: 32, or "
        "finer at 16 (a third more work) or 8.",
    )
    epochs: int | None = option(
        None, "Passes over the training images. Without it, 5 to 12: fewer, the more images."
    )
    batch_size: int | None = option(
        None, "Images a gradient step, over all processes. Without it, 64."
    )
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
        "it, the architecture's; for a ResNet 80x64,128x104 on a CPU, 128x104,176x144 on a GPU.",
        metavar="SIZES",
    )
    erasing: float | None = option(
        None,
        "Share of the images in which a rectangle is painted over. Without it, 0.25 for a ResNet, "
        "0 for the others.",
    )
    low_resolution: float | None = option(
        None,
        "Share of the images that are reduced to 32 to 109 pixels of height and enlarged again. "
        "Without it, 0.1 for a ResNet, 0 for the others.",
    )
    cut_margins: float | None = option(
        None,
        "Share of the images whose margins are cut off and filled by repeating the edge, as in "
        "frames of photos that end near the face. Without it, 0.5 for a ResNet, 0 for the others.",
    )
    noise: float | None = option(
        None,
        "Share of the images to which noise is added, as in dark photos. Without it, 0.1 for a "
        "ResNet, 0 for the others.",
    )
    grey: float | None = option(
        None,
        "Share of the images whose colour is taken away. Without it, 0.05 for a ResNet, 0 for the "
        "others.",
    )
    dark: float | None = option(
        None,
        "Share of the images that keep a tenth to seven tenths of their light. Without it, 0.",
    )
    recompress: float | None = option(
        None,
        "Share of the images that are re-compressed, as JPEG or WebP of a random quality. Without "
        "it, 0.5 for a ResNet, 0 for the others.",
    )
    mixup: float | None = option(
        None,
        "Blend pairs of images and their targets: alpha of the Beta distribution; 0 is off. "
        "Without it, 0.2 for a ResNet, 0 for the others.",
    )
    person_balance: float = option(
        0.0,
        "An image counts as the number of images of its person to minus this power, where the "
        "data names people: 0 counts all images alike, 1 all people.",
    )
    train_share: float = option(
        1.0, "Share of the training images to use, chosen at random: for a scaling curve."
    )
    soft_labels: tuple[Path, ...] = option(
        (),
        "CSV of probabilities, as `celebattr predict --format csv` writes, to mix into the "
        "targets of the train images that it names; repeat for the mean of several.",
        metavar="FILE",
    )
    teacher: tuple[Path, ...] = option(
        (),
        "Bundle whose predictions the network learns to repeat (distillation); repeat for the "
        "mean of several.",
        metavar="BUNDLE",
    )
    teacher_weight: float = option(
        0.6, "Share of --teacher and --soft-labels in the targets, 0 to 1; the rest are the labels."
    )
    ema: float = option(0.998, "Decay of the averaged weights that are kept; 0 turns it off.")
    seed: int = option(0, "Seed of order, augmentation and initial weights.")
    workers: int = option(2, "Threads that decode images, in each process.")
    cache: str = option(
        "auto",
        "Decoded images, 116 kB each, so that epochs after the first decode nothing. ram: in "
        "memory; disk: in --cache-folder, kept for other runs; auto: whichever fits, off where it "
        "would not pay.",
        choices=CACHES,
    )
    cache_folder: Path | None = option(
        None,
        "Where --cache disk keeps images. Without it, what CELEBATTR_CACHE names, else celebattr/ "
        "in the user's folder of caches.",
        metavar="DIR",
    )
    precision: str = option("auto", "Arithmetic of the forward pass.", choices=PRECISIONS)
    device: str = option(
        "auto", "auto takes CUDA, else MPS, else the CPU; cuda:1 names one.", metavar="DEVICE"
    )
    limit: int | None = option(None, "Use only the first N images of each split.")
    leave_out_repeats: bool = option(
        False,
        "Leave out training images whose picture is also in validation or test under another name.",
    )
    skip_missing: bool = option(False, "Leave out rows whose image file is missing.")
    thumbnails: bool = thumbnails_option()
    compile: str = option(
        "auto",
        "torch.compile: auto compiles on a CUDA GPU, where the run is long enough to pay for it; "
        "where compiling fails, the run goes on without.",
        choices=COMPILE,
    )
    tensorboard: bool = option(False, "Also write the curves for TensorBoard, to tensorboard/.")
    checkpoint_every: int | None = option(
        None,
        "Write a checkpoint every so many gradient steps too, not only after each epoch and every "
        "five minutes.",
        metavar="STEPS",
    )
    resume: bool = option(False, "Go on from the last checkpoint in --out.")

    def __post_init__(self) -> None:
        self._check(
            epochs=(1, 10_000),
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
            *("data", "out", "resume", "workers", "device", "skip_missing"),
            *("cache", "cache_folder", "compile"),  # where the same figures come from
            *("thumbnails", "tensorboard", "checkpoint_every"),  # what is kept of a run
        )
        return {name: value for name, value in values.items() if name not in left_out}
