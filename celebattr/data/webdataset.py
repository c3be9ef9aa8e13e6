"""WebDataset: tar shards of `KEY.jpg` beside `KEY.json` or `KEY.cls`, read where they lie.

A tar's headers are read once; then an image is so many bytes from an offset, for any thread.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from celebattr.attributes import CELEBA
from celebattr.data import shards
from celebattr.data.dataset import Source
from celebattr.data.images import IMAGE_SUFFIXES
from celebattr.data.labels import TRAIN
from celebattr.errors import DataError, ImageNotFoundError, UnreadableImageError

LABELS = ("json", "cls", "attributes", "attributes.txt", "txt")
"""What follows a key in the name of its labels; the first that is there counts."""
PEOPLE = ("celeb_id", "identity", "person_id")

_MAX_LABELS = 1 << 20
"""Bytes that the labels of one image may have."""


@dataclass
class _Sample:
    """One key of a shard: where its image lies, and its labels as text by their suffix."""

    image: str = ""
    place: tuple[int, int] = (0, 0)
    texts: dict[str, bytes] = field(default_factory=dict)


def read(path: Path) -> Source | None:
    """Tar shards of images with their labels.

    Raises:
        DataError: a shard is damaged, or an image has no labels or other ones than the first.
    """
    files = shards.find(path, ".tar") if path.is_dir() else []
    if not files:
        return None
    names, rows, splits, people = [], [], [], []
    places: dict[str, tuple[int, int, int]] = {}
    attributes: tuple[str, ...] = ()
    unknown = False
    for number, file in enumerate(files):
        split = shards.split_of(file)
        for key, sample in _samples(file):
            values, person = _labels(file, key, sample)
            attributes = attributes or tuple(values)
            if values.keys() != set(attributes):
                raise DataError(f"{file}: {key} has other attributes than the images before it")
            if sample.image in places:
                raise DataError(f"{file}: {sample.image} is in more than one place")
            names.append(sample.image)
            places[sample.image] = (number, *sample.place)
            rows.append([values[name] for name in attributes])
            splits.append(TRAIN if split is None else split)
            people.append(person)
            unknown |= split is None
    if not names:
        raise DataError(f"{path} has tar files, but no images with labels in them")
    known = [person for person in people if person is not None]
    return Source(
        "WebDataset",
        path,
        attributes,
        names,
        np.array(rows, np.uint8),
        np.array(splits, np.int8),
        Members(path, files, places),
        np.array(known, np.int64) if len(known) == len(names) else None,
        ", shards named after no split count as train" if unknown else "",
    )


def _samples(file: Path) -> Iterator[tuple[str, _Sample]]:
    """The keys of a shard that have an image, in their order."""
    found: dict[str, _Sample] = {}
    size = file.stat().st_size
    try:
        with tarfile.open(file, "r:") as archive:
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


def _labels(file: Path, key: str, sample: _Sample) -> tuple[dict[str, int], int | None]:
    """The attributes of an image, 0 or 1 by name, and who is shown where that is told."""
    text = next((sample.texts[suffix] for suffix in LABELS if suffix in sample.texts), None)
    if text is None:
        raise DataError(f"{file}: {key} has an image and no labels ({', '.join(LABELS)})")
    try:
        values = json.loads(text) if text.lstrip()[:1] in (b"{", b"[") else text.split()
    except ValueError as error:
        raise DataError(f"{file}: the labels of {key} are not JSON ({error})") from error
    person = None
    if isinstance(values, dict):
        person = next((values[n] for n in PEOPLE if isinstance(values.get(n), int)), None)
        values = values.get("attributes", values)
    if isinstance(values, dict):
        if set(CELEBA) <= values.keys():
            values = {name: values[name] for name in values if name in CELEBA}
        values = {n: _one(file, key, n, v) for n, v in values.items() if n not in PEOPLE}
    elif isinstance(values, list) and len(values) == len(CELEBA):
        values = {n: _one(file, key, n, v) for n, v in zip(CELEBA, values, strict=True)}
    else:
        raise DataError(
            f"{file}: the labels of {key} are neither attributes by name nor {len(CELEBA)} numbers "
            "in CelebA's order"
        )
    return values, person


def _one(file: Path, key: str, name: str, value: Any) -> int:
    word = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value).lower()
    known = {"1": 1, "true": 1, "0": 0, "-1": 0, "false": 0}
    if word not in known:
        raise DataError(f"{file}: {key} has {value!r} for {name}; expected 0 or 1, -1 or 1")
    return known[word]


class Members:
    """Images in tar files, by where their bytes lie; the file is opened anew for each."""

    def __init__(
        self, path: Path, files: list[Path], places: dict[str, tuple[int, int, int]]
    ) -> None:
        self.path = path
        self._files, self._places = files, places

    def missing(self, names: Iterable[str]) -> list[str]:
        """The names that are not there."""
        return [name for name in names if name not in self._places]

    def read(self, name: str) -> bytes:
        """The bytes of a member."""
        place = self._places.get(name)
        if place is None:
            raise ImageNotFoundError(f"{self.path}: no image {name}")
        number, offset, size = place
        file = self._files[number]
        try:
            with file.open("rb") as opened:
                opened.seek(offset)
                data = opened.read(size)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UnreadableImageError(f"{file}, member {name}: {why}") from error
        if len(data) < size:
            raise UnreadableImageError(f"{file}, member {name}: the shard is cut off")
        return data
