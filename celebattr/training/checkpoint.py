"""`last.safetensors`: all state to resume a run bit for bit; tensors plus JSON, no pickle.

Fields by where they are kept:
    tensors    network.*, average.* (EMA), optimizer.<parameter>.<slot>
    metadata   `Progress` (epoch, batches done in it, sums of the epoch, history), the recipe and
               digests of the data, which --resume must meet again, and the sha256 of the file
               with its own 64 digits as zeros
Order, augmentation and dropout need no state: they are functions of (seed, epoch, index or step).
Batches are those of all processes together, so any number of processes can resume.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from celebattr.attributes import CELEBA
from celebattr.constants import VERSION
from celebattr.data import draws
from celebattr.data.dataset import FaceDataset
from celebattr.data.faces import how
from celebattr.data.layouts.load import TERMS
from celebattr.errors import DataError, UsageError, WeightsError, reason
from celebattr.io import schema
from celebattr.models import bundle, weights
from celebattr.models.card import NO_HASH, Card
from celebattr.models.preprocess import PreprocessSpec
from celebattr.training.config import TrainConfig, parse_widths

NAME = "last.safetensors"

_NUMBERED = re.compile(r"(^|/)\d{6}(\.\w+)?$")
"""Names of CelebA's images, wherever they come from."""


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        epoch: the epoch under way, from 0.
        batches: batches of it that are done.
        step: optimiser steps done in the whole run.
        loss_sum: training loss times images, summed over this epoch so far.
        images: images of this epoch so far.
        micro_batch: images per forward pass; less than the batch size after running out of
            memory.
        seconds: of training in this epoch so far.
        waited: those of them in which no batch was there yet.
        history: one row per finished epoch.
    """

    epoch: int = 0
    batches: int = 0
    step: int = 0
    loss_sum: float = 0.0
    images: int = 0
    micro_batch: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    scaler: dict[str, Any] = field(default_factory=dict)


def digests(train_set: FaceDataset, validation_set: FaceDataset) -> dict[str, Any]:
    """Return what tells the data of a run from others, for JSON, by words for a person."""

    def digest(*parts: bytes) -> str:
        return hashlib.sha256(b"".join(parts)).hexdigest()

    found: dict[str, Any] = {"attributes": list(train_set.attributes)}
    for name, part in (("training", train_set), ("validation", validation_set)):
        names = "\n".join(part.names).encode("utf-8", "surrogateescape")
        found[f"number of {name} images"] = len(part)
        found[f"names of the {name} images"] = digest(names)
        found[f"labels of the {name} images"] = digest(part.targets_NA.astype(np.float32).tobytes())
    return found


def write(
    folder: Path,
    progress: Progress,
    recipe: dict[str, Any],
    data: dict[str, Any],
    network: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write `last.safetensors`, atomically."""
    tensors: dict[str, Tensor] = {f"network.{n}": t for n, t in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{n}": t for n, t in average.state_dict().items()}
    # Slots by name: torch numbers parameters, and the numbers change with the groups.
    for name, parameter in network.named_parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{name}.{slot}"] = torch.as_tensor(value)
    state = {
        "progress": asdict(progress),
        "recipe": recipe,
        "data": data,
        "draws": draws.VERSION,
        "sha256": NO_HASH,
    }
    bundle.write_safetensors(folder / NAME, {"state": json.dumps(state)}, tensors)


def load(folder: Path) -> bytes:
    """Read the last checkpoint of a run folder.

    Raises:
        DataError: it cannot be read.
    """
    path = folder / NAME
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the checkpoint {path}: {error}") from error


def restore(
    data: bytes,
    path: Path,
    recipe: dict[str, Any],
    found: dict[str, Any],
    network: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Optimizer,
) -> Progress:
    """Restore a run from a checkpoint.

    Args:
        data: of `load`.
        path: where it was read from.
        recipe: of the run, which must be the checkpoint's.
        found: `digests` of its data, which must be the checkpoint's too.
        network: gets the weights.
        average: gets theirs, if there is one.
        optimizer: gets its slots.

    Raises:
        DataError: it is damaged, or is of other data.
        UsageError: it was made by another recipe, or with other draws.
    """
    try:
        state = schema.json_object(bundle.safetensors_metadata(data, str(path)).get("state", ""))
        if state.get("draws") != draws.VERSION:
            raise UsageError(
                f"{path} was made with the augmentation of another version of celebattr: finish "
                "the run with that version, or start a new one from its best epoch with "
                "--backbone-weights"
            )
        for name in ("progress", "recipe", "data"):
            schema.check(name, state.get(name), dict[str, Any])
        schema.check("sha256", state.get("sha256"), str)
        progress = schema.checked(Progress, state["progress"])
        for row in progress.history:
            schema.check("an epoch", row.get("epoch"), int)
            schema.check("a row of the history", row, dict[str, float | str | None])
        tensors = load_tensors(data)
    except (SafetensorError, WeightsError, ValueError) as error:
        raise DataError(f"cannot read the checkpoint {path}: {reason(error)}") from error
    if not bundle.intact(data, state["sha256"]):
        raise DataError(
            f"{path} is damaged: its sha256 is not the one in it. Start another run, from the best "
            f"epoch of this one with --backbone-weights {path.parent}"
        )
    # A checkpoint of an older version lacks newer options, which were at their defaults then.
    before = TrainConfig().recipe() | state["recipe"]
    changed = sorted(k for k in recipe if before[k] != recipe[k])
    if changed:
        was = ", ".join(f"{k} {before[k]} (now {recipe[k]})" for k in changed)
        remedy = "Use the same settings, or another --output"
        if changed == ["epochs"]:
            remedy = (
                f"To train on, start another run from it: --backbone-weights {path.parent} "
                "--output ANOTHER"
            )
        raise UsageError(f"{path} was created with different settings: {was}. {remedy}")
    was_found = state["data"]
    if odd := [name for name in found if found[name] != was_found.get(name)]:
        first = was_found.get(odd[0])
        was = "" if isinstance(first, str) else f" ({first}, now {found[odd[0]]})"
        raise DataError(
            f"{path} was made with other data: the {odd[0]} are others{was}. Use the same data, or "
            "another --output"
        )
    try:
        network.load_state_dict(_under("network.", tensors))
        if average is not None:
            average.load_state_dict(_under("average.", tensors))
    except RuntimeError as error:
        raise DataError(f"the checkpoint {path} is of another network: {reason(error)}") from error
    for name, parameter in network.named_parameters():
        slots = _under(f"optimizer.{name}.", tensors)
        if any(slot.shape not in (parameter.shape, ()) for slot in slots.values()):
            raise DataError(f"cannot read the checkpoint {path}: another shape of optimizer.{name}")
        if slots:
            optimizer.state[parameter] = {s: _beside(parameter, t) for s, t in slots.items()}
    return progress


def _beside(parameter: Tensor, slot: Tensor) -> Tensor:
    """Return a slot on its parameter's device and, if of its shape, in its layout.

    The fused optimiser walks both in the order of memory: channels-last filters beside averages in
    another order would be updated with each other's.
    """
    if slot.shape != parameter.shape:
        return slot.to(parameter.device)
    return torch.empty_like(parameter, dtype=slot.dtype, requires_grad=False).copy_(slot)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}


def terms(config: TrainConfig, train_set: FaceDataset, started_from: Any) -> dict[str, str]:
    """Return CelebA's terms, if its images or weights that saw them went into a network.

    A data set counts as CelebA's if it has numbered images and any of its attributes. Weights
    without a card may be anyone's, and count too.
    """
    if isinstance(started_from, dict):
        from_celeba = "terms" in started_from
    else:
        from_celeba = started_from not in ("none", "imagenet")
    cards = (bundle.card_of(weights.bundle_file(str(path))) for path in config.teacher)
    known = set(train_set.attributes) & set(CELEBA)
    images = known and any(_NUMBERED.search(name) for name in train_set.names)
    if images or from_celeba or any("terms" in card.trained_on for card in cards):
        return {"terms": TERMS}
    return {}


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
    """Build the card of a network after an epoch.

    Args:
        config: the run's settings, nothing left open.
        train_set: what it trained on.
        size: height and width of the input in pixels.
        scale: of the logits, one per attribute, fitted on validation.
        tally: `celebattr.models.decisions.counts` of validation.
        started_from: as `celebattr.training.setup.start` gives it.
        validation: figures on the validation split.
        epoch: the epoch's row of the history.
    """
    assert config.head is not None
    return Card(
        name=f"{config.arch}-{config.output.name}",
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
            "faces": how(train_set),
            **terms(config, train_set, started_from),
            "started_from": started_from,
        },
        training={
            **config.recipe(),
            "epoch": epoch["epoch"],
            "train_loss": epoch["train_loss"],
        },
        versions={
            "celebattr": VERSION,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
