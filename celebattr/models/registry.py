"""The architectures: one row each, from which the choices, the contract tests and the docs derive.

To add one, write `models/x.py` with a `build(spec)` that returns a module with `backbone` and
`head`, and add a row. Nothing heavy is imported until a row is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from celebattr.errors import UsageError, needs, suggestion
from celebattr.models.spec import ModelSpec

if TYPE_CHECKING:
    from celebattr.models.network import Network


@dataclass(frozen=True)
class Architecture:
    """A row: the module that builds it, one line about it, and how it is trained by default.

    Attributes:
        start: where the backbone starts: imagenet, torchvision's weights; none, at random; or the
            name of a shipped bundle.
        head: its fully-connected layers, as `--head` takes them.
        dropout: before each of them.
        lr: peak learning rate of the backbone.
        augmentation: how much of it, by the options of `train`; 0 where it is not named.
        image_size: height x width of its input; None takes the recipe's for the device.
        fixed: whether it is made for one size, and knows no other.
        light: whether a step on a CPU is less work than decoding its images.
        output_strides: the first unless another is asked for; see `ModelSpec`.
    """

    name: str
    module: str
    summary: str
    start: str = "none"
    head: str = "linear"
    dropout: float = 0.0
    lr: float = 1e-3
    augmentation: Mapping[str, float] = field(default_factory=dict)
    image_size: str | None = None
    fixed: bool = False
    light: bool = False
    output_strides: tuple[int, ...] = (32,)


_RESNET50 = Architecture(
    "resnet50",
    "celebattr.models.resnet",
    "ResNet50 (He et al., CVPR 2016), its fully-connected layers made for attributes",
    start="imagenet",
    lr=3e-4,
    augmentation={
        **{"mixup": 0.2, "erasing": 0.25, "cut_margins": 0.5, "noise": 0.1, "grey": 0.05},
        **{"low_resolution": 0.1, "recompress": 0.5},
    },
    output_strides=(32, 16, 8),
)

CATALOG: dict[str, Architecture] = {
    row.name: row
    for row in (
        _RESNET50,
        replace(
            _RESNET50,
            name="resnet50slim",
            summary="ResNet50 with half of the channels inside its blocks, less than half of the "
            "work",
            start="celebattr-resnet50",
            image_size="80x64",
        ),
        replace(
            _RESNET50,
            name="resnet18",
            summary="ResNet18, the same with less than half of the work",
            output_strides=(32,),
        ),
        Architecture(
            "unet",
            "celebattr.models.unet",
            "U-Net (Ronneberger et al., MICCAI 2015), one map per attribute, pooled to its logit",
            image_size="48x40,64x52,80x64",
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
            light=True,
        ),
        Architecture(
            "linear",
            "celebattr.models.linear",
            "linear model on the flattened image",
            image_size="64x64",
            fixed=True,
            light=True,
        ),
    )
}


def row(arch: str) -> Architecture:
    """Return the row of an architecture.

    Raises:
        UsageError: there is none.
    """
    if arch not in CATALOG:
        raise UsageError(
            f"unknown architecture {arch!r}.{suggestion(arch, CATALOG)} Known: {', '.join(CATALOG)}"
        )
    return CATALOG[arch]


def build(spec: ModelSpec) -> Network:
    """Build a network with random weights.

    Raises:
        UsageError: there is no such architecture, or it cannot be built so.
        MissingExtraError: torch is not installed.
    """
    module, strides = row(spec.arch).module, row(spec.arch).output_strides
    if spec.output_stride not in strides:
        known = ", ".join(map(str, strides))
        raise UsageError(f"--output-stride of {spec.arch}: {known}, not {spec.output_stride}")
    with needs("train"):
        import torch  # noqa: F401
    network: Network = importlib.import_module(module).build(spec)
    return network
