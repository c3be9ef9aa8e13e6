"""What every architecture is: a backbone that makes features, a head that makes logits."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from celebattr.models.catalog import ModelSpec


class Network(nn.Module):
    """images [B, 3, H, W], normalised -> logits [B, A]."""

    def __init__(self, spec: ModelSpec, backbone: nn.Module, features: int) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        self.head = make_head(features, spec)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, A] of images [B, 3, H, W]."""
        logits_BA: Tensor = self.head(self.backbone(images_BCHW))
        return logits_BA

    def place(self, device: torch.device) -> Self:
        """Moves to a device, filters channels last: the layout that convolutions run fastest in."""
        self.to(device)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def set_prior(self, positive_share_A: Tensor) -> None:
        """Starts the last bias at the logit of each attribute's share of positives.

        The first steps then correct the network instead of learning how rare baldness is.
        """
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        share = positive_share_A.clamp(1e-3, 1.0 - 1e-3)
        with torch.no_grad():
            last.bias.copy_(torch.logit(share))


def make_head(features: int, spec: ModelSpec) -> nn.Sequential:
    """Fully-connected layers: features -> hidden widths with ReLU -> attributes."""
    layers: list[nn.Module] = []
    width = features
    for hidden in spec.head:
        layers += [nn.Dropout(spec.dropout), nn.Linear(width, hidden), nn.ReLU(inplace=True)]
        width = hidden
    last = nn.Linear(width, spec.attributes)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, nn.Dropout(spec.dropout), last)
