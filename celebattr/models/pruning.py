"""Channel pruning: start weights of a narrower network from a wider one.

Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, which ranks whole channels
by their weights and trains on without the least of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

NORM = ("weight", "bias", "running_mean", "running_var")


def narrow(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the least important channels inside bottleneck blocks, to a narrower width.

    Those go that pass on least: by the scale of their norm times the length of the weights that
    read them. The channels between blocks stay, so that all else still fits.

    Args:
        tensors: of a network, by name.
        like: of the narrower one.

    Returns:
        The tensors, those of the narrower blocks replaced.
    """
    kept = dict(tensors)
    for block in _bottlenecks(like):
        if any(f"{block}.{name}" not in tensors for name in _names()):
            continue  # whoever loads them says what is missing
        for i in (1, 2):
            wide = kept[f"{block}.conv{i}.weight"]
            room = len(like[f"{block}.conv{i}.weight"])
            if len(wide) <= room:
                continue
            reader = kept[f"{block}.conv{i + 1}.weight"]
            strength_C = (
                kept[f"{block}.bn{i}.weight"].float().abs()
                * reader.float().pow(2).sum(dim=(0, 2, 3)).sqrt()
            )
            best_C = strength_C.topk(room).indices.sort().values  # in their order
            kept[f"{block}.conv{i}.weight"] = wide[best_C]
            kept[f"{block}.conv{i + 1}.weight"] = reader[:, best_C]
            for name in NORM:
                kept[f"{block}.bn{i}.{name}"] = kept[f"{block}.bn{i}.{name}"][best_C]
    return kept


def _names() -> Iterable[str]:
    """Yield the names of a block's tensors that narrowing reads or changes."""
    yield from (f"conv{i}.weight" for i in (1, 2, 3))
    yield from (f"bn{i}.{name}" for i in (1, 2) for name in NORM)


def _bottlenecks(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the bottleneck blocks (three convolutions)."""
    end = ".conv3.weight"
    return [name.removesuffix(end) for name in tensors if name.endswith(end)]
