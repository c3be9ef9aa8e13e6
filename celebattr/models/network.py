"""The network of every architecture: a backbone that makes features, a head that makes logits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from celebattr.models.spec import ModelSpec

ACTIVATIONS: dict[str, type[nn.Module]]
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Network(nn.Module):
    """A network: images [B, 3, H, W], normalised -> logits [B, A].

    Args:
        spec: what it was built from.
        backbone: makes features of images.
        features: how many.
        head: makes logits of features; without it, fully-connected layers.
        stages: the parts of a convolutional backbone, from the image on: the last module of each
            gives a feature map.
        at_corner: whether the first place of such a map lies on pixel 0, as after padded filters of
            odd width; else in the middle of the pixels that it stands for.
    """

    def __init__(
        self,
        spec: ModelSpec,
        backbone: nn.Module,
        features: int,
        *,
        head: nn.Module | None = None,
        stages: Sequence[nn.ModuleList] = (),
        at_corner: bool = False,
    ) -> None:
        super().__init__()
        self.spec, self.at_corner = spec, at_corner
        self.backbone = backbone
        self.head = head or make_head(features, spec)
        self.stages = tuple(stages)  # in a list of torch's they would be registered twice

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits [B, A] of images [B, 3, H, W]."""
        logits_BA: Tensor = self.head(self.backbone(images_BCHW))
        return logits_BA

    def place(self, device: torch.device) -> Self:
        """Move to a device with filters channels last, the fastest layout for convolutions."""
        self.to(device)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def set_prior(self, positive_share_A: Tensor) -> None:
        """Start the last bias at the logit of each attribute's share of positives.

        The first steps then correct the network instead of learning how rare baldness is.
        """
        share = positive_share_A.clamp(1e-3, 1.0 - 1e-3)
        with torch.no_grad():
            last = list(self.head.parameters())[-1]
            assert last.shape == share.shape, "the last parameter is the bias of the logits"
            last.copy_(torch.logit(share))


def make_head(features: int, spec: ModelSpec) -> nn.Sequential:
    """Build fully-connected layers: features -> hidden widths, each activated -> attributes."""
    layers: list[nn.Module] = []
    widths = (features, *spec.head)
    for before, after in itertools.pairwise(widths):
        layers += [nn.Dropout(spec.dropout), nn.Linear(before, after)]
        layers.append(ACTIVATIONS[spec.activation]())
    last = nn.Linear(widths[-1], spec.attributes)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, nn.Dropout(spec.dropout), last)
