"""Defaults that depend on architecture, data and device.

docs/accuracy.md and docs/experiments.md say what these rest on.
"""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

from celebattr.errors import DataError, UsageError, reason
from celebattr.io import schema
from celebattr.models import registry
from celebattr.training.config import TrainConfig, parse_sizes

SEEN_IMAGES = 240_000
"""Images that a run should see over all epochs, so that a small data set gets more epochs."""

EPOCHS = (5, 12)
"""Fewest and most epochs. After about as many, a network memorises the labels' noise."""

SIZES = "80x64,128x104"
"""Image sizes on a CPU, small first: a step costs half, and early epochs need no detail."""

BATCH_SIZE, WARMUP, EMA = 64, 0.15, 0.998
HEAD_LR = 1e-3
PLAIN_LR = {"sgd": 0.001, "gd": 0.005}
"""Learning rate of the optimisers that do not scale a step by the gradients before it. The linear
model, with its 12,288 inputs, diverges at 0.02 and 0.2."""

GPU_IMAGES = 20_000
"""Training images from which on a GPU gets `ON_GPU`: small batches leave it waiting."""

ON_GPU: dict[str, Any] = {
    "batch_size": 256,
    "lr": 6e-4,
    "head_lr": 2e-3,
    "warmup": 0.1,
    "ema": 0.995,
}
"""A ResNet's settings on a GPU, of the runs on an H200 that the shipped weights began with
(docs/experiments.md). Fewer steps an epoch: so the average of the weights is shorter."""

_AUGMENTATION = (
    *("mixup", "erasing", "cut_margins", "noise", "grey", "low_resolution", "recompress", "dark"),
)
OPEN = (
    *("epochs", "image_size", "batch_size", "backbone_weights", "lr", "head_lr", "warmup", "ema"),
    *("head", "dropout", *_AUGMENTATION),
)
"""Settings that are decided here where they are not given."""


def complete(config: TrainConfig, images: int, device: str) -> TrainConfig:
    """Return the settings with every open one decided.

    A run that is resumed keeps what it began with.

    Args:
        config: what the command line says; None leaves a setting open.
        images: how many train.
        device: cpu, cuda, cuda:1, mps.

    Raises:
        UsageError: the architecture is not known, or does not go with the image sizes.
        DataError: the config.json of a run to resume is damaged.
    """
    low, high = EPOCHS if device == "cpu" else (8, EPOCHS[1])
    row = registry.row(config.arch)
    chosen: dict[str, Any] = {
        "epochs": min(max(round(SEEN_IMAGES / images), low), high),
        "image_size": row.image_size or (SIZES if device == "cpu" else SIZES.split(",")[-1]),
        "batch_size": BATCH_SIZE,
        "backbone_weights": row.start,
        "lr": row.lr,
        "head_lr": HEAD_LR,
        "warmup": WARMUP,
        "ema": EMA,
        "head": row.head,
        "dropout": row.dropout,
        **{name: row.augmentation.get(name, 0.0) for name in _AUGMENTATION},
    }
    if device != "cpu" and images >= GPU_IMAGES and row.start != "none":
        chosen |= ON_GPU
    if config.optimizer in PLAIN_LR:
        chosen["lr"] = PLAIN_LR[config.optimizer]
        chosen["head_lr"] = config.lr or chosen["lr"]
    begun = config.output / "config.json"
    if config.resume and begun.is_file():
        chosen |= _begun(begun)
    given = {name: getattr(config, name) for name in OPEN}
    decided = {name: chosen[name] if value is None else value for name, value in given.items()}
    if row.fixed and len(parse_sizes(decided["image_size"])) > 1:
        raise UsageError(f"--arch {config.arch} is made for one image size: give one")
    return dataclasses.replace(config, **decided)


def _begun(path: Path) -> dict[str, Any]:
    """Return the open settings of a run that began, from its config.json.

    Raises:
        DataError: it is damaged.
    """
    hints = typing.get_type_hints(TrainConfig)
    try:
        was = schema.json_object(path.read_bytes())
        chosen = {name: was.get(name, 0.0) for name in OPEN}  # an older version lacks some: off
        for name, value in chosen.items():
            if value is None:
                raise ValueError(f"{name!r} is open")
            schema.check(name, value, hints[name])
        dataclasses.replace(TrainConfig(), **chosen)
    except (OSError, ValueError, UsageError) as error:
        raise DataError(f"{path} is damaged ({reason(error)}): start another run") from error
    return chosen
