"""Which cache of decoded images a run uses, and why: `--cache`, in one line for a person."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from celebattr.data import cache
from celebattr.data.cache import ABOUT, FRAME_BYTES
from celebattr.data.dataset import FaceDataset
from celebattr.data.image_stores import Distant
from celebattr.errors import DataError

_MEMORY_SHARE = 4
_DISK_SHARE = 2

log = logging.getLogger(__name__)


def attach(
    dataset: FaceDataset,
    parts: Sequence[FaceDataset],
    *,
    mode: str,
    folder: Path | None,
    fast: bool,
    processes: int = 1,
) -> tuple[list[FaceDataset], str]:
    """Gives parts of a data set a cache.

    Args:
        dataset: as loaded.
        parts: what of it will be read.
        mode: auto, ram, disk or off.
        folder: of caches; without it, the user's.
        fast: whether what reads them is faster than a core decodes, as a GPU is.
        processes: how many will each do the same on this machine.

    Returns:
        The parts, and which cache they have and why.
    """
    folder = folder or cache.default_folder()
    if mode == "auto":
        mode, why = choose(dataset, parts, folder=folder, fast=fast, processes=processes)
    else:
        why = "as asked"
    count, memory = sum(map(len, parts)), free_memory()
    if mode == "ram" and memory is not None and count * FRAME_BYTES > memory:
        mode, why = (
            "off",
            f"{_size(count)} do not fit into {memory / 1e9:.1f} GB of free memory",
        )
    try:
        if mode == "ram":
            kept = cache.in_memory(parts)
            parts = [replace(part, frames=kept) for part in parts]
            return list(parts), f"ram, {_size(count)}: {why}"
        if mode == "disk":
            frames = cache.on_disk(dataset, folder)
            there = sum(map(len, frames))
            parts = [replace(part, frames=frames) for part in parts]
            line = f"disk, {folder}, {there:,} images are there: {why}"
            old = cache.others(folder, frames)
            if old:
                line += f"; of earlier versions of the data, may be deleted: {', '.join(old)}"
            return list(parts), line
    except (MemoryError, DataError) as error:
        return list(parts), f"off: {' '.join(str(error).split()) or 'not enough memory'}"
    return list(parts), f"off: {why}"


def choose(
    dataset: FaceDataset,
    parts: Sequence[FaceDataset],
    *,
    folder: Path,
    fast: bool,
    processes: int = 1,
) -> tuple[str, str]:
    """What --cache auto stands for, ram, disk or off, and why. See docs/data.md."""
    if _is_begun(dataset, folder):
        return "disk", "an earlier run or `celebattr pack` left it"
    if not fast and not any(isinstance(store, Distant) for store in dataset.stores):
        return "off", "on a CPU decoding is a small part of the work"
    need = sum(map(len, parts)) * FRAME_BYTES
    memory = free_memory()
    if memory is not None and need * processes <= memory / _MEMORY_SHARE:
        return "ram", f"it takes less than a quarter of the {memory / 1e9:.1f} GB free"
    room = free_room(folder)
    if need <= room / _DISK_SHARE:
        return "disk", f"too much for memory, and less than half of the {room / 1e9:.0f} GB free"
    return "off", f"{need / 1e9:.1f} GB is too much for memory and disk"


def _is_begun(dataset: FaceDataset, folder: Path) -> bool:
    """Whether there is a cache of these very images, of one store at least."""
    if not folder.is_dir():
        return False
    try:
        keys = [cache.key(dataset, number) for number in range(len(dataset.stores))]
    except DataError:
        return False
    return any((folder / key / ABOUT).is_file() for key in keys)


def free_memory() -> int | None:
    """Bytes that a program can still take without others being swapped out; None if unknown.

    Within a container, what its limit leaves.
    """
    found = []
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                found.append(int(value.split()[0]) * 1024)
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        if most != "max":
            found.append(int(most) - int((group / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError, IndexError):
        pass
    if not found and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(min(found), 0) if found else None


def free_room(folder: Path) -> int:
    """Bytes free on the disk where a folder is, or would be."""
    there = next((p for p in (folder, *folder.absolute().parents) if p.is_dir()), None)
    return shutil.disk_usage(there).free if there is not None else 0


def _size(count: int) -> str:
    return f"{count:,} images, {count * FRAME_BYTES / 1e9:.1f} GB"
