"""Losses: a table by name. Each takes logits [B, A] and targets [B, A] of 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def bce(logits_BA: Tensor, targets_BA: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over images and attributes."""
    return functional.binary_cross_entropy_with_logits(logits_BA, targets_BA)


def mse(logits_BA: Tensor, targets_BA: Tensor) -> Tensor:
    """Squared error of the sigmoid outputs, summed over attributes, averaged over images."""
    return (torch.sigmoid(logits_BA) - targets_BA).square().sum(dim=1).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "mse": mse}
