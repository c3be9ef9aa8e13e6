"""What a run does where the command line leaves it open: epochs, input size and batch size.

docs/accuracy.md and docs/experiments.md say what these rest on. The values for a GPU rest on what
others publish, not on runs of ours.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from celebattr.config import TrainConfig

SEEN_IMAGES = 240_000
"""Images that a run should see, over all epochs: fewer images are seen more often."""

EPOCHS = (5, 12)
"""At least and at most. After about as many, a network learns the labels' noise by heart."""

CPU_SIZES = "80x64,128x104"
GPU_SIZES = "128x104,176x144"
"""Small first: a step costs half, and half of the epochs need no detail."""

BATCH_SIZE = 64
OPEN = ("epochs", "image_size", "batch_size")


def complete(config: TrainConfig, images: int, device: str) -> TrainConfig:
    """The settings with nothing left open.

    A run that is resumed keeps what it began with.

    Args:
        config: what the command line says; None leaves a setting open.
        images: how many train.
        device: cpu, cuda, cuda:1, mps.
    """
    low, high = EPOCHS
    chosen: dict[str, Any] = {
        "epochs": min(max(round(SEEN_IMAGES / images), low), high),
        "image_size": CPU_SIZES if device == "cpu" else GPU_SIZES,
        "batch_size": BATCH_SIZE,
    }
    begun = config.out / "config.json"
    if config.resume and begun.is_file():
        chosen |= {k: v for k, v in json.loads(begun.read_text()).items() if k in OPEN}
    given = {name: getattr(config, name) for name in OPEN}
    decided = {name: chosen[name] if value is None else value for name, value in given.items()}
    return dataclasses.replace(config, **decided)
