"""The linear model: each logit is w0 plus the weighted sum of all pixels.

The image is laid flat: all rows of the red plane, then of the green, then of the blue.
"""

from __future__ import annotations

from torch import nn

from celebattr.errors import UsageError
from celebattr.models.network import Network
from celebattr.models.spec import ModelSpec


def build(spec: ModelSpec) -> Network:
    """Build one fully-connected layer on the flattened image.

    Raises:
        UsageError: hidden layers are asked for.
    """
    if spec.head:
        raise UsageError("--arch linear has no hidden layers: --arch mlp takes --head 512,256")
    height, width = spec.size
    return Network(spec, nn.Flatten(), 3 * height * width)
