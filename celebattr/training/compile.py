"""Faster steps: torch.compile where it pays, and malloc settings that keep memory between steps."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from celebattr.errors import reason
from celebattr.training.callbacks import Listener

LEAST_STEPS = 15_000
"""Least steps of any image size to compile, some ten minutes of an H200: there it took 65 s, and
brought 6,700 to 7,000 images/s where 6,200 to 7,300 came without."""

SAID = 160
"""Most characters of a compiler's message, which can be pages long."""

Forward = Callable[[Tensor], Tensor]


def make_forward(
    network: nn.Module,
    wanted: str,
    *,
    device: str,
    processes: int,
    steps: int,
    batch_size: int,
    listener: Listener,
) -> Forward:
    """Return the function of a step: the network, compiled or not. Logs which, and why.

    Args:
        network: as `distributed.bind` gives it.
        wanted: `TrainConfig.compile`.
        device: cpu, cuda or mps.
        processes: of the run.
        steps: gradient steps of the image size that has the fewest.
        batch_size: images of a whole batch.
        listener: is told.
    """
    reasons = (
        (wanted == "off", "asked for"),
        (wanted == "on", ""),
        (device == "cpu", "on a CPU it takes longer than it brings"),
        (device != "cuda", f"not known to pay on {device}"),
        (processes > 1, "not known to pay with several processes"),
        (steps < LEAST_STEPS, f"{steps:,} steps of a size are too few to pay for it"),
    )
    why = next((reason for holds, reason in reasons if holds), "")
    says = f"off: {why}" if why else "on: first steps take a minute longer"
    listener.notice(f"compile    {says}")
    return network if why else Compiled(network, batch_size, listener)


class Compiled:
    """A network whose whole batches are compiled, once per image size.

    The last batch of an epoch has fewer images: it would be compiled for that alone, so it is not.
    """

    def __init__(self, network: nn.Module, batch_size: int, listener: Listener) -> None:
        self._network, self._batch_size, self._listener = network, batch_size, listener
        self._fast: Any = torch.compile(network, dynamic=False)

    def __call__(self, images_NCHW: Tensor) -> Tensor:
        """Return logits [N, A]."""
        from torch._dynamo.exc import TorchDynamoException

        if self._fast is not None and len(images_NCHW) == self._batch_size:
            try:
                logits: Tensor = self._fast(images_NCHW)
                return logits
            except TorchDynamoException as error:  # compiling is lazy: it fails at the first call
                self._listener.notice(f"compile    off: it failed ({reason(error, SAID)})")
                self._fast = None
        plain: Tensor = self._network(images_NCHW)
        return plain


def release(device: str) -> None:
    """Give freed memory back to the system, where it is needed for something else.

    The CPU's kernels are compiled as they are first used, into memory that is not malloc's.
    """
    if device == "cuda":
        torch.cuda.empty_cache()
    elif trim := _malloc("malloc_trim"):
        trim(0)


def _malloc(name: str) -> Any:
    """Return a function of glibc's malloc; None on other systems, and with musl."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


# Source: malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_TOP_PAD = 1 << 26


def keep_freed() -> bool:
    """Tell glibc's malloc to reuse large blocks instead of giving them back to the system.

    A step's feature maps are some hundred blocks of megabytes, and each that comes fresh from the
    system has its pages cleared one by one. ResNet50 at 128x104, 64 images, one core of a Xeon:
    14.4 images/s instead of 12.7, a third of the time in the system.

    Returns:
        Whether it was told; other systems and C libraries have no such call.
    """
    mallopt = _malloc("mallopt")
    if mallopt is None:
        return False
    import resource  # Windows has none

    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        # What malloc keeps nobody else gets, and 64 MiB would be set apart for each thread.
        mallopt(_M_ARENA_MAX, 1)
        return False
    # No block from mmap, which is unmapped when freed; the heap is never trimmed; and it grows by
    # 64 MiB at a time, so that it rarely asks the system at all.
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, _TOP_PAD))
    # A list, not a generator: a setting that is refused must not keep the others from being made.
    return all([mallopt(name, value) == 1 for name, value in settings])
