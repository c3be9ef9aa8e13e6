"""Indexes of packed tar shards, so that shards need not be read through.

`train-000000.index.json` says of `train-000000.tar` where each image lies, its checksum and its
labels; `manifest.json`, the last file written, lists the shards with their sizes and hashes.
Without it the packing was cut off.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from celebattr.constants import SPLITS
from celebattr.data.dataset import Targets
from celebattr.data.label_files import with_unknown
from celebattr.errors import DataError, reason
from celebattr.io import schema
from celebattr.io.folder import Folder

SCHEMA = 1
MANIFEST = "manifest.json"
SUFFIX = ".index.json"


@dataclass(frozen=True)
class Sample:
    """One image of a shard.

    Attributes:
        name: of its member.
        offset: of its first byte in the shard.
        size: bytes.
        crc: CRC-32 of them.
        labels: `0`, `1` or `?` (unknown) per attribute, in the order of the index.
        person: who is shown, or None.
    """

    name: str
    offset: int
    size: int
    crc: int
    labels: str
    person: int | None

    def fits(self, shard: int) -> bool:
        """Return True if it has a place in a shard of so many bytes, and every type is right."""
        texts = type(self.name) is type(self.labels) is str
        numbers = type(self.offset) is type(self.size) is type(self.crc) is int
        person = self.person is None or (
            type(self.person) is int and abs(self.person) < schema.LARGEST
        )
        return texts and numbers and person and 0 <= self.offset <= self.offset + self.size <= shard


@dataclass(frozen=True)
class ShardIndex:
    """The contents of a shard.

    Attributes:
        shard: the name of the tar.
        split: train, validation or test.
        source: digest of the data set that was packed, and how.
        size: bytes of the tar.
        sha256: of the tar.
        attributes: names of the labels.
        samples: its images, in their order.
    """

    shard: str
    split: str
    source: str
    size: int
    sha256: str
    attributes: tuple[str, ...]
    samples: tuple[Sample, ...]

    def to_json(self) -> bytes:
        """Return the index as a file: one line per image."""
        head = {
            "schema": SCHEMA,
            "shard": self.shard,
            "split": self.split,
            "source": self.source,
            "bytes": self.size,
            "sha256": self.sha256,
            "attributes": list(self.attributes),
            "columns": ["name", "offset", "size", "crc32", "labels", "celeb_id"],
        }
        rows = (
            json.dumps([s.name, s.offset, s.size, s.crc, s.labels, s.person]) for s in self.samples
        )
        text = json.dumps(head, indent=1)[:-2] + ',\n "samples": [\n  ' + ",\n  ".join(rows)
        return (text + "\n ]\n}\n").encode()

    @property
    def targets_NA(self) -> Targets:
        """The labels of its images [N, A]."""
        text = "".join(sample.labels for sample in self.samples)
        flat = np.frombuffer(text.encode("ascii"), np.uint8)
        letters_NA = flat.reshape(len(self.samples), len(self.attributes))
        return with_unknown(letters_NA == ord("1"), letters_NA == ord("?"))


_HEAD = ("shard", "split", "source", "sha256", "attributes")


def index_name(shard: str) -> str:
    """Return the name of the index of a shard."""
    return shard.removesuffix(".tar") + SUFFIX


def parse(data: bytes, where: str) -> ShardIndex:
    """Read an index.

    Raises:
        DataError: it is damaged, or of a later version.
    """
    values = _json(data, where)
    try:
        rows: Any = values.get("samples")
        schema.check("samples", rows, list[list[Any]])
        kept = {"size": values.get("bytes")} | {n: values.get(n) for n in _HEAD}
        index = schema.checked(ShardIndex, kept | {"samples": []})
        if index.split not in SPLITS:
            raise ValueError(f"a split {index.split!r}")
        samples = tuple(Sample(*row) for row in rows)
        width = len(index.attributes)
        if not all(s.fits(index.size) for s in samples):  # by hand: there may be millions
            raise ValueError("an image is not inside the shard, or has no name, size or checksum")
        if not all(len(s.labels) == width and not s.labels.strip("01?") for s in samples):
            raise ValueError(f"labels are other than {width} of 0, 1 and ?")
    except (ValueError, TypeError) as error:
        why = f"pack the data set again ({reason(error)})"
        raise DataError(f"{where} is damaged: {why}") from error
    return dataclasses.replace(index, samples=samples)


def read(files: Folder) -> list[ShardIndex] | None:
    """Read the indexes of all shards in a folder, in order; None if there are none.

    Raises:
        DataError: the packing was cut off, or a shard is missing or is not the one that was packed.
    """
    there = files.sizes(".json")
    if MANIFEST not in there:
        if any(name.endswith(SUFFIX) for name in there):
            raise DataError(
                f"{files.path} is not complete: packing was interrupted. Run the same "
                "`celebattr pack` again to continue"
            )
        return None
    where = f"{files.path}/{MANIFEST}"
    manifest = _json(files.read(MANIFEST), where)
    try:
        shards: Any = manifest.get("shards")
        schema.check("shards", shards, list[dict[str, Any]])
        names, hashes = ([shard.get(n) for shard in shards] for n in ("name", "sha256"))
        schema.check("names and hashes of shards", [*names, *hashes], list[str])
        for name in names:
            if name in (".", "..") or {"/", "\\", "\0"} & {*name}:
                raise ValueError(f"a shard {name!r} outside of the folder")
    except ValueError as error:
        why = f"pack the data set again ({reason(error)})"
        raise DataError(f"{where} is damaged: {why}") from error
    found = [
        parse(data, f"{files.path}/{index_name(name)}")
        for name, data in zip(names, files.read_all([index_name(n) for n in names]), strict=True)
    ]
    sizes = files.sizes(".tar")
    for index, name, sha256 in zip(found, names, hashes, strict=True):
        size = sizes.get(index.shard)
        if size != index.size or (index.shard, index.sha256) != (name, sha256):
            raise DataError(
                f"{files.path}/{index.shard} is not the shard that was packed: it has "
                f"{'no' if size is None else f'{size:,}'} bytes, its index says {index.size:,}. "
                "Copy it again"
            )
    return found


def manifest(indexes: Sequence[ShardIndex], data: str) -> bytes:
    """Return the manifest of all shards as a file; `data` describes what was packed."""
    splits: Counter[str] = Counter()
    for index in indexes:
        splits[index.split] += len(index.samples)
    values = {
        "schema": SCHEMA,
        "data": data,
        "images": splits,
        "attributes": list(indexes[0].attributes) if indexes else [],
        "shards": [
            {
                "name": index.shard,
                "split": index.split,
                "images": len(index.samples),
                "bytes": index.size,
                "sha256": index.sha256,
            }
            for index in indexes
        ],
    }
    return (json.dumps(values, indent=1) + "\n").encode()


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        values = schema.json_object(data)
    except ValueError as error:
        why = f"pack the data set again ({reason(error)})"
        raise DataError(f"{where} is not JSON: {why}") from error
    if values.get("schema") != SCHEMA:
        raise DataError(f"{where} is of another version of celebattr: pack the data set again")
    return values
