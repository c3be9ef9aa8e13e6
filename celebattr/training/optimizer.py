"""Optimiser, learning rate as a pure function of the step, and the average of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from celebattr.errors import UsageError
from celebattr.models.network import Network

MOMENTUM = 0.9
"""Momentum of sgd."""


def lr_factor(step: int, steps: int, warmup: float, kind: str = "adamw") -> float:
    """Return the share of the peak learning rate at a step: linear warm-up, cosine to 0.

    For gd it is 1 throughout: w <- w - eta dE/dw.
    """
    if kind == "gd":
        return 1.0
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


def make_optimizer(
    network: Network, *, kind: str, lr: float, head_lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Build an optimiser with peaks for backbone and head; norms and biases undecayed.

    Each group keeps its peak in `group["peak"]`; `set_lr` scales it.

    Args:
        network: what it trains.
        kind: adamw, sgd, or gd, which is plain: no momentum and no decay.
        lr: peak of the backbone.
        head_lr: peak of the head.
        weight_decay: of matrices and filters.
    """
    groups = []
    for module, peak in ((network.backbone, lr), (network.head, head_lr)):
        parameters = list(module.parameters())
        # Vectors are norms and biases: decay would pull a norm's scale to 0 without regularising.
        decayed = [p for p in parameters if p.ndim > 1]
        plain = [p for p in parameters if p.ndim <= 1]
        groups.append({"params": decayed, "peak": peak, "weight_decay": weight_decay})
        groups.append({"params": plain, "peak": peak, "weight_decay": 0.0})
    groups = [g for g in groups if g["params"]]
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=lr, fused=True)  # one pass over all tensors
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM)
    return torch.optim.SGD([g | {"weight_decay": 0.0} for g in groups], lr=lr)


def set_lr(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set each group's learning rate to `share` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def train_mode(network: Network, freeze_backbone: bool, freeze_stages: int) -> None:
    """Set training mode; the norms of frozen stages keep their running statistics.

    Raises:
        UsageError: the backbone has not so many stages.
    """
    if freeze_stages > len(network.stages):
        has = f"{len(network.stages)} stages" if network.stages else "no stages"
        raise UsageError(f"--freeze-stages {freeze_stages}: {network.spec.arch} has {has}")
    network.train()
    for part in [network.backbone] if freeze_backbone else network.stages[:freeze_stages]:
        part.requires_grad_(False)
        part.eval()


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Return a moving average of a network, running statistics of its norms included.

    Early on a long average would still be the starting weights, so it lengthens with the updates:
    the decay after n of them is min(decay, (1 + n) / (10 + n)).
    """

    @torch.no_grad()
    def ema(averages: Any, currents: Any, count: Tensor | int) -> None:
        n = float(count)
        weight = 1.0 - min(decay, (1.0 + n) / (10.0 + n))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(list(averages), list(currents), weight)
        else:  # counters
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)

    return AveragedModel(network, multi_avg_fn=ema, use_buffers=True)
