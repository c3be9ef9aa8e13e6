"""The architectures: one row each, from which the choices, the contract tests and the docs derive.

To add one, write `models/x.py` with a `build(spec)` that returns a module with `backbone` and
`head`, and add a row. Nothing heavy is imported until a row is built.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celebattr.attributes import suggestion
from celebattr.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from celebattr.models.network import Network


@dataclass(frozen=True)
class ModelSpec:
    """What rebuilds a network: architecture, outputs, and its fully-connected layers.

    Attributes:
        head: widths of the hidden fully-connected layers, none for a linear head.
        dropout: before each fully-connected layer.
        activation: of the hidden fully-connected layers.
        size: height and width of the input in pixels. A ResNet or U-Net takes any; the others are
            made for this one.
        last_stride: of ResNet50's last stage: 1 keeps its feature map at a sixteenth of the image's
            height and width, 2 halves it to a 32nd.
    """

    arch: str
    attributes: int
    head: tuple[int, ...] = ()
    dropout: float = 0.0
    activation: str = "relu"
    size: tuple[int, int] = (128, 104)
    last_stride: int = 2


@dataclass(frozen=True)
class Architecture:
    """A row: the module that builds it, one line about it, and how it is trained by default.

    Attributes:
        start: where the backbone starts: imagenet, torchvision's weights; none, at random.
        head: its fully-connected layers, as `--head` takes them.
        dropout: before each of them.
        lr: peak learning rate of the backbone.
        image_size: height x width of its input; None takes the recipe's for the device.
        fixed: whether it is made for one size, and knows no other.
    """

    name: str
    module: str
    summary: str
    start: str = "none"
    head: str = "linear"
    dropout: float = 0.0
    lr: float = 1e-3
    image_size: str | None = None
    fixed: bool = False


CATALOG: dict[str, Architecture] = {
    row.name: row
    for row in (
        Architecture(
            "resnet50",
            "celebattr.models.resnet",
            "ResNet50 (He et al., CVPR 2016), its fully-connected layers made for attributes",
            start="imagenet",
            lr=3e-4,
        ),
        Architecture(
            "resnet18",
            "celebattr.models.resnet",
            "ResNet18, the same with a quarter of the work",
            start="imagenet",
            lr=3e-4,
        ),
        Architecture(
            "unet",
            "celebattr.models.unet",
            "U-Net (Ronneberger et al., MICCAI 2015), one map an attribute, pooled to its logit",
            image_size="112x96",
        ),
        Architecture(
            "cnn",
            "celebattr.models.cnn",
            "classic CNN (after Redmon and Angelova, ICRA 2015): five convolutional layers",
            head="512,512",
            dropout=0.5,
            image_size="224x224",
            fixed=True,
        ),
        Architecture(
            "mlp",
            "celebattr.models.mlp",
            "multi-layer perceptron on the flattened image",
            head="512,256",
            dropout=0.2,
            image_size="64x64",
            fixed=True,
        ),
        Architecture(
            "linear",
            "celebattr.models.linear",
            "linear model on the flattened image",
            image_size="64x64",
            fixed=True,
        ),
    )
}


def names() -> tuple[str, ...]:
    """The names `--arch` takes."""
    return tuple(CATALOG)


def row(arch: str) -> Architecture:
    """The row of an architecture.

    Raises:
        UsageError: there is none.
    """
    if arch not in CATALOG:
        raise UsageError(
            f"unknown architecture {arch!r}.{suggestion(arch, CATALOG)} Known: {', '.join(CATALOG)}"
        )
    return CATALOG[arch]


def build(spec: ModelSpec) -> Network:
    """Builds a network with random weights.

    Raises:
        UsageError: there is no such architecture, or it cannot be built so.
        MissingExtraError: torch is not installed.
    """
    try:
        module = importlib.import_module(row(spec.arch).module)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "torchvision"):
            raise MissingExtraError(str(error.name), "train") from error
        raise
    if spec.last_stride != 2 and spec.arch != "resnet50":
        raise UsageError(f"--last-stride is for resnet50: {spec.arch} has no such stage")
    network: Network = module.build(spec)
    return network
