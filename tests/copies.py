"""Count of what goes from the host to a device, for tests and benchmarks/views.py."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Copied(TorchDispatchMode):
    """Counts the bytes of tensors that are copied to another device."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and args[0].device != result.device:
            self.bytes += args[0].numel() * args[0].element_size()
        return result
