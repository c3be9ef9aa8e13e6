"""Plan of a run: inputs cut into fixed pieces of work before any is scored.

A plan lies in the folder of its run as `plan/NNNNNN.jsonl`, a line per piece, and `plan/about.json`
once it is complete. The piece with the number k becomes the part with the number k; parts in the
order of their names are in the order of the inputs. A tar, whose members are known only after
reading it, is a piece of its own.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from celebattr.errors import DataError
from celebattr.inference.inputs import archives
from celebattr.inference.inputs.source import Input, stored
from celebattr.inference.output.manifest import Shard
from celebattr.io import schema, storage
from celebattr.io.folder import Folder, folder_at
from celebattr.options import Location
from celebattr.predictions import Failure

PIECES_A_FILE = 32
"""Pieces per file: a worker that takes pieces in turn reads each file once and keeps 3 MB."""

ABOUT = "plan/about.json"


@dataclass(frozen=True)
class Archive(Input):
    """An archive among the inputs that is not opened yet."""


@dataclass(frozen=True)
class Plan:
    """The figures of a complete plan.

    Attributes:
        pieces: how many, numbered from 0.
        inputs: how many; a tar counts as one.
        sha256: over their names, in order.
    """

    pieces: int
    inputs: int
    sha256: str


def archive(path: str) -> Iterable[Input]:
    """Return an unopened archive as an input, for `expand`."""
    return (Archive(path),)


def write(folder: Folder, inputs: Iterable[Input], size: int) -> Plan:
    """Write a plan with `size` inputs per piece, in constant memory.

    Raises:
        DataError: it cannot be written.
    """
    folder.remove(*(f"plan/{name}" for name in folder.names("plan")))
    whole = Shard()
    pieces = 0
    lines = (json.dumps(piece) + "\n" for piece in _cut(whole.take(iter(inputs)), size))
    for number in itertools.count():
        block = list(itertools.islice(lines, PIECES_A_FILE))
        if not block:
            break
        folder.write(_file(number), "".join(block).encode())
        pieces += len(block)
    plan = Plan(pieces, whole.inputs, whole.sha256)
    folder.write(ABOUT, (json.dumps(plan.__dict__) + "\n").encode())
    return plan


def read(folder: Folder) -> Plan | None:
    """Return the plan of a folder, or None if there is no complete one."""
    if not folder.exists(ABOUT):
        return None
    try:
        return schema.checked(Plan, schema.json_object(folder.read(ABOUT)))
    except ValueError as error:
        raise DataError(f"{folder.path}/{ABOUT} is damaged ({error}): start over") from error


def of(inputs: Iterable[Input]) -> tuple[int, str]:
    """Return the number of inputs and the hash of their names, to compare with a plan."""
    whole = Shard()
    for _ in whole.take(iter(inputs)):
        pass
    return whole.inputs, whole.sha256


def piece(folder: Folder, number: int) -> tuple[str, Iterator[Input]]:
    """Return a piece of work: its identity, and its inputs."""
    line = _lines(folder.path, number // PIECES_A_FILE)[number % PIECES_A_FILE]
    return sha256(line).hexdigest(), _inputs(json.loads(line))


@functools.lru_cache(maxsize=2)
def _lines(place: Location, number: int) -> list[bytes]:
    return folder_at(place).read(_file(number)).splitlines()


def _file(number: int) -> str:
    return f"plan/{number:06}.jsonl"


def _cut(inputs: Iterator[Input], size: int) -> Iterator[list[Any]]:
    """Yield pieces as JSON: lists of names, or of objects where a name is not enough."""
    held: list[Any] = []
    count = 0
    for item in inputs:
        zipped = isinstance(item, Archive) and archives.is_zip(item.path)
        if isinstance(item, Archive) and not zipped:
            if held:
                yield held
            yield [_archive(item.path, 0, None)]
            held, count = [], 0
            continue
        # The directory of a zip says how many members there are, so it may be cut.
        many = sum(1 for _ in archives.members(item.path)) if zipped else 1
        start = 0
        while start < many:
            stop = min(many, start + size - count)
            held.append(_archive(item.path, start, stop) if zipped else _plain(item))
            count += stop - start
            start = stop
            if count == size:
                yield held
                held, count = [], 0
    if held:
        yield held


def _archive(path: str, start: int, stop: int | None) -> dict[str, Any]:
    return {"archive": path, "file": _absolute(path), "start": start, "stop": stop}


def _plain(item: Input) -> Any:
    if item.failure is not None:
        return {"path": item.path, "failure": [item.failure.status, item.failure.error]}
    if item.data is not None:  # one image on standard input
        return {"path": item.path, "data": base64.b64encode(item.data).decode()}
    place = _absolute(item.file or item.path)
    if place == item.path and not item.listed:
        return place
    return {"path": item.path, "file": place, **({"listed": True} if item.listed else {})}


def _absolute(path: str) -> str:
    """Return a place that other machines can read; an address is one that `expand` allows."""
    return path if storage.is_remote(path) else os.path.abspath(path)  # noqa: PTH100


def _inputs(entries: list[Any]) -> Iterator[Input]:
    for entry in entries:
        if isinstance(entry, str):
            yield _photo(entry, entry)
        elif "archive" in entry:
            members = archives.members(entry["archive"], entry["file"])
            yield from itertools.islice(members, entry["start"], entry["stop"])
        elif "failure" in entry:
            yield Input(entry["path"], failure=Failure(entry["path"], *entry["failure"]))
        elif "data" in entry:
            yield Input(entry["path"], data=base64.b64decode(entry["data"]))
        else:
            yield _photo(entry["path"], entry["file"], listed=entry.get("listed", False))


def _photo(path: str, file: str, *, listed: bool = False) -> Input:
    if storage.is_remote(file):
        return stored(path, url=file, listed=listed)
    return Input(path, file=file)
