"""Packing of a data set as tar shards, or as a cache of its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from celebattr.constants import SPLITS, Progress
from celebattr.data import cache, loader
from celebattr.data.cache import attach_cache
from celebattr.data.dataset import FaceDataset
from celebattr.data.faces import how, load_crops, usable
from celebattr.data.shards.config import PackConfig
from celebattr.data.shards.index import MANIFEST
from celebattr.data.shards.writer import write
from celebattr.errors import DataError, counted
from celebattr.io.files import free_room, refuse_existing
from celebattr.io.folder import folder_at
from celebattr.options import Location

_BATCH = 32


def run(config: PackConfig, progress: Progress = lambda done, total: None) -> tuple[Location, str]:
    """Pack the data sets of a config.

    Returns:
        Where it lies, and what was done, for a person.

    Raises:
        DataError: the data cannot be read, or what is packed cannot be written or is there.
        MissingExtraError, DeviceError, UsageError: see `celebattr.io.folder.folder_at`.
    """
    files = None if config.format == "cache" else folder_at(config.output or "")
    if files is not None:
        refuse_existing(files.path, not config.overwrite and files.exists(MANIFEST))
    dataset, found = load_crops(config)
    rows = [np.flatnonzero(dataset.splits_N == split)[: config.limit] for split in SPLITS.values()]
    part = dataset.take(np.concatenate(rows))
    if files is None:
        folder = Path(config.output) if config.output is not None else cache.default_folder()
        filled = _fill(dataset, part, folder, config, progress)
        return folder, "\n".join([f"faces: {found}", *filled])
    if how(part) != "none":  # or each photo would be aligned twice: here, and as it is written
        (part,), _ = attach_cache(dataset, (part,), mode="auto", folder=None, fast=True)
    (part,), left_out = usable(
        (part,), skip_unreadable=config.skip_unreadable, workers=config.workers
    )
    done = write(
        part,
        files,
        shard_bytes=config.shard_size << 20,
        shard_images=config.shard_images,
        workers=config.workers,
        progress=progress,
        overwrite=config.overwrite,
    )
    told = (
        f"{counted(done.images, 'image')}, {done.bytes / 1e6:,.1f} MB in "
        f"{counted(done.written + done.kept, 'shard')}, of which {done.kept:,} were there"
    )
    return files.path, "\n".join([f"faces: {found}", *left_out.lines(), told])


def _fill(
    dataset: FaceDataset, part: FaceDataset, folder: Path, config: PackConfig, progress: Progress
) -> list[str]:
    """Read every image once through the cache on disk.

    Raises:
        DataError: an image cannot be read, or there is no room for all of them.
    """
    caches = cache.on_disk(dataset, folder)
    need = max(len(part) - sum(map(len, caches)), 0) * cache.CROP_BYTES
    room = free_room(folder)
    if need > room:
        raise DataError(
            f"{folder} has room for {room / 1e9:.1f} GB and the images take {need / 1e9:.1f}: free "
            "some space, or give --output on another disk"
        )
    (cached,), _ = attach_cache(dataset, (part,), mode="disk", folder=folder, fast=True)
    (cached,), left_out = usable(
        (cached,), skip_unreadable=config.skip_unreadable, workers=config.workers
    )
    rows_N, done = np.arange(len(cached)), 0
    for batch in loader.batches(cached, rows_N, batch_size=_BATCH, workers=config.workers):
        done += len(batch.indices_B)
        progress(done, len(cached))
    there = sum(map(len, caches))
    if there < len(cached):
        raise DataError(
            f"{folder} holds {there:,} of {counted(len(cached), 'image')}: see above for why"
        )
    size = there * cache.CROP_BYTES / 1e6
    return [*left_out.lines(), f"{counted(there, 'image')}, {size:,.1f} MB, in {folder}"]
