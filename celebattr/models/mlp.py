"""The multi-layer perceptron on the flattened image: layer by layer, o = phi(s), s = W o + w0.

The image is laid flat: all rows of the red plane, then of the green, then of the blue.
"""

from __future__ import annotations

from torch import nn

from celebattr.errors import UsageError
from celebattr.models.network import Network
from celebattr.models.spec import ModelSpec


def build(spec: ModelSpec) -> Network:
    """Build hidden layers of the widths `spec.head` on the flattened image, and the last layer.

    Raises:
        UsageError: there is no hidden layer.
    """
    if not spec.head:
        raise UsageError("--arch mlp needs hidden layers, --head 512,256 for instance")
    height, width = spec.size
    return Network(spec, nn.Flatten(), 3 * height * width)
