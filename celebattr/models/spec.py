"""The specification of a network, stored in its card to rebuild it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """The specification of a network: architecture, outputs, and fully-connected layers.

    Attributes:
        head: widths of the hidden fully-connected layers, none for a linear head.
        dropout: before each fully-connected layer.
        activation: of the hidden fully-connected layers.
        size: height and width of the input in pixels. A ResNet or U-Net takes any; the others are
            made for this one.
        output_stride: of a ResNet's last feature map: how many times higher and wider the image is.
    """

    arch: str
    attributes: int
    head: tuple[int, ...] = ()
    dropout: float = 0.0
    activation: str = "relu"
    size: tuple[int, int] = (128, 104)
    output_stride: int = 32
