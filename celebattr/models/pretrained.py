"""Starting weights of a backbone: torchvision's ImageNet, or a wider network's, pruned."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor

from celebattr.errors import WeightsError
from celebattr.models.network import Network
from celebattr.models.resnet import torchvision_models


def imagenet(arch: str) -> dict[str, Tensor]:
    """Return torchvision's newest ImageNet weights of an architecture, downloaded once.

    Raises:
        WeightsError: there is no connection and the file is not in torch's folder.
    """
    weights = torchvision_models.get_model_weights(arch).DEFAULT
    try:
        # The name carries the start of the file's sha256, and the unpickler takes tensors only.
        # torch says on stdout what it downloads, and stdout is for data.
        with contextlib.redirect_stdout(sys.stderr):
            return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:
        name = Path(urlparse(weights.url).path).name
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"cannot download the ImageNet weights of {arch} ({error}). Put {name} "
            f"(from {weights.url}) into {folder}, or give --backbone-weights a .safetensors file "
            "or a celebattr bundle, or none to start at random"
        ) from error


def load_into(network: Network, tensors: dict[str, Tensor], where: str) -> str:
    """Copy backbone tensors, and the head's where it has the same shape, into a network.

    Takes torchvision's names (`layer1.0.conv1.weight`; its classifier `fc` is left out) or a
    bundle's (`backbone.layer1.0.conv1.weight`, `head.1.weight`). Blocks that are wider than the
    network's are pruned to its width.

    Returns:
        What was loaded, for a person.

    Raises:
        WeightsError: the tensors do not fit the backbone.
    """
    # A bundle of an mlp or of the linear model is all head.
    if not any(name.startswith(("backbone.", "head.")) for name in tensors):
        tensors = {f"backbone.{n}": t for n, t in tensors.items() if not n.startswith("fc.")}
    own = network.state_dict()
    given = {n: t for n, t in tensors.items() if n.startswith("backbone.")}
    backbone = narrow(given, own)
    head = {n: t for n, t in tensors.items() if n.startswith("head.")}
    wanted = {n for n in own if n.startswith("backbone.") and not n.endswith("num_batches_tracked")}
    missing = sorted(wanted - set(backbone))
    wrong = sorted(n for n, t in backbone.items() if n not in own or own[n].shape != t.shape)
    if missing or wrong:
        raise WeightsError(
            f"{where} does not fit the backbone of {network.spec.arch}: "
            f"{len(missing)} tensors missing {missing[:2]}, {len(wrong)} of another shape or name "
            f"{wrong[:2]}"
        )
    same_head = {n for n in own if n.startswith("head.")} == set(head) and all(
        own[n].shape == t.shape for n, t in head.items()
    )
    network.load_state_dict(backbone | (head if same_head else {}), strict=False)
    loaded = "backbone and head" if same_head else "backbone"
    pruned = any(len(given[n]) != len(t) for n, t in backbone.items() if t.ndim)
    return f"{loaded}, pruned to narrower blocks," if pruned else loaded


_NORM = ("weight", "bias", "running_mean", "running_var")


def narrow(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prune channels inside the bottleneck blocks of a network to the width of those of another.

    Those go that pass on least: by the scale of their norm times the length of the weights that
    read them. The channels between blocks stay, so that all else still fits.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, which ranks whole
    channels by their weights and trains on without the least of them.
    """
    kept, end = dict(tensors), ".conv3.weight"  # which only a bottleneck has
    for block in [name.removesuffix(end) for name in like if name.endswith(end)]:
        names = [f"conv{i}.weight" for i in (1, 2, 3)]
        names += [f"bn{i}.{name}" for i in (1, 2) for name in _NORM]
        if any(f"{block}.{name}" not in tensors for name in names):
            continue  # whoever loads them says what is missing
        for i in (1, 2):
            wide = kept[f"{block}.conv{i}.weight"]
            room = len(like[f"{block}.conv{i}.weight"])
            if len(wide) <= room:
                continue
            reader = kept[f"{block}.conv{i + 1}.weight"]
            length_C = reader.float().pow(2).sum(dim=(0, 2, 3)).sqrt()
            strength_C = kept[f"{block}.bn{i}.weight"].float().abs() * length_C
            best_C = strength_C.topk(room).indices.sort().values  # in their order
            kept[f"{block}.conv{i}.weight"] = wide[best_C]
            kept[f"{block}.conv{i + 1}.weight"] = reader[:, best_C]
            for name in _NORM:
                kept[f"{block}.bn{i}.{name}"] = kept[f"{block}.bn{i}.{name}"][best_C]
    return kept
