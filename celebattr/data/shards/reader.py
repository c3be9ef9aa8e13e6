"""WebDataset: tar shards of `KEY.jpg` beside `KEY.json` or `KEY.cls`, read where they lie.

On a disk, or at a URL through fsspec. A tar's headers are read once, or the index beside it; then
an image is so many bytes from an offset, for any thread. So a sample's place in an epoch stays a
function of seed, epoch and index, and a process reads the bytes of its own samples alone.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from celebattr.attributes import CELEBA
from celebattr.constants import IMAGE_SUFFIXES, PEOPLE_COLUMNS, SPLITS, TRAIN
from celebattr.data.dataset import Source, Targets
from celebattr.data.image_stores import digest
from celebattr.data.label_files import joined, shards_lacking, split_of, with_unknown
from celebattr.data.shards import index as shard_index
from celebattr.data.shards.index import ShardIndex
from celebattr.errors import DataError, ImageNotFoundError, UnreadableImageError, reason
from celebattr.io.folder import Folder, folder_at
from celebattr.options import Url

LABELS = ("json", "cls", "attributes", "attributes.txt", "txt")
"""Suffixes of a key's labels; the first that exists counts."""

_MAX_LABELS = 1 << 20
"""Most bytes of the labels of one image."""


class Place(NamedTuple):
    """The place of an image's bytes: a shard, an offset, a size, and their CRC-32 if known."""

    shard: str
    offset: int
    size: int
    crc: int | None = None


@dataclass
class _Sample:
    """One key of a shard: the place of its image, and its labels as text by their suffix."""

    image: str = ""
    place: tuple[int, int] = (0, 0)
    texts: dict[str, bytes] = field(default_factory=dict)


def read(path: Path) -> Source | None:
    """Read tar shards of images with their labels.

    Raises:
        DataError: a shard is damaged, or an image has no labels or other ones than the first.
    """
    return _read(folder_at(path)) if path.is_dir() else None


def read_remote(url: Url) -> Source:
    """Read tar shards at a URL; those of `celebattr pack` are known by their indexes.

    Raises:
        DataError: there are none, they cannot be read, or see `read`.
        MissingExtraError, DeviceError, UsageError: see `files_at`.
    """
    source = _read(folder_at(url))
    if source is None:
        raise DataError(
            f"{url} has no tar files: at a URL only WebDataset shards are read, as "
            "`celebattr pack` writes them"
        )
    return source


def _read(files: Folder) -> Source | None:
    indexes = shard_index.read(files)
    return _scanned(files) if indexes is None else _indexed(files, indexes)


def _indexed(files: Folder, indexes: Sequence[ShardIndex]) -> Source:
    """Return a source of packed shards from their indexes alone."""
    attributes = indexes[0].attributes if indexes else ()
    places: dict[str, Place] = {}
    for index in indexes:
        if index.attributes != attributes:
            raise DataError(f"{files.path}/{index.shard} has other attributes than the first shard")
        places |= {s.name: Place(index.shard, s.offset, s.size, s.crc) for s in index.samples}
    samples = [sample for index in indexes for sample in index.samples]
    if not samples or len(places) < len(samples):
        raise DataError(f"{files.path}: its indexes name no image, or one twice. Pack it again")
    people = [s.person for s in samples if s.person is not None]
    return Source(
        "WebDataset, packed",
        files.path,
        attributes,
        [sample.name for sample in samples],
        joined([index.targets_NA for index in indexes]),
        np.repeat([SPLITS[i.split] for i in indexes], [len(i.samples) for i in indexes]).astype(
            np.int8
        ),
        _store(files, places, digest([index.sha256 for index in indexes])),
        np.array(people, np.int64) if len(people) == len(samples) else None,
    )


def _scanned(files: Folder) -> Source | None:
    """Return a source of foreign shards, which are read through once."""
    sizes = files.sizes(".tar")
    if not sizes:
        return None
    names, splits, people = [], [], []
    rows: list[list[int | None]] = []
    places: dict[str, Place] = {}
    attributes: tuple[str, ...] = ()
    unknown = False
    for shard, size in sizes.items():
        file = f"{files.path}/{shard}"
        split = split_of(PurePosixPath(files.path.name, shard))
        for key, sample in _samples(files, shard, size):
            values, person = _labels(file, key, sample)
            attributes = attributes or tuple(values)
            if values.keys() != set(attributes):
                raise DataError(f"{file}: {key} has other attributes than the images before it")
            if sample.image in places:
                raise DataError(f"{file}: {sample.image} is in more than one place")
            names.append(sample.image)
            places[sample.image] = Place(shard, *sample.place)
            rows.append([values[name] for name in attributes])
            splits.append(TRAIN if split is None else split)
            people.append(person)
            unknown |= split is None
    if not names:
        raise DataError(f"{files.path} has tar files, but no images with labels in them")
    known = [person for person in people if person is not None]
    return Source(
        "WebDataset",
        files.path,
        attributes,
        names,
        _targets(rows),
        np.array(splits, np.int8),
        _store(files, places, digest(files.stamp(shard) for shard in sizes)),
        np.array(known, np.int64) if len(known) == len(names) else None,
        ", shards named after no split count as train" if unknown else "",
        shards_lacking(PurePosixPath(shard) for shard in sizes),
    )


def _samples(files: Folder, shard: str, size: int) -> Iterator[tuple[str, _Sample]]:
    """Yield the keys of a shard that have an image, in their order."""
    found: dict[str, _Sample] = {}
    file = f"{files.path}/{shard}"
    try:
        with files.open(shard) as opened, tarfile.open(fileobj=opened, mode="r:") as archive:
            for member in archive:
                if not member.isreg():
                    continue
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError(f"{member.name} ends after the file")
                folder, _, base = member.name.rpartition("/")
                key, _, suffix = base.partition(".")
                sample = found.setdefault(f"{folder}/{key}" if folder else key, _Sample())
                if f".{suffix.lower()}" in IMAGE_SUFFIXES:
                    sample.image = member.name.removeprefix("./")
                    sample.place = (member.offset_data, member.size)
                elif suffix.lower() in LABELS and member.size <= _MAX_LABELS:
                    text = archive.extractfile(member)
                    assert text is not None
                    sample.texts[suffix.lower()] = text.read()
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            f"{file} is not a complete, uncompressed tar ({error}): decompress it if it is "
            "compressed; else the download was cut off, download it again"
        ) from error
    yield from ((key, sample) for key, sample in found.items() if sample.image)


def _labels(file: str, key: str, sample: _Sample) -> tuple[dict[str, int | None], int | None]:
    """Return the attributes of an image, see `_one`, by name, and its person if given."""
    text = next((sample.texts[suffix] for suffix in LABELS if suffix in sample.texts), None)
    if text is None:
        raise DataError(f"{file}: {key} has an image and no labels ({', '.join(LABELS)})")
    values: Any
    try:
        values = json.loads(text) if text.lstrip()[:1] in (b"{", b"[") else text.split()
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: the labels of {key} are not JSON ({error})") from error
    person, labels = None, values
    if isinstance(values, dict):
        person = next((values[n] for n in PEOPLE_COLUMNS if isinstance(values.get(n), int)), None)
        labels = values.get("attributes")
        if not isinstance(labels, dict | list):
            known = set(CELEBA) if set(CELEBA) <= values.keys() else values.keys()
            labels = {name: value for name, value in values.items() if name in known}
    if isinstance(labels, list) and len(labels) == len(CELEBA):
        labels = dict(zip(CELEBA, labels, strict=True))
    if not isinstance(labels, dict):
        raise DataError(
            f"{file}: the labels of {key} are neither attributes by name nor {len(CELEBA)} numbers "
            "in CelebA's order"
        )
    named = [name for name in labels if name not in PEOPLE_COLUMNS]
    return {name: _one(file, key, name, labels[name]) for name in named}, person


def _targets(rows: list[list[int | None]]) -> Targets:
    """Return labels [N, A] of -1, 0, 1 and None; see `label_files.label_values`."""
    values_NA = np.array(rows, np.float32)
    unknown_NA = np.isnan(values_NA)
    if (values_NA == -1).any():
        unknown_NA |= values_NA == 0
    return with_unknown(values_NA == 1, unknown_NA)


def _one(file: str, key: str, name: str, value: Any) -> int | None:
    """Return a label as -1, 0, 1 or None (unknown)."""
    if value is None or value == "":
        return None
    word = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value).lower()
    known = {"1": 1, "true": 1, "0": 0, "-1": -1, "false": 0}
    if word not in known:
        raise DataError(f"{file}: {key} has {value!r} for {name}; expected 0 or 1, -1 or 1")
    return known[word]


def _store(files: Folder, places: dict[str, Place], content: str) -> Members:
    return (FarMembers if isinstance(files.path, Url) else Members)(files, places, content)


class Members:
    """Images in tar files, by the place of their bytes.

    Args:
        files: the shards.
        places: where each image lies.
        content: digest of what tells that the shards are still the same.
    """

    def __init__(self, files: Folder, places: dict[str, Place], content: str) -> None:
        self.path = files.path
        self._files, self._places, self._content = files, places, content

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names that are not there."""
        return [name for name in names if name not in self._places]

    def content(self, names: Sequence[str]) -> str:
        """Digest the hashes of the shards, or their sizes and times if there are none."""
        return self._content

    def read(self, name: str) -> bytes:
        """Return the bytes of a member."""
        return self._read([name])[0]

    def _read(self, names: Sequence[str]) -> list[bytes]:
        places = []
        for name in names:
            if name not in self._places:
                raise ImageNotFoundError(f"{self.path}: no image {name}")
            places.append(self._places[name])
        try:
            found = self._files.ranges([(p.shard, p.offset, p.size) for p in places])
        except OSError as error:
            where = f"{self.path}/{places[0].shard}, member {names[0]}"
            raise UnreadableImageError(f"{where}: {reason(error)}") from error
        for name, place, data in zip(names, places, found, strict=True):
            where = f"{self.path}/{place.shard}, member {name}"
            if len(data) < place.size:
                raise UnreadableImageError(f"{where}: the shard is cut off")
            if place.crc is not None and zlib.crc32(data) != place.crc:
                raise UnreadableImageError(f"{where}: damaged, its checksum differs")
        return found


class FarMembers(Members):
    """Images in distant tar files: those of a batch are requested all at once."""

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return the bytes of some members, in the order of `names`."""
        return self._read(names)
