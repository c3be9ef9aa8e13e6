"""What a run begins with: data, device and settings, the same in all its processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from dataclasses import dataclass

import numpy as np

from celebattr.config.train import TrainConfig
from celebattr.data import cache_choice, celeba
from celebattr.data.dataset import FaceDataset
from celebattr.data.soft_labels import soften
from celebattr.device import DeviceChoice, resolve, resolve_one_of
from celebattr.doctor import pictures
from celebattr.errors import DataError, DeviceError
from celebattr.models import catalog
from celebattr.training import checkpoint, record
from celebattr.training.distributed import World
from celebattr.training.listener import Listener
from celebattr.training.recipe import OPEN, complete


@dataclass(frozen=True)
class Beginning:
    """What is decided before there is a network.

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
    """Reads the lists, chooses the device and decides what the command line leaves open.

    Raises:
        DataError: the data cannot be read, or has no train or validation rows; the run folder holds
            a run; processes read different data.
        DeviceError: the device is not there, or is another in another process.
        MissingExtraError: TensorBoard is asked for and not installed.
    """
    with world.together():
        if config.tensorboard:
            record.summary_writer()  # before any work: it may not be installed
        dataset = celeba.load(config.data, skip_missing=config.skip_missing)
        train_set = soften(
            dataset.split("train", config.limit).share(config.train_share, config.seed),
            config.soft_labels,
            config.teacher_weight,
        )
        validation_set = dataset.split("validation", config.limit)
        for name, part in (("train", train_set), ("validation", validation_set)):
            if len(part) == 0:
                raise DataError(f"no {name} images in {', '.join(map(str, config.data))}")
        if config.leave_out_repeats:
            train_set = _without_repeats(train_set, dataset, config.workers, listener)
        restarted = world.restarts > 0 and (config.out / checkpoint.NAME).exists()
        if not (config.resume or restarted) and (config.out / checkpoint.NAME).exists():
            raise DataError(
                f"{config.out} already holds a run: give --resume to go on, or another --out"
            )
        if world.size == 1:
            choice = resolve(config.device, config.precision)
        else:
            choice = resolve_one_of(
                config.device, config.precision, world.local_rank, world.local_size
            )
    if world.size > 1:
        _compare(choice, (train_set, validation_set), world)
    (train_set, validation_set), cache = cache_choice.attach(
        dataset,
        (train_set, validation_set),
        mode=config.cache,
        folder=config.cache_folder,
        fast=choice.device != "cpu" or catalog.row(config.arch).light,
        processes=world.local_size,
    )
    with world.together():
        if restarted and not config.resume:
            config = dataclasses.replace(config, resume=True)
            listener.notice(f"restarted  by torchrun, time {world.restarts}: going on by itself")
        if world.first:
            config = complete(config, len(train_set), choice.device)
    # The first process alone needs to see the run folder.
    decided = {name: getattr(config, name) for name in (*OPEN, "resume")}
    decided = json.loads(world.share(json.dumps(decided).encode()))
    config = dataclasses.replace(config, **decided)
    listener.notice(f"device     {choice.reason}")
    listener.notice(f"data       {dataset.describe()}")
    listener.notice(f"cache      {cache}")
    listener.begin(config)
    return Beginning(config, choice, train_set, validation_set, dataset.describe())


def _without_repeats(
    train_set: FaceDataset, dataset: FaceDataset, workers: int, listener: Listener
) -> FaceDataset:
    """Leaves out training images whose picture is in another split too; tells how many."""
    others = [dataset.split(name) for name in ("validation", "test")]
    repeated_N = pictures.repeats(train_set, others, workers=workers)
    count = int(repeated_N.sum())
    listener.notice(
        f"repeats    {count:,} training image{'s' if count != 1 else ''} left out: validation or "
        "test has the same picture under another name"
    )
    return train_set.take(np.flatnonzero(~repeated_N))


def _compare(choice: DeviceChoice, parts: tuple[FaceDataset, ...], world: World) -> None:
    """Refuses processes that would train on other data or with another arithmetic.

    Raises:
        DataError: a machine has other lists than the first.
        DeviceError: a machine has another kind of device.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update("\n".join(part.names).encode("utf-8", "surrogateescape"))
        digest.update(part.targets_NA.tobytes())
    kind = f"{choice.device.partition(':')[0]} with {choice.precision}"
    images = f"{len(parts[0]):,} train and {len(parts[1]):,} validation images"
    own = [platform.node(), kind, images, digest.hexdigest()]
    first, *others = (json.loads(text) for text in world.texts(json.dumps(own)))
    for rank, other in enumerate(others, 1):
        if other[1] != first[1]:
            raise world.one_voice(
                DeviceError(
                    f"process 0 on {first[0]} trains on {first[1]}, process {rank} on {other[0]} "
                    f"on {other[1]}: give --device and --precision that all have"
                )
            )
        if other[2:] != first[2:]:
            raise world.one_voice(
                DataError(
                    f"process 0 on {first[0]} reads {first[2]}, process {rank} on {other[0]} "
                    f"{other[2]}, and they are not the same: give all machines the same data"
                )
            )
