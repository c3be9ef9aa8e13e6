"""Losses by name.

Each takes logits [B, A], targets [B, A] in 0..1 or NaN where unknown and, where images count
differently, sample weights [B], of mean 1 over the training images. An unknown target adds nothing,
and the mean is over all: the pull of a label does not depend on which others are known, nor on how
a batch is cut into passes.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Loss(Protocol):
    """The signature of a loss."""

    def __call__(
        self, logits_BA: Tensor, targets_BA: Tensor, weights_B: Tensor | None = None
    ) -> Tensor:
        """Return the loss, one number."""
        ...


def bce(logits_BA: Tensor, targets_BA: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """Return binary cross-entropy, averaged over images and attributes."""
    # No test for NaN: it would wait for the device at every step.
    weights = (~targets_BA.isnan()).to(logits_BA.dtype)
    if weights_B is not None:
        weights = weights * weights_B[:, None]
    return functional.binary_cross_entropy_with_logits(logits_BA, targets_BA.nan_to_num(), weights)


def mse(logits_BA: Tensor, targets_BA: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """Return squared error of the sigmoid outputs, summed over attributes, averaged over images."""
    present_BA = torch.sigmoid(logits_BA)
    targets_BA = torch.where(targets_BA.isnan(), present_BA.detach(), targets_BA)
    errors_B = (present_BA - targets_BA).square().sum(dim=1)
    return (errors_B if weights_B is None else errors_B * weights_B).mean()


LOSSES: dict[str, Loss] = {"bce": bce, "mse": mse}
