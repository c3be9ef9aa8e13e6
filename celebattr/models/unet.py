"""U-Net with one map per attribute, at the resolution of the image, and one logit from each map.

The same labels train it, and its maps say where an attribute was seen.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015: contracting path, expanding path, skip connections. Ours pads, so that
maps are as large as the image, normalises batches, and is narrower. Each level of the expanding
path adds to the maps, as in J. Long, E. Shelhamer, T. Darrell, "Fully Convolutional Networks for
Semantic Segmentation", CVPR 2015: 40 attributes of a whole face do not fit through the 24 channels
of the last level (docs/experiments.md). The pooling is the smooth maximum of P. Pinheiro,
R. Collobert, "From Image-level to Pixel-level Labeling with Convolutional Networks", CVPR 2015.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from celebattr.errors import UsageError
from celebattr.models.network import Network
from celebattr.models.spec import ModelSpec

WIDTHS = (24, 48, 96, 192, 384)
"""Channels of the levels, from the image's resolution down to a sixteenth of it."""

SHARPNESS = 4.0
"""Sharpness of the pooling: near 0 it is the mean of a map, far above 1 its maximum."""


def build(spec: ModelSpec) -> Network:
    """Build a U-Net with one map per attribute.

    Raises:
        UsageError: fully-connected layers are asked for.
    """
    if spec.head:
        raise UsageError("--arch unet has no fully-connected layers: leave --head out")
    backbone = UNet()
    head = MapHead(spec.attributes, spec.dropout)
    return Network(spec, backbone, WIDTHS[0], head=head)


class UNet(nn.Module):
    """The backbone: images [B, 3, H, W] -> features of each level, up to [B, 24, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            _double(before, after) for before, after in zip((3, *WIDTHS), WIDTHS, strict=False)
        )
        pairs = list(zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(low, up, 2, stride=2) for low, up in pairs)
        self.up = nn.ModuleList(_double(2 * up, up) for _, up in pairs)
        self.pool = nn.MaxPool2d(2)

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Return the features of each level."""
        kept: list[Tensor] = []
        x = images_BCHW
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            kept.append(x)
        levels = [kept.pop()]
        for rise, block in zip(self.rise, self.up, strict=True):
            skip = kept.pop()
            x = rise(x)
            # An odd side was rounded down on the way: its last row or column is repeated.
            missing = (0, skip.shape[3] - x.shape[3], 0, skip.shape[2] - x.shape[2])
            if any(missing):
                x = nn.functional.pad(x, missing, mode="replicate")
            x = block(torch.cat([skip, x], dim=1))
            levels.append(x)
        return levels


class MapHead(nn.Module):
    """The head: features of each level -> logits [B, A], by a smooth maximum of maps."""

    def __init__(self, attributes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.levels = nn.ModuleList()
        for width in reversed(WIDTHS):
            level = nn.Conv2d(width, attributes, 1, bias=width == WIDTHS[0])
            nn.init.normal_(level.weight, std=0.01)  # small: the first logits are the prior's
            self.levels.append(level)

    def maps(self, levels: list[Tensor]) -> Tensor:
        """Return the map of each attribute, [B, A, H, W]: the sum of the enlarged levels."""
        maps_BAHW: Tensor = self.levels[0](self.dropout(levels[0]))
        for level, features_BCHW in zip(self.levels[1:], levels[1:], strict=True):
            maps_BAHW = nn.functional.interpolate(
                maps_BAHW, size=features_BCHW.shape[2:], mode="bilinear"
            ) + level(self.dropout(features_BCHW))
        return maps_BAHW

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return the scaled logarithm of the mean of exponentials over each map."""
        maps_BAP = self.maps(levels).flatten(2).float()  # exponentials overflow in half precision
        pixels = maps_BAP.shape[2]
        pooled = torch.logsumexp(SHARPNESS * maps_BAP, dim=2) - math.log(pixels)
        return pooled / SHARPNESS


def _double(channels: int, filters: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (channels, filters):
        layers += [
            nn.Conv2d(before, filters, 3, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
