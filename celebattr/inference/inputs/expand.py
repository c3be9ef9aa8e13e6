"""Expansion of predict's paths to a stream of inputs.

Files, folders, globs, standard input; images in archives; the paths in a column of a list; and the
same in an object store.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator
from typing import BinaryIO, NamedTuple, cast

from celebattr.constants import IMAGE_SUFFIXES, MAX_BYTES, MAX_NAME
from celebattr.errors import DataError, reason
from celebattr.inference.inputs.source import (
    DRAWN,
    STDIN,
    Input,
    failed,
    is_drawn,
    listed_photo,
    resolve_address,
    stored,
    suffix_of,
    wanted,
)
from celebattr.io import storage
from celebattr.predictions import Failure

# How the accepted formats begin. RIFF is WebP's container. File names may begin like the second
# kind, BMW.jpg for instance; but images of that kind have a zero byte near their beginning.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\x00", b"MM\x00*", b"\xff\x4f\xff\x51", b"\0\0\0")
_SIGNATURES_OF_LETTERS = (b"RIFF", b"BM", b"GIF8")
_CHUNK = 1 << 16
_TELLING = 64
"""First bytes of standard input that tell an image from a list, which may have fewer."""

_DESCRIPTOR = re.compile(r"/dev/(stdin|fd/\d+)|/proc/self/fd/\d+")
"""Open files of this process by number, as a shell names a pipe: `celebattr predict <(ls)`."""

_LIST_SUFFIXES = (".csv", ".tsv", ".parquet")
"""Suffixes of files that are lists of paths even without --column."""

_ALL_BELOW = re.compile(r"(?:^|(?<=[/\\]))\*\*(?:$|[/\\]+(?:\*\*[/\\]+)*)")
"""The part ** of a pattern, as many times as it stands in a row."""

Opener = Callable[[str], Iterable["Input"]]
"""Function that returns the inputs of an archive."""


class _How(NamedTuple):
    """Options of an expansion, as `expand` takes them."""

    archive: Opener
    column: str | None
    known: Container[str]
    left_out: Counter[str]
    into: str | None


def expand(
    paths: Iterable[str],
    *,
    null: bool = False,
    stdin: BinaryIO | None = None,
    column: str | None = None,
    archive: Opener | None = None,
    allow: Iterable[str] = (),
    left_out: Counter[str] | None = None,
    drawn: str | os.PathLike[str] | None = None,
) -> Iterator[Input]:
    """Yield the photos that `paths` stand for, in a stable order; no photo is opened yet.

    A folder is searched throughout, sorted by name, hidden files left out; a pattern that matches
    nothing, and a name that does not exist, come back as they are and fail when they are opened.
    An archive, and a list by its suffix, are opened where they are named outright, not where they
    lie in a folder or are met by a pattern that would match anything. A line of a list is one
    photo, or one failure: no pattern, folder, archive or list.

    An address is opened if its protocol is one of `storage.PROTOCOLS` or of `allow`; else it is the
    name of a local file or, where there is none, a failure.

    Args:
        paths: files, folders, patterns with * ? [], archives, lists (CSV, Parquet), or "-" for
            standard input: a list of paths, or the bytes of one image. /dev/fd/N is read likewise.
        null: paths on standard input end in NUL rather than newline.
        stdin: what "-" reads.
        column: every path is a list, and this its column of paths; "-" is a CSV then.
        archive: what to make of an archive; without it, the images in it.
        allow: more protocols to open, and see `storage.ALLOW`.
        left_out: counts the files of folders and archives that are never opened: videos and other
            pictures by suffix, those that `--annotate` wrote as `DRAWN`.
        drawn: where this run writes such pictures: those there are left out if named outright too.

    Raises:
        UsageError: `allow` has a protocol that is never opened.
        DataError: a list cannot be read or has no such column; a store does not answer.
        MissingExtraError: a Parquet file needs pyarrow, or a URL fsspec.
    """
    known = storage.allowed(allow)
    left_out = Counter() if left_out is None else left_out
    if archive is None:
        archive = functools.partial(_members, left_out=left_out)
    into = None if drawn is None else os.path.join(os.path.realpath(drawn), "")  # noqa: PTH118
    how = _How(archive, column, known, left_out, into)
    for path in paths:
        if path == STDIN:
            # Without its buffer, which would wait until it is full, and at exit for its reader.
            unbuffered = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
            yield from _stream(path, cast(BinaryIO, stdin or unbuffered), null, how)
        elif _DESCRIPTOR.fullmatch(path) and os.path.exists(path):  # noqa: PTH110
            with open(path, "rb", buffering=0) as pipe:  # noqa: PTH123
                yield from _stream(path, cast(BinaryIO, pipe), null, how)
        else:
            yield from _one(path, how)


def _one(path: str, how: _How) -> Iterator[Input]:
    if not storage.is_address(path):
        yield from _local(path, how)
        return
    place, reason = resolve_address(path, how.known)
    if reason:
        yield failed(path, reason)
    elif place is None and storage.is_web(path):  # nothing is listed there, and "?" is no pattern
        yield stored(path, listed=True)
    elif place is None:
        for match in (storage.matches(path) if glob.has_magic(path) else ()) or (path,):
            yield from _remote(match, how)
    else:
        alone = Input(place)
        for item in _local(place, how):
            yield Input(path, file=place) if item == alone else item


def _local(path: str, how: _How) -> Iterator[Input]:
    if how.column is None and os.path.isdir(path):  # noqa: PTH112 - pathlib would change "./a"
        yield from _folder(path, how.left_out, set())
    elif not os.path.lexists(path) and glob.has_magic(path):
        matches = _matches(path)
        entered: set[tuple[int, int]] = set()
        searched: tuple[str, ...] = ()
        for match in matches:
            if match.startswith(searched):  # ** matches a folder and what is in it: once is enough
                continue
            if how.column is None and os.path.isdir(match):  # noqa: PTH112
                searched += (os.path.join(match, ""),)  # noqa: PTH118
                yield from _folder(match, how.left_out, entered)
            elif suffix_of(match) in IMAGE_SUFFIXES and is_drawn(match, local=True):
                how.left_out[DRAWN] += 1
            elif how.column is not None or suffix_of(path) == suffix_of(match) != "":
                yield from _file(match, how)
            else:
                yield Input(match)
        if not matches:
            yield Input(path)
    else:
        yield from _file(path, how)


def _file(path: str, how: _How) -> Iterator[Input]:
    """Yield the inputs of a file named outright: itself, or an archive's or list's contents."""
    suffix = suffix_of(path)
    if not os.path.isfile(path):  # noqa: PTH113 - a pipe would block; what is not there fails later
        yield Input(path)
    elif how.column is not None or suffix in _LIST_SUFFIXES:
        yield from _list(path, how.column, how.known)
    elif suffix in IMAGE_SUFFIXES:  # a million photos are not opened twice
        if how.into and is_drawn(path, local=True) and os.path.realpath(path).startswith(how.into):
            how.left_out[DRAWN] += 1
        else:
            yield Input(path)
    else:
        # Imported here: it needs `Input`, and who has photos only need not wait for it.
        from celebattr.inference.inputs import archives

        yield from how.archive(path) if archives.is_archive(path) else (Input(path),)


def _remote(path: str, how: _How) -> Iterator[Input]:
    """Yield the inputs of a URL, as `_local` and `_file` do for files."""
    from celebattr.inference.inputs import archives

    suffix = suffix_of(path)
    if how.column is not None or suffix in _LIST_SUFFIXES:
        yield from _list(path, how.column, how.known)
    elif suffix in IMAGE_SUFFIXES:
        yield stored(path)
    elif storage.is_folder(path):
        for name, size in storage.files(path):
            if wanted(name, how.left_out):
                yield stored(name, size=size)
    else:
        yield from how.archive(path) if archives.is_archive(path) else (stored(path),)


def _members(path: str, left_out: Counter[str]) -> Iterator[Input]:
    from celebattr.inference.inputs import archives

    return archives.members(path, left_out=left_out)


def _list(
    path: str, column: str | None, known: Container[str], stdin: BinaryIO | None = None
) -> Iterator[Input]:
    """Yield the photos that a list names, one per row: not folders, nor other lists."""
    from celebattr.inference.inputs.lists import paths_in

    folder = os.path.dirname(path)  # noqa: PTH120
    for row, name in enumerate(paths_in(path, column, stdin=stdin), 1):
        if isinstance(name, DataError):
            yield Input(path, failure=Failure(path, "unreadable", str(name)))
            continue
        name = name[:MAX_NAME]
        if not name:
            reason = f"{path}: row {row:,} has no path"
            yield Input(path, failure=Failure(path, "not_found", reason))
        elif storage.is_address(name):
            yield listed_photo(name, known)
        elif storage.is_remote(path):
            yield stored(name, url=f"{folder}/{name}", listed=True)
        else:
            beside = os.path.join(folder, name)  # noqa: PTH118
            elsewhere = not os.path.exists(name) and os.path.exists(beside)  # noqa: PTH110
            yield Input(name, file=beside if elsewhere else None)


def _folder(folder: str, left_out: Counter[str], entered: set[tuple[int, int]]) -> Iterator[Input]:
    """Yield the images below a folder, in the order of names; each folder is entered once.

    Links may lead to and fro, and folders be deeper than Python's stack.
    """
    stack = [_entries(folder, entered)]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif isinstance(entry, Input):
            yield entry
        elif _is_folder(entry):
            stack.append(_entries(entry.path, entered))
        elif wanted(entry.path, left_out, local=True):
            yield Input(entry.path)


def _entries(folder: str, entered: set[tuple[int, int]]) -> Iterator[os.DirEntry[str] | Input]:
    """Yield what is in a folder that was not entered yet, sorted, or why it cannot be read."""
    try:
        if not _is_new(folder, entered):
            return
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        why = f"{folder}: the folder cannot be read ({reason(error)})"
        yield Input(folder, failure=Failure(folder, "unreadable", why))
        return
    yield from (entry for entry in entries if not entry.name.startswith("."))


def _is_new(folder: str, entered: set[tuple[int, int]]) -> bool:
    """Return True if a folder was not entered yet by any of its names, and take note of it."""
    status = os.stat(folder)  # noqa: PTH116
    identity = (status.st_dev, status.st_ino)
    new = identity not in entered
    entered.add(identity)
    return new


def _matches(pattern: str) -> list[str]:
    """Return what a pattern matches, sorted: ** are all folders below, each entered once."""
    found = _ALL_BELOW.search(pattern)
    if found is None:
        return sorted(glob.iglob(pattern))  # noqa: PTH207 - absolute patterns too
    matches: set[str] = set()
    entered: set[tuple[int, int]] = set()
    top, rest = pattern[: found.start()], pattern[found.end() :]
    to_enter = deque(sorted(glob.iglob(top)) if top else [top])  # noqa: PTH207
    if top and not rest:  # a folder, and what is in it
        return list(to_enter)
    while to_enter:
        folder = to_enter.popleft()  # the nearest first, by their own names
        try:
            if not _is_new(folder or os.curdir, entered):
                continue
        except OSError:  # of a folder that may not be looked into, a pattern matches nothing
            continue
        matches.update(_matches(os.path.join(glob.escape(folder), rest or "*")))  # noqa: PTH118
        below = _entries(folder or os.curdir, set())
        names = [e.name for e in below if not isinstance(e, Input) and _is_folder(e)]
        to_enter.extend(os.path.join(folder, name) for name in names)  # noqa: PTH118
    return sorted(matches)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where one may not look: it fails when it is opened
        return False


def _stream(path: str, stream: BinaryIO, null: bool, how: _How) -> Iterator[Input]:
    """Yield the inputs of standard input or another pipe: an image, or paths as they come."""
    if how.column is not None:
        yield from _list(path, how.column, how.known, stream)
        return
    read = getattr(stream, "read1", stream.read)  # what is there, rather than all of a chunk
    end = b"\0" if null else b"\n"
    start = b""
    while not (end in start or len(start) >= _TELLING) and (more := read(_CHUNK)):
        start += more
    if _is_image(start) and not null:
        whole = bytearray(start)
        while len(whole) <= MAX_BYTES and (more := read(_CHUNK)):  # more is refused
            whole += more
        yield Input(path, data=bytes(whole))
        return
    for line in _lines(start, read, end):
        # The bytes of a file name that is not UTF-8 survive as surrogate escapes.
        name = os.fsdecode(line if null else line.removesuffix(b"\r"))[:MAX_NAME]
        if name:
            yield listed_photo(name, how.known)


def _is_image(start: bytes) -> bool:
    return start.startswith(_SIGNATURES) or (
        start.startswith(_SIGNATURES_OF_LETTERS) and b"\0" in start[:_TELLING]
    )


def _lines(start: bytes, read: Callable[[int], bytes], end: bytes) -> Iterator[bytes]:
    rest = start
    while True:
        *complete, rest = rest.split(end)
        yield from complete
        rest = rest[:_CHUNK]  # no need to keep what is cut off later
        more = read(_CHUNK)
        if not more:
            yield rest
            return
        rest += more
