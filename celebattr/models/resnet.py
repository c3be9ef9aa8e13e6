"""ResNets from torchvision with their fully-connected layer replaced.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.

PyPI's torchvision does not import beside a CPU-only torch: its C extension needs CUDA's libraries,
fails to load without a word, and the Python code then describes two operators that nothing has
declared ("operator torchvision::nms does not exist"). They merge boxes and are not used here, so
declaring their signatures is enough.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from torch import nn

from celebattr.errors import MissingExtraError
from celebattr.models.network import Network
from celebattr.models.spec import ModelSpec

WIDTHS = {"resnet50slim": ("resnet50", 32)}
"""Torchvision's name of an architecture with narrower blocks, and the channels that the 3x3
convolutions of its first stage have: 64, and twice as many in each further stage, otherwise."""


def build(spec: ModelSpec) -> Network:
    """Build a ResNet without its ImageNet classifier, and a new head on its pooled features."""
    # Dilated filters see the same pixels as those of the halved map, only at more places, so that
    # weights trained with one stride serve the other.
    dilation = [False, spec.output_stride == 8, spec.output_stride < 32]
    make, width = WIDTHS.get(spec.arch, (spec.arch, 64))
    backbone = getattr(torchvision_models, make)(
        weights=None, width_per_group=width, replace_stride_with_dilation=dilation
    )
    features = int(backbone.fc.in_features)
    backbone.fc = nn.Identity()
    first = [backbone.conv1, backbone.bn1, backbone.layer1]
    parts = (first, [backbone.layer2], [backbone.layer3], [backbone.layer4])
    return Network(spec, backbone, features, stages=[*map(nn.ModuleList, parts)], at_corner=True)


_SIGNATURES: tuple[str, ...] = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Signatures from torchvision/csrc/ops/nms.cpp and quantized/cpu/qnms_kernel.cpp."""

_libraries: list[object] = []
"""References that keep the declarations alive: an operator goes with its library."""


def import_torchvision() -> ModuleType:
    """Import torchvision, declaring its two missing operators if the import fails.

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
