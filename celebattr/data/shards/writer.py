"""Any data set as WebDataset tar shards: the images' own bytes, and indexes to read them by.

What is packed twice is the same to the last byte. An index comes before its shard, so that a shard
without one is somebody else's; those of a packing that was cut off are kept by the next one.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image

from celebattr.constants import IMAGE_SUFFIXES, SPLITS, Progress
from celebattr.data.dataset import FaceDataset
from celebattr.data.faces import Aligned
from celebattr.data.image_stores import Store, digest
from celebattr.data.shards import index as shard_index
from celebattr.data.shards.index import MANIFEST, Sample, ShardIndex, index_name
from celebattr.errors import DataError
from celebattr.images.open import decode, read_bytes
from celebattr.images.turns import in_turn
from celebattr.io.folder import Folder
from celebattr.io.prefetch import ordered_map

_SIDE = 48.0
"""Pixels of the longer side that suffice to open an image: every byte of a JPEG is read."""

_MAGIC = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"BM": ".bmp",
    b"GIF8": ".gif",
    b"RIFF": ".webp",
    b"II*\x00": ".tif",
    b"MM\x00*": ".tif",
}
"""First bytes of the accepted formats."""


@dataclass(frozen=True)
class Written:
    """Result of packing: shards written, and shards kept from an earlier run."""

    written: int
    kept: int
    images: int
    bytes: int


def write(
    dataset: FaceDataset,
    files: Folder,
    *,
    shard_bytes: int,
    shard_images: int | None = None,
    workers: int = 2,
    progress: Progress = lambda done, total: None,
    overwrite: bool = False,
) -> Written:
    """Write the shards of a data set, their indexes, and last the manifest; splits are kept.

    Args:
        dataset: what to pack.
        files: where to.
        shard_bytes: of a shard at most, unless one image alone has more.
        shard_images: likewise.
        workers: threads that read.
        progress: called after each image.
        overwrite: remove an earlier packing, whatever it is of.

    Raises:
        DataError: an image cannot be read, a file cannot be written, or there is another data set.
    """
    if overwrite:
        _remove(files)
    limits = (shard_bytes, shard_images or len(dataset))
    writer = _Writer(dataset, files, limits, workers, progress)
    done = [index for split in SPLITS for index in writer.split(split)]
    if not done:
        raise DataError(f"there is nothing to pack: {dataset.describe()}")
    files.write(MANIFEST, shard_index.manifest(done, dataset.summary))
    images, size = sum(len(i.samples) for i in done), sum(i.size for i in done)
    return Written(len(done) - writer.kept, writer.kept, images, size)


def _remove(files: Folder) -> None:
    """Remove a packing: shards that have an index, then their indexes; the manifest first."""
    indexes = [name for name in files.sizes(".json") if name.endswith(shard_index.SUFFIX)]
    shards = [shard_index.parse(files.read(name), f"{files.path}/{name}").shard for name in indexes]
    files.remove(MANIFEST, *shards, *indexes)


@dataclass
class _Writer:
    """A packing run in progress; `limits` are the most bytes and images of a shard."""

    dataset: FaceDataset
    files: Folder
    limits: tuple[int, int]
    workers: int
    progress: Progress

    def __post_init__(self) -> None:
        self.keys = keys(self.dataset)
        self.source = _digest(self.dataset, self.limits)
        self.there = self._earlier()
        self.kept = self.done = 0

    def _earlier(self) -> dict[str, ShardIndex]:
        """Return the shards of an earlier packing of the same, complete or cut off."""
        names = [n for n in self.files.sizes(".json") if n.endswith(shard_index.SUFFIX)]
        tars = self.files.sizes(".tar")
        where = self.files.path
        indexes = [
            shard_index.parse(data, f"{where}/{name}")
            for name, data in zip(names, self.files.read_all(names) if names else [], strict=True)
        ]
        ours = {index.shard for index in indexes if index.source == self.source}
        strange = [*(tars.keys() - ours), *({index.shard for index in indexes} - ours)]
        if strange:
            raise DataError(
                f"{where} already holds other shards ({min(strange)}), of another data set or "
                "packed with other options: give another --output, or delete them"
            )
        return {index.shard: index for index in indexes if tars.get(index.shard) == index.size}

    def split(self, split: str) -> Iterator[ShardIndex]:
        """Write the missing shards of a split; yield all of them, in order."""
        rows = np.flatnonzero(self.dataset.splits_N == SPLITS[split]).tolist()
        at = number = 0
        while at < len(rows):
            shard = f"{split}-{number:06}.tar"
            index = self.there.get(shard)
            if index is None:
                index = self._write(shard, split, rows[at:])
            else:
                self.kept += 1
                self.done += len(index.samples)
                self.progress(self.done, len(self.dataset))
            at += len(index.samples)
            number += 1
            yield index

    def _write(self, shard: str, split: str, rows: Sequence[int]) -> ShardIndex:
        """Write one shard, of as many of the rows as fit, and its index; return the index."""
        most_bytes, most_images = self.limits
        samples: list[Sample] = []
        read = ordered_map(
            self._read, rows[:most_images], workers=self.workers, ahead=4 * self.workers
        )
        self.files.remove_torn(shard)
        with self.files.create(shard) as opened:
            out = _Hashed(opened)
            # As a stream, all that is called is `write`.
            with tarfile.open(
                fileobj=cast(BinaryIO, out), mode="w|", format=tarfile.PAX_FORMAT
            ) as archive:
                for row, data in zip(rows, read, strict=False):
                    name, labels = self._name(row, data), self._labels(row)
                    # Two headers, contents in blocks of 512 bytes, and the end of the tar.
                    size = 2048 + len(data) + len(labels) + 2 * tarfile.RECORDSIZE
                    if samples and archive.offset + size > most_bytes:
                        break
                    offset = _add(archive, name, data)
                    _add(archive, f"{self.keys[row]}.json", labels)
                    samples.append(self._sample(row, name, offset, data))
                    self.done += 1
                    self.progress(self.done, len(self.dataset))
            read.close()  # type: ignore[attr-defined]  # an iterator that is a generator
            names, sha256 = self.dataset.attributes, out.sha256.hexdigest()
            index = ShardIndex(shard, split, self.source, out.size, sha256, names, tuple(samples))
            # Inside the block, so that the index is in place before the tar gets its name.
            self.files.write(index_name(shard), index.to_json())
        return index

    @in_turn()
    def _read(self, row: int) -> bytes:
        """Read an image's bytes, and open them: a damaged image is refused, not packed."""
        store: Store = self.dataset.stores[self.dataset.store_N[row]]
        if isinstance(store, Aligned):
            written = io.BytesIO()
            Image.fromarray(self.dataset.read(row)).save(written, "PNG")
            return written.getvalue()
        name = self.dataset.names[row]
        data, shown = read_bytes(store.read(name), name=f"{store.path}: {name}")
        decode(data, shown, side=_SIDE)
        return data

    def _name(self, row: int, data: bytes) -> str:
        """Return the key of an image and its suffix, its own or one told by its first bytes."""
        if isinstance(self.dataset.stores[self.dataset.store_N[row]], Aligned):
            return f"{self.keys[row]}.png"
        suffix = PurePosixPath(self.dataset.names[row]).suffix.lower()
        if suffix not in IMAGE_SUFFIXES:
            suffix = next((s for magic, s in _MAGIC.items() if data.startswith(magic)), ".jpg")
        return self.keys[row] + suffix

    def _labels(self, row: int) -> bytes:
        """Return the .json of an image: 0, 1 or null by attribute, and the person."""
        targets, person = self._targets(row), self._person(row)
        values: dict[str, Any] = {} if person is None else {"celeb_id": person}
        values["attributes"] = dict(zip(self.dataset.attributes, targets, strict=True))
        return json.dumps(values).encode()

    def _targets(self, row: int) -> list[int | None]:
        """Return the labels of an image, None where unknown."""
        values = self.dataset.targets_NA[row].tolist()
        return [None if value != value else int(value) for value in values]

    def _sample(self, row: int, name: str, offset: int, data: bytes) -> Sample:
        labels = "".join("?" if value is None else str(value) for value in self._targets(row))
        return Sample(name, offset, len(data), zlib.crc32(data), labels, self._person(row))

    def _person(self, row: int) -> int | None:
        people = self.dataset.identities_N
        return None if people is None else int(people[row])


def keys(dataset: FaceDataset) -> list[str]:
    """Return each image's name in its shard, without suffix: it ends before the first dot."""
    taken: set[str] = set()
    found = []
    for name in dataset.names:
        path = PurePosixPath(name.replace("\\", "/").lstrip("/"))
        known = path.suffix.lower() in IMAGE_SUFFIXES
        base = (path.stem if known else path.name).replace(".", "_")
        plain = str(path.with_name(base)) if str(path.parent) != "." else base
        key, number = plain, 1
        while key in taken:
            number += 1
            key = f"{plain}_{number}"
        taken.add(key)
        found.append(key)
    return found


def _digest(dataset: FaceDataset, limits: tuple[int, int]) -> str:
    """Return a digest that ties the shards of an earlier packing to this one."""
    parts: list[object] = [shard_index.SCHEMA, *limits, *dataset.attributes, *dataset.names]
    parts += [dataset.targets_NA.tobytes().hex(), dataset.splits_N.tobytes().hex()]
    if dataset.identities_N is not None:
        parts.append(dataset.identities_N.tobytes().hex())
    for number, store in enumerate(dataset.stores):
        rows = np.flatnonzero(dataset.store_N == number)
        parts.append(store.content([dataset.names[row] for row in rows]))
    return digest(parts)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> int:
    """Add a member whose header is the same every day; return the offset of its bytes."""
    info = tarfile.TarInfo(name)  # time and owner stay 0
    info.size, info.mode = len(data), 0o644
    archive.addfile(info, io.BytesIO(data))
    return archive.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


class _Hashed:
    """A file object that hashes and counts the bytes written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256, self.size = hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        """Write bytes, hash them and count them."""
        self.sha256.update(data)
        self.size += len(data)
        return self._file.write(data)
