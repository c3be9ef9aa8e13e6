"""Cache of decoded images: uint8 crops in memory, or in a memory-mapped file.

The file is filled as images are first read, by any process. Beside the crops lies
a word per image: 0, or the CRC-32 of its crop, written after it. A crop counts when its word fits,
so whatever a killed program, a full disk or a power failure leaves is decoded again and never taken
for an image. Programs that fill one file at the same time write the same bytes.

Its folder is named after a digest of what decides the pixels: names and order of the images, what
their store tells of their bytes (`Store.content`: checksums, or sizes and times), and the versions
of the decoders. Change an image, and it is another cache.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import __version__ as PILLOW
from PIL import features

from celebattr.constants import CROP_SIZE
from celebattr.data.dataset import FaceDataset
from celebattr.data.image_stores import Distant, digest
from celebattr.errors import DataError, counted, reason
from celebattr.io.files import free_room, output_error, reporting, write_text

VERSION = 1
"""Version of decoding and aligning, and of the files here."""

CROP_BYTES = math.prod(CROP_SIZE) * 3
FRAMES, WORDS, ABOUT = "frames.u8", "filled.u4", "about.json"

_SHAPE = (*CROP_SIZE, 3)
_TAG = (  # tells programs for backups that this can be made again: bford.info/cachedir
    "Signature: 8a477f597d28d172789f06886806bc55\n# Decoded images, by celebattr: may be deleted.\n"
)

log = logging.getLogger(__name__)


def default_folder() -> Path:
    """Return the folder CELEBATTR_CACHE, else celebattr/ in the user's folder of caches."""
    named = os.environ.get("CELEBATTR_CACHE")
    if named:
        return Path(named)
    if os.name == "nt":
        root = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData/Local")
    else:
        root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "celebattr"


class MemoryCache:
    """Crops in memory, of the named images.

    Raises:
        MemoryError: there is not enough.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._row = {name: row for row, name in enumerate(names)}
        self._crops_NHWC = np.empty((len(names), *_SHAPE), np.uint8)
        self._shown_NHWC = self._crops_NHWC.view()
        self._shown_NHWC.flags.writeable = False
        self._filled_N = np.zeros(len(names), np.bool_)

    def get(self, name: str) -> NDArray[np.uint8] | None:
        """Return a crop, or None if it is not there."""
        row = self._row.get(name)
        return None if row is None or not self._filled_N[row] else self._shown_NHWC[row]

    def put(self, name: str, crop_HWC: NDArray[np.uint8]) -> None:
        """Keep a crop."""
        row = self._row.get(name)
        if row is not None:
            self._crops_NHWC[row] = crop_HWC
            self._filled_N[row] = True


class DiskCache:
    """Crops in a file, with a place for each named image.

    Args:
        folder: of this cache alone; made if it is not there.
        names: of all images of a store that a data set has.
        about: where the images lie, for a person who finds the folder.

    Raises:
        DataError: the folder cannot be made.
    """

    def __init__(self, folder: Path, names: Sequence[str], about: str) -> None:
        self.folder = folder
        self._row = {name: row for row, name in enumerate(names)}
        count = max(len(names), 1)  # nothing cannot be mapped
        with reporting(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, size in ((FRAMES, CROP_BYTES), (WORDS, 4)):
                # Of two programs that make it at once neither undoes what the other did.
                with (folder / name).open("ab") as file:
                    file.truncate(count * size)
        self.about = about
        values = {"version": VERSION, "images": len(names), "data": about, "frame": _SHAPE}
        write_text(folder / ABOUT, json.dumps(values, indent=1) + "\n")
        self._crops_NHWC = np.memmap(folder / FRAMES, np.uint8, "r", shape=(count, *_SHAPE))
        self._words_N = np.memmap(folder / WORDS, "<u4", "r", shape=(count,))
        self._verified_N = np.zeros(count, np.bool_)
        self._lock = threading.Lock()
        self._full = False

    def __len__(self) -> int:
        """Return the number of crops that are cached."""
        return int(np.count_nonzero(self._words_N))

    def get(self, name: str) -> NDArray[np.uint8] | None:
        """Return a crop, or None if it is not there or is not what was written."""
        row = self._row.get(name)
        if row is None or not self._words_N[row]:
            return None
        crop_HWC: NDArray[np.uint8] = self._crops_NHWC[row]
        if not self._verified_N[row]:
            if _word(crop_HWC) != self._words_N[row]:
                return None
            self._verified_N[row] = True
        return crop_HWC

    def put(self, name: str, crop_HWC: NDArray[np.uint8]) -> None:
        """Write a crop, then its word. On an error, log it once and write no more."""
        row = self._row.get(name)
        if row is None or self._full:
            return
        crop_HWC = np.ascontiguousarray(crop_HWC)
        word = np.array(_word(crop_HWC), "<u4").tobytes()
        try:
            with self._lock:
                # Not through the mapping: there a full disk would end the program.
                _write(self.folder / FRAMES, row * CROP_BYTES, crop_HWC.data.cast("B"))
                _write(self.folder / WORDS, row * 4, memoryview(word))
        except OSError as error:
            self._full = True
            log.warning(
                "The cache of decoded images holds %s and grows no more: %s The run continues and "
                "decodes what is missing.",
                f"{len(self):,}",
                output_error(self.folder, error),
            )


def _write(path: Path, offset: int, data: memoryview) -> None:
    # Opened again for each: no handle is shared by threads or processes, and it takes microseconds.
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        while data:
            data = data[file.write(data) :]


def _word(crop_HWC: NDArray[np.uint8]) -> int:
    return zlib.crc32(crop_HWC.data) or 1


def key(dataset: FaceDataset, number: int) -> str:
    """Return the name of the cache of a store's images: 24 hexadecimal digits.

    Raises:
        DataError: an image is not there any more.
    """
    store, names = dataset.stores[number], names_of(dataset, number)
    libraries = ("jpg", "libjpeg_turbo", "zlib", "libtiff", "webp")
    decoders = [f"{name} {features.version(name)}" for name in libraries]
    return digest([VERSION, PILLOW, *decoders, store.content(names), *names])[:24]


def names_of(dataset: FaceDataset, number: int) -> list[str]:
    """Return the images of a store that a data set has, in their order."""
    return [dataset.names[row] for row in np.flatnonzero(dataset.store_N == number)]


def on_disk(dataset: FaceDataset, folder: Path) -> tuple[DiskCache, ...]:
    """Return a cache per store of a data set, for all images, in a folder of caches.

    Raises:
        DataError: the folder cannot be written, or an image is not there any more.
    """
    with reporting(folder):
        folder.mkdir(parents=True, exist_ok=True)
    tag = folder / "CACHEDIR.TAG"
    if not tag.exists():
        write_text(tag, _TAG)
    return tuple(
        DiskCache(folder / key(dataset, number), names_of(dataset, number), str(store.path))
        for number, store in enumerate(dataset.stores)
    )


def others(folder: Path, caches: Sequence[DiskCache]) -> list[str]:
    """Return the names of stale caches of the same places as `caches`."""
    places, used = {one.about for one in caches}, {one.folder for one in caches}
    found = []
    for file in sorted(folder.glob(f"*/{ABOUT}")):
        try:
            about = json.loads(file.read_text(encoding="utf-8"))["data"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if about in places and file.parent not in used:
            found.append(file.parent.name)
    return found


def in_memory(parts: Sequence[FaceDataset]) -> tuple[MemoryCache, ...]:
    """Return a cache per store, of the images of some parts of a data set.

    Raises:
        MemoryError: there is not enough.
    """
    return tuple(
        MemoryCache([name for part in parts for name in names_of(part, number)])
        for number in range(len(parts[0].stores))
    )


def attach_cache(
    dataset: FaceDataset,
    parts: Sequence[FaceDataset],
    *,
    mode: str,
    folder: Path | None,
    fast: bool,
    processes: int = 1,
) -> tuple[list[FaceDataset], str]:
    """Attach a cache to parts of a data set.

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
    folder = folder or default_folder()
    why = "as asked"
    if mode == "auto":
        mode, why = choose_cache(dataset, parts, folder=folder, fast=fast, processes=processes)
    caches: tuple[MemoryCache, ...] | tuple[DiskCache, ...] = ()
    count, memory = sum(map(len, parts)), free_memory()
    if mode == "ram" and memory is not None and count * CROP_BYTES > memory:
        why = f"{_size(count)} do not fit into {memory / 1e9:.1f} GB of free memory"
        mode = "off"
    line = f"off: {why}"
    try:
        if mode == "ram":
            caches, line = in_memory(parts), f"ram, {_size(count)}: {why}"
        elif mode == "disk":
            caches = on_disk(dataset, folder)
            line = f"disk, {folder}, {sum(map(len, caches)):,} images are there: {why}"
            if old := others(folder, caches):
                line += f"; of earlier versions of the data, may be deleted: {', '.join(old)}"
    except (MemoryError, DataError) as error:
        line = f"off: {reason(error, 1000) if str(error) else 'not enough memory'}"
    return [replace(part, caches=caches) if caches else part for part in parts], line


def choose_cache(
    dataset: FaceDataset,
    parts: Sequence[FaceDataset],
    *,
    folder: Path,
    fast: bool,
    processes: int = 1,
) -> tuple[str, str]:
    """Resolve --cache auto to ram, disk or off, with the reason. See docs/data.md."""
    if _is_begun(dataset, folder):
        return "disk", "an earlier run or `celebattr pack` left it"
    if not fast and not any(isinstance(store, Distant) for store in dataset.stores):
        return "off", "on a CPU decoding is a small part of the work"
    need = sum(map(len, parts)) * CROP_BYTES
    memory = free_memory()
    if memory is not None and need * processes <= memory / 4:
        return "ram", f"it takes less than a quarter of the {memory / 1e9:.1f} GB free"
    room = free_room(folder)
    if need <= room / 2:
        return "disk", f"too much for memory, and less than half of the {room / 1e9:.0f} GB free"
    return "off", f"{need / 1e9:.1f} GB is too much for memory and disk"


def _is_begun(dataset: FaceDataset, folder: Path) -> bool:
    """Return True if a cache of these very images exists, of one store at least."""
    if not folder.is_dir():
        return False
    try:
        keys = [key(dataset, number) for number in range(len(dataset.stores))]
    except DataError:
        return False
    return any((folder / key / ABOUT).is_file() for key in keys)


def _size(count: int) -> str:
    return f"{counted(count, 'image')}, {count * CROP_BYTES / 1e9:.1f} GB"


def free_memory() -> int | None:
    """Return the bytes a program can take without swapping; None if unknown.

    Within a container, the rest of its limit.
    """
    found = []
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                found.append(int(value.split()[0]) * 1024)
        group = Path("/sys/fs/cgroup")  # version 2; a container sees its own here
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        if most != "max":
            found.append(int(most) - int((group / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError, IndexError):
        pass
    if not found and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(min(found), 0) if found else None
