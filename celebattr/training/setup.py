"""Set-up of a run: data, device and settings, alike in all processes, and the starting network."""

from __future__ import annotations

import dataclasses
import itertools
import json
import platform
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from celebattr.data import duplicates
from celebattr.data.cache import attach_cache
from celebattr.data.dataset import FaceDataset, hold_out, leave_out_fold
from celebattr.data.faces import how, load_crops, usable
from celebattr.data.soft_labels import soften
from celebattr.errors import DataError, DeviceError, UsageError, counted
from celebattr.models import bundle, pretrained, registry, weights
from celebattr.models.device import DeviceChoice, resolve, resolve_one_of
from celebattr.models.network import Network
from celebattr.models.spec import ModelSpec
from celebattr.training import checkpoint
from celebattr.training.callbacks import Listener
from celebattr.training.config import TrainConfig, parse_widths
from celebattr.training.defaults import OPEN, complete
from celebattr.training.distributed import World


@dataclass(frozen=True)
class Beginning:
    """The decisions of a run that precede its network.

    Attributes:
        config: the settings, nothing left open.
        choice: device and precision.
        train_set: the training images.
        validation_set: the validation images.
        data: both, for a person.
    """

    config: TrainConfig
    choice: DeviceChoice
    train_set: FaceDataset
    validation_set: FaceDataset
    data: str


def begin(config: TrainConfig, listener: Listener, world: World) -> Beginning:
    """Read the lists, choose the device and decide the open settings.

    Raises:
        DataError: the data cannot be read, or has no train or validation rows; processes read
            different data.
        DeviceError: the device is not there, or is another in another process.
    """
    with world.propagate_errors():
        dataset, train_set, validation_set, lines = _read(config, listener)
        restarted = world.restarts > 0 and (config.output / checkpoint.NAME).exists()
        if world.size == 1:
            choice = resolve(config.device, config.precision)
        else:
            choice = resolve_one_of(
                config.device, config.precision, world.local_rank, world.local_size
            )
    if world.size > 1:
        _compare(choice, (train_set, validation_set), world)
    (train_set, validation_set), cache = attach_cache(
        dataset,
        (train_set, validation_set),
        mode=config.cache,
        folder=config.cache_folder,
        fast=choice.device != "cpu" or registry.row(config.arch).light or how(dataset) != "none",
        processes=world.local_size,
    )
    with world.propagate_errors():
        (train_set, validation_set), left_out = usable(
            (train_set, validation_set),
            skip_unreadable=config.skip_unreadable,
            workers=config.workers,
        )
        _refuse_empty(train_set, validation_set, config)
        if restarted and not config.resume:
            config = dataclasses.replace(config, resume=True)
            listener.notice(
                f"restarted  by torchrun, time {world.restarts}: continuing from the last "
                "checkpoint"
            )
        if world.is_main:
            config = complete(config, len(train_set), choice.device)
    # Rank 0 alone needs to see the run folder.
    decided = {name: getattr(config, name) for name in (*OPEN, "resume")}
    decided = json.loads(world.broadcast_bytes(json.dumps(decided).encode()))
    config = dataclasses.replace(config, **decided)
    listener.notice(f"device     {choice.reason}")
    listener.notice(f"data       {dataset.describe()}")
    for line in (*lines, *(f"           {line}" for line in left_out.lines())):
        listener.notice(line)
    listener.notice(f"cache      {cache}")
    listener.begin(config)
    used = (
        f"{dataset.summary}: {len(train_set):,} train, {len(validation_set):,} validation; "
        f"{counted(len(dataset.attributes), 'attribute')}"
    )
    return Beginning(config, choice, train_set, validation_set, used)


def _read(
    config: TrainConfig, listener: Listener
) -> tuple[FaceDataset, FaceDataset, FaceDataset, list[str]]:
    """Return the data set, its two parts that a run uses, and what was decided, line by line.

    Raises:
        DataError: the data cannot be read, a part is empty, or an attribute has no known label.
    """
    dataset, found = load_crops(config)
    if config.folds is not None and config.fold is not None:
        dataset, _ = leave_out_fold(
            dataset, config.fold, config.folds, seed=config.seed, limit=config.limit
        )
    dataset, held_out = hold_out(dataset, config.seed)
    train_set = soften(
        dataset.split("train", config.limit).share(config.train_share, config.seed),
        config.soft_labels,
        config.teacher_weight,
    )
    validation_set = dataset.split("validation", config.limit)
    _refuse_empty(train_set, validation_set, config)
    unknown = itertools.compress(train_set.attributes, np.isnan(train_set.shares_A))
    if lacking := ", ".join(unknown):
        raise DataError(f"no train image has a known label of {lacking}: see --attributes")
    if config.leave_out_repeats:
        train_set = _without_repeats(train_set, dataset, config.workers, listener)
    lines = [f"faces      {found}"]
    if held_out:
        lines.append(f"validation {held_out}")
    if constant := ", ".join(train_set.constant):
        lines.append(
            f"warning    the same in every training image, so not to be learnt: {constant}"
        )
    if unjudged := ", ".join(validation_set.constant):
        lines.append(
            f"warning    the same in every validation image, which cannot judge it: {unjudged}"
        )
    return dataset, train_set, validation_set, lines


def _refuse_empty(train_set: FaceDataset, validation_set: FaceDataset, config: TrainConfig) -> None:
    for name, part in (("train", train_set), ("validation", validation_set)):
        if len(part) == 0:
            raise DataError(f"no {name} images in {', '.join(map(str, config.data))}")


def _without_repeats(
    train_set: FaceDataset, dataset: FaceDataset, workers: int, listener: Listener
) -> FaceDataset:
    """Leave out training images whose picture is in another split too; report them."""
    others = [dataset.split(name) for name in ("validation", "test")]
    repeated_N = duplicates.repeats(train_set, others, workers=workers)
    count = int(repeated_N.sum())
    listener.notice(
        f"repeats    {count:,} training image{'s' if count != 1 else ''} left out: validation or "
        "test has the same picture under another name"
    )
    return train_set.take(np.flatnonzero(~repeated_N))


def _compare(choice: DeviceChoice, parts: tuple[FaceDataset, ...], world: World) -> None:
    """Refuse processes that would train on other data or with another arithmetic.

    Raises:
        DataError: a machine has other lists than rank 0's.
        DeviceError: a machine has another kind of device.
    """
    kind = f"{choice.device.partition(':')[0]} with {choice.precision}"
    images = f"{len(parts[0]):,} train and {len(parts[1]):,} validation images"
    own = [platform.node(), kind, images, checkpoint.digests(*parts)]
    first, *others = (json.loads(text) for text in world.texts(json.dumps(own)))
    for rank, other in enumerate(others, 1):
        if other[1] != first[1]:
            raise world.raise_on_main(
                DeviceError(
                    f"process 0 on {first[0]} trains on {first[1]}, process {rank} on {other[0]} "
                    f"on {other[1]}: give --device and --precision that all have"
                )
            )
        if other[2:] != first[2:]:
            raise world.raise_on_main(
                DataError(
                    f"process 0 on {first[0]} reads {first[2]}, process {rank} on {other[0]} "
                    f"{other[2]}, and they are not the same: give all machines the same data"
                )
            )


def start(
    config: TrainConfig, train_set: FaceDataset, listener: Listener, world: World
) -> tuple[Network, Any]:
    """Build the network of a run and load its starting weights.

    Of several processes rank 0 alone loads them, and sends them to the others.

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
    network.set_prior(torch.from_numpy(train_set.shares_A))
    origin: Any = source
    if source == "none" or not world.is_main:
        return network, origin
    if source == "imagenet":
        if registry.row(config.arch).start != "imagenet":
            raise UsageError(
                f"there are no ImageNet weights of {config.arch}: use --backbone-weights none"
            )
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
