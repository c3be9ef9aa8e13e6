"""ResNets from torchvision with their fully-connected layer replaced.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

from torch import nn

from celebattr.models._torchvision import torchvision_models
from celebattr.models.network import Network
from celebattr.models.spec import ModelSpec

WIDTHS = {"resnet50slim": ("resnet50", 32)}
"""Which of torchvision's an architecture is with narrower blocks, and the channels that the 3x3
convolutions of its first stage have: 64, and twice as many in each further stage, otherwise."""


def build(spec: ModelSpec) -> Network:
    """A ResNet without its ImageNet classifier, and a new head on its pooled features."""
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
