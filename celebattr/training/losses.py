"""Losses by name.

Each takes logits [B, A], targets [B, A] in 0..1 or NaN where unknown and, where images count
differently, sample weights [B], of mean 1 over the training images. An unknown target adds nothing,
and the mean is over all: the pull of a label does not depend on which others are known, nor on how
a batch is cut into passes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from celebattr.training.config import parse_pos_weight


class Loss(Protocol):
    """The signature of a loss."""

    def __call__(
        self, logits_BA: Tensor, targets_BA: Tensor, weights_B: Tensor | None = None
    ) -> Tensor:
        """Return the loss, one number."""
        ...


def bce(
    logits_BA: Tensor,
    targets_BA: Tensor,
    weights_B: Tensor | None = None,
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return binary cross-entropy, averaged over images and attributes."""
    return functional.binary_cross_entropy_with_logits(
        logits_BA, targets_BA.nan_to_num(), _known(targets_BA, weights_B), pos_weight=pos_weight
    )


def focal(
    logits_BA: Tensor,
    targets_BA: Tensor,
    weights_B: Tensor | None = None,
    pos_weight: Tensor | None = None,
    *,
    gamma_pos: float = 2.0,
    gamma_neg: float = 2.0,
    clip: float = 0.0,
) -> Tensor:
    """Return the focal loss: cross-entropy in which what is right already counts less.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.

    Args:
        logits_BA: as in every loss, and so targets and weights.
        targets_BA: 0 to 1, or NaN.
        weights_B: of the images.
        pos_weight: factor of the part of positives, [A].
        gamma_pos: how much less, of positives; 0 is cross-entropy.
        gamma_neg: how much less, of negatives.
        clip: probability up to which a negative counts nothing.
    """
    p_BA = torch.sigmoid(logits_BA)
    present_BA = (1.0 - p_BA) ** gamma_pos * functional.logsigmoid(logits_BA)
    absent_BA = p_BA**gamma_neg * functional.logsigmoid(-logits_BA)
    if clip:
        shifted_BA = (p_BA - clip).clamp(min=0.0)
        absent_BA = shifted_BA**gamma_neg * torch.log1p(-shifted_BA)
    if pos_weight is not None:
        present_BA = pos_weight * present_BA
    mixed_BA = torch.lerp(absent_BA, present_BA, targets_BA.nan_to_num())
    return -(mixed_BA * _known(targets_BA, weights_B)).mean()


asymmetric: Loss = partial(focal, gamma_pos=1.0, gamma_neg=4.0, clip=0.05)
"""The asymmetric loss: easy negatives, of which rare attributes have most, count least.

Source: Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, with the
defaults of their program and of timm.
"""


def _known(targets_BA: Tensor, weights_B: Tensor | None) -> Tensor:
    """Return the weight of each target, 0 where it is unknown."""
    # No test for NaN: it would wait for the device at every step.
    weights_BA = (~targets_BA.isnan()).to(targets_BA.dtype)
    return weights_BA if weights_B is None else weights_BA * weights_B[:, None]


def mse(logits_BA: Tensor, targets_BA: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """Return squared error of the sigmoid outputs, summed over attributes, averaged over images."""
    present_BA = torch.sigmoid(logits_BA)
    targets_BA = torch.where(targets_BA.isnan(), present_BA.detach(), targets_BA)
    errors_B = (present_BA - targets_BA).square().sum(dim=1)
    return (errors_B if weights_B is None else errors_B * weights_B).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": bce,
    "mse": mse,
    "focal": focal,
    "asymmetric": asymmetric,
}

POS_WEIGHTS = (0.01, 100.0)
"""Bounds of --pos-weight auto: a handful of images must not outweigh all others."""


def make_loss(
    name: str,
    pos_weight: str | None,
    shares_A: NDArray[np.floating[Any]],
    device: torch.device | str = "cpu",
) -> Loss:
    """Return the loss of a run.

    Args:
        name: of `LOSSES`.
        pos_weight: None, a number, or "auto" for the negatives per positive of each attribute.
        shares_A: positives of the training images, 0 to 1, [A].
        device: of the logits.
    """
    if pos_weight is None:
        return LOSSES[name]
    low, high = POS_WEIGHTS
    shares = np.clip(shares_A, 1.0 / (1.0 + high), 1.0 / (1.0 + low))
    one = parse_pos_weight(pos_weight)
    weights_A = (1.0 - shares) / shares if one is None else np.full(len(shares_A), one)
    weights = torch.from_numpy(weights_A).float().to(device)
    return partial(LOSSES[name], pos_weight=weights)
