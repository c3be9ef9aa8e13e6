"""What `predict` is given becomes a stream of inputs: files, folders, globs, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from celebattr.data.images import IMAGE_SUFFIXES
from celebattr.results import Failure

STDIN = "-"

# How the accepted formats begin. RIFF is WebP's container. File names may begin like the second
# kind, BMW.jpg for instance; but images of that kind have a zero byte near their beginning.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\x00", b"MM\x00*")
_SIGNATURES_OF_LETTERS = (b"RIFF", b"BM", b"GIF8")
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Input:
    """One photo to be.

    Attributes:
        path: the name it is reported by, as it was given.
        data: its bytes, where it did not come from a file.
        failure: why there is nothing to open, or None.
    """

    path: str
    data: bytes | None = None
    failure: Failure | None = None


def expand(
    paths: Iterable[str], *, null: bool = False, stdin: BinaryIO | None = None
) -> Iterator[Input]:
    """Each photo that `paths` stand for, in a stable order; nothing is opened yet.

    A folder is searched throughout, sorted by name, hidden files left out; a pattern that matches
    nothing, and a name that does not exist, come back as they are and fail when they are opened.

    Args:
        paths: files, folders, patterns with * ? [], or "-" for standard input: a list of paths,
            or the bytes of one image.
        null: paths on standard input end in NUL rather than newline.
        stdin: what "-" reads.
    """
    for path in paths:
        if path == STDIN:
            yield from _standard_input(stdin or sys.stdin.buffer, null)
        else:
            yield from _one(path)


def _one(path: str) -> Iterator[Input]:
    if os.path.isdir(path):  # noqa: PTH112 - pathlib would change "./a" and fails on some names
        yield from _folder(path, set())
    elif not os.path.lexists(path) and glob.has_magic(path):
        matches = sorted(glob.iglob(path, recursive=True))  # noqa: PTH207 - absolute patterns too
        searched: tuple[str, ...] = ()
        for match in matches:
            if match.startswith(searched):  # ** matches a folder and what is in it: once is enough
                continue
            if os.path.isdir(match):  # noqa: PTH112
                searched += (os.path.join(match, ""),)  # noqa: PTH118
                yield from _folder(match, set())
            else:
                yield Input(match)
        if not matches:
            yield Input(path)
    else:
        yield Input(path)


def _folder(folder: str, above: set[tuple[int, int]]) -> Iterator[Input]:
    """The images below a folder. `above` holds the folders on the way: links may form a circle."""
    try:
        status = os.stat(folder)  # noqa: PTH116
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        reason = f"{folder}: the folder cannot be read ({(error.strerror or str(error)).lower()})"
        yield Input(folder, failure=Failure(folder, "unreadable", reason))
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _folder(entry.path, above | {identity})
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
            yield Input(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where one may not look: it fails when it is opened
        return False


def _standard_input(stream: BinaryIO, null: bool) -> Iterator[Input]:
    start = stream.read(_CHUNK)
    if _is_image(start) and not null:
        yield Input(STDIN, data=start + stream.read())
        return
    for name in _lines(start, stream, b"\0" if null else b"\n"):
        # The bytes of a file name that is not UTF-8 survive as surrogate escapes.
        path = os.fsdecode(name if null else name.removesuffix(b"\r"))
        if path:
            yield from _one(path)


def _is_image(start: bytes) -> bool:
    return start.startswith(_SIGNATURES) or (
        start.startswith(_SIGNATURES_OF_LETTERS) and b"\0" in start[:64]
    )


def _lines(start: bytes, stream: BinaryIO, end: bytes) -> Iterator[bytes]:
    rest = start
    while True:
        *complete, rest = rest.split(end)
        yield from complete
        more = stream.read(_CHUNK)
        if not more:
            yield rest
            return
        rest += more
