"""U-Net with one map an attribute, at the resolution of the image, and one logit from each map.

The same labels train it, and its maps say where an attribute was seen.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015: contracting path, expanding path, skip connections. Ours pads, so that
maps are as large as the image, normalises batches, and is narrower. The pooling is the smooth
maximum of P. Pinheiro, R. Collobert, "From Image-level to Pixel-level Labeling with Convolutional
Networks", CVPR 2015.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from celebattr.errors import UsageError
from celebattr.models.catalog import ModelSpec
from celebattr.models.network import Network

WIDTHS = (24, 48, 96, 192, 384)
"""Channels of the levels, from the image's resolution down to a sixteenth of it."""

SHARPNESS = 4.0
"""Of the pooling: near 0 it is the mean of a map, far above 1 its maximum."""


def build(spec: ModelSpec) -> Network:
    """A U-Net and one map an attribute.

    Raises:
        UsageError: fully-connected layers are asked for.
    """
    if spec.head:
        raise UsageError("--arch unet has no fully-connected layers: leave --head out")
    backbone = UNet()
    head = MapHead(WIDTHS[0], spec.attributes, spec.dropout)
    return Network(spec, backbone, WIDTHS[0], head=head)


class UNet(nn.Module):
    """images [B, 3, H, W] -> features [B, 24, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            _double(before, after) for before, after in zip((3, *WIDTHS), WIDTHS, strict=False)
        )
        pairs = list(zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(low, up, 2, stride=2) for low, up in pairs)
        self.up = nn.ModuleList(_double(2 * up, up) for _, up in pairs)
        self.pool = nn.MaxPool2d(2)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Features of every pixel."""
        kept: list[Tensor] = []
        x = images_BCHW
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            kept.append(x)
        kept.pop()
        for rise, block in zip(self.rise, self.up, strict=True):
            skip = kept.pop()
            x = rise(x)
            # An odd side was rounded down on the way: its last row or column is repeated.
            missing = (0, skip.shape[3] - x.shape[3], 0, skip.shape[2] - x.shape[2])
            if any(missing):
                x = nn.functional.pad(x, missing, mode="replicate")
            x = block(torch.cat([skip, x], dim=1))
        return x


class MapHead(nn.Module):
    """features [B, C, H, W] -> logits [B, A]: a map each, and its smooth maximum."""

    def __init__(self, features: int, attributes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.maps = nn.Conv2d(features, attributes, 1)
        nn.init.normal_(self.maps.weight, std=0.01)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """The logarithm of the mean of exponentials, over a map."""
        maps_BAP = self.maps(self.dropout(features_BCHW)).flatten(2).float()
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
