"""What a run says in the card of the bundle that it keeps."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from celebattr import __version__
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import TERMS
from celebattr.models.card import Card
from celebattr.models.preprocess import PreprocessSpec
from celebattr.options import parse_widths
from celebattr.training.config import TrainConfig


def make_card(
    config: TrainConfig,
    train_set: FaceDataset,
    *,
    size: tuple[int, int],
    scale: NDArray[np.float64],
    tally: NDArray[np.int64],
    started_from: Any,
    validation: dict[str, Any],
    epoch: dict[str, Any],
) -> Card:
    """The card of a network after an epoch.

    Args:
        config: the run's settings, nothing left open.
        train_set: what it trained on.
        size: height and width of the input in pixels.
        scale: of the logits, one an attribute, fitted on validation.
        tally: `celebattr.models.decisions.counts` of validation.
        started_from: as `celebattr.training.start.start` gives it.
        validation: figures on the validation split.
        epoch: the epoch's row of the history.
    """
    assert config.head is not None
    return Card(
        name=f"{config.arch}-{config.out.name}",
        arch=config.arch,
        attributes=train_set.attributes,
        preprocess=PreprocessSpec(size).to_dict(),
        head=parse_widths(config.head),
        dropout=config.dropout or 0.0,
        activation=config.activation,
        output_stride=config.output_stride,
        scale=tuple(round(float(s), 5) for s in scale),
        counts=tally.tolist(),
        metrics={"validation": validation},
        trained_on={
            "data": train_set.summary,
            "images": len(train_set),
            "terms": TERMS,
            "started_from": started_from,
        },
        training={
            **config.recipe(),
            "epoch": epoch["epoch"],
            "train_loss": epoch["train_loss"],
        },
        versions={
            "celebattr": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
