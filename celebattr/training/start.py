"""The network a run starts from, and what it says about where that came from."""

from __future__ import annotations

from typing import Any

import torch

from celebattr import weights
from celebattr.data.dataset import FaceDataset
from celebattr.errors import UsageError
from celebattr.models import bundle, pretrained, registry
from celebattr.models.network import Network
from celebattr.models.spec import ModelSpec
from celebattr.options import parse_widths
from celebattr.training.callbacks import Listener
from celebattr.training.config import TrainConfig
from celebattr.training.distributed import World


def start(
    config: TrainConfig, train_set: FaceDataset, listener: Listener, world: World
) -> tuple[Network, Any]:
    """Builds the network of a run and loads its starting weights.

    Of several processes the first alone loads them; the others get its own.

    Returns:
        The network, and what its card says of its start: "none", "imagenet", a file's name, or the
        data that a bundle was trained on.

    Raises:
        UsageError: the architecture cannot be built so, or has no such start.
        WeightsError: the starting weights are missing or do not fit.
    """
    attributes, source = train_set.attributes, config.backbone_weights
    assert source is not None
    assert config.head is not None
    spec = ModelSpec(
        config.arch,
        len(attributes),
        parse_widths(config.head),
        config.dropout or 0.0,
        config.activation,
        config.size_at(0),
        config.output_stride,
    )
    network = registry.build(spec)
    network.set_prior(torch.from_numpy(train_set.targets_NA.mean(axis=0)))
    origin: Any = source
    if source == "none" or not world.first:
        return network, origin
    if source == "imagenet":
        if registry.row(config.arch).start != "imagenet":
            raise UsageError(f"there are no ImageNet weights of {config.arch}: leave them out")
        # A resumed run has its weights in the checkpoint; it need not be online again.
        if config.resume:
            return network, origin
        tensors, where = pretrained.imagenet(config.arch), "ImageNet weights"
    else:
        path = weights.bundle_file(source)
        data = bundle.read(path)
        tensors, where = bundle.tensors_in(data, path), str(path)
        origin = path.name
        if bundle.METADATA_KEY in bundle.safetensors_metadata(data, where):
            card = bundle.card_in(data, path)
            origin = {"bundle": card.name, **card.trained_on}
            if card.attributes != attributes:
                tensors = {n: t for n, t in tensors.items() if not n.startswith("head.")}
    loaded = pretrained.load_into(network, tensors, where)
    listener.notice(f"start      {loaded} of {where}")
    return network, origin
