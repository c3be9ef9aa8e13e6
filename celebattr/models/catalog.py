"""The architectures: one row each, from which the choices, the contract tests and the docs derive.

To add one, write `models/x.py` with a `build(spec)` that returns a module with `backbone` and
`head`, and add a row. Nothing heavy is imported until a row is built.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celebattr.attributes import suggestion
from celebattr.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from celebattr.models.network import Network


@dataclass(frozen=True)
class ModelSpec:
    """What rebuilds a network: architecture, outputs, and its fully-connected layers.

    Attributes:
        head: widths of the hidden fully-connected layers, none for a linear head.
        dropout: before each fully-connected layer.
    """

    arch: str
    attributes: int
    head: tuple[int, ...] = ()
    dropout: float = 0.0


@dataclass(frozen=True)
class Architecture:
    """A row: the module that builds it, and one line about it."""

    name: str
    module: str
    summary: str


CATALOG: dict[str, Architecture] = {
    row.name: row
    for row in (
        Architecture(
            "resnet50",
            "celebattr.models.resnet",
            "ResNet50 (He et al., CVPR 2016), its fully-connected layers made for attributes",
        ),
        Architecture(
            "resnet18",
            "celebattr.models.resnet",
            "ResNet18, the same with a quarter of the work",
        ),
    )
}


def names() -> tuple[str, ...]:
    """The names `--arch` takes."""
    return tuple(CATALOG)


def build(spec: ModelSpec) -> Network:
    """Builds a network with random weights.

    Raises:
        UsageError: there is no such architecture.
        MissingExtraError: torch is not installed.
    """
    row = CATALOG.get(spec.arch)
    if row is None:
        raise UsageError(
            f"unknown architecture {spec.arch!r}.{suggestion(spec.arch, CATALOG)} "
            f"Known: {', '.join(CATALOG)}"
        )
    try:
        module = importlib.import_module(row.module)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "torchvision"):
            raise MissingExtraError(str(error.name), "train") from error
        raise
    network: Network = module.build(spec)
    return network
