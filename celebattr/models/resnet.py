"""ResNets from torchvision with their fully-connected layer replaced.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

from torch import nn

from celebattr.models._torchvision import torchvision_models
from celebattr.models.catalog import ModelSpec
from celebattr.models.network import Network


def build(spec: ModelSpec) -> Network:
    """A ResNet without its ImageNet classifier, and a new head on its pooled features."""
    # Dilated filters see the same pixels as those of the halved map, only at more places, so that
    # weights trained with one stride serve the other.
    dilation = [False, spec.output_stride == 8, spec.output_stride < 32]
    make = getattr(torchvision_models, spec.arch)
    backbone = make(weights=None, replace_stride_with_dilation=dilation)
    features = int(backbone.fc.in_features)
    backbone.fc = nn.Identity()
    first = [backbone.conv1, backbone.bn1, backbone.layer1]
    parts = (first, [backbone.layer2], [backbone.layer3], [backbone.layer4])
    return Network(spec, backbone, features, stages=[*map(nn.ModuleList, parts)], at_corner=True)
