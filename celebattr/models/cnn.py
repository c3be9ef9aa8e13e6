"""A classic CNN: five convolutional layers with max pooling, then fully-connected ones.

Source: J. Redmon, A. Angelova, "Real-Time Grasp Detection Using Convolutional Neural Networks",
ICRA 2015, for the shape: a 7x7 filter with stride 2, then 3x3 filters, widths from 64 to 256, two
hidden layers of 512, 224x224 RGB. Their response normalisation is batch normalisation here.
"""

from __future__ import annotations

import itertools

from torch import nn

from celebattr.errors import UsageError
from celebattr.models.network import Network
from celebattr.models.spec import ModelSpec

SHRINKS = 32
"""Output stride: the ratio of the image's side to that of the last feature map."""


def build(spec: ModelSpec) -> Network:
    """Build five convolutions and the fully-connected layers on their flattened features.

    Raises:
        UsageError: the image is smaller than 32 pixels on a side.
    """
    height, width = (side // SHRINKS for side in spec.size)
    if min(height, width) < 1:
        raise UsageError(f"--arch cnn needs images of at least {SHRINKS} pixels on each side")
    blocks = (
        _block(3, 64, kernel=7, stride=2, pool=True),
        _block(64, 128, pool=True),
        _block(128, 128),
        _block(128, 128, pool=True),
        _block(128, 256, pool=True),
    )
    backbone = nn.Sequential(*itertools.chain(*blocks), nn.Flatten())
    stages = [*map(nn.ModuleList, blocks)]
    return Network(spec, backbone, 256 * height * width, stages=stages)


def _block(
    channels: int, filters: int, kernel: int = 3, stride: int = 1, pool: bool = False
) -> list[nn.Module]:
    layers: list[nn.Module] = [
        nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    ]
    return [*layers, nn.MaxPool2d(2)] if pool else layers
