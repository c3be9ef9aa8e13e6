"""The one door to torchvision, beside any torch. Importing this module imports both.

PyPI's torchvision does not import beside a CPU-only torch: its C extension needs CUDA's libraries,
fails to load without a word, and the Python code then describes two operators that nothing has
declared ("operator torchvision::nms does not exist"). We never call them (they merge boxes), so
declaring their signatures is enough.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from celebattr.errors import MissingExtraError

_SIGNATURES: tuple[str, ...] = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Source: torchvision/csrc/ops/nms.cpp and quantized/cpu/qnms_kernel.cpp."""

_libraries: list[object] = []
"""Keeps the declarations alive: an operator goes when its library is collected."""


def import_torchvision() -> ModuleType:
    """Imports torchvision, declaring its two missing operators where the plain import fails.

    Raises:
        MissingExtraError: torch or torchvision is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "torchvision"):
            raise
        raise MissingExtraError(error.name, "train") from error
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
    # What the failed import left behind is half-built: without it gone, the next import would
    # take torchvision's submodules from there.
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declare()
    return importlib.import_module("torchvision")


def _declare() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for signature in _SIGNATURES:
        name = signature.partition("(")[0]
        if not hasattr(torch.ops.torchvision, name):
            library.define(signature)  # type: ignore[no-untyped-call]
    _libraries.append(library)


torchvision_models: ModuleType = importlib.import_module(".models", import_torchvision().__name__)
"""The module `torchvision.models`."""
