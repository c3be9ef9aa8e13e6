"""The exponential moving average of the weights (EMA): what is validated, kept and shipped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of a network that follows it, running statistics of its norms included.

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
