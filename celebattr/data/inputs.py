"""What `predict` is given becomes a stream of inputs.

Files, folders, globs, standard input; images in archives; the paths in a column of a list; and the
same in an object store.
"""

from __future__ import annotations

import functools
import glob
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from celebattr.data import remote
from celebattr.data.limits import MAX_NAME
from celebattr.errors import DataError, ImageError
from celebattr.parse import file_path
from celebattr.results.predictions import Failure

STDIN = "-"

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
)
"""What a folder is searched for, in lower case; a file named outright may have any suffix."""

# How the accepted formats begin. RIFF is WebP's container. File names may begin like the second
# kind, BMW.jpg for instance; but images of that kind have a zero byte near their beginning.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\x00", b"MM\x00*")
_SIGNATURES_OF_LETTERS = (b"RIFF", b"BM", b"GIF8")
_CHUNK = 1 << 16

_LIST_SUFFIXES = (".csv", ".tsv", ".parquet")
"""A file so named is a list of paths without being called one."""

Opener = Callable[[str], Iterable["Input"]]
"""Gives what an archive stands for."""


@dataclass(frozen=True)
class Input:
    """One photo to be.

    Attributes:
        path: the name it is reported by, as it was given.
        data: its bytes, where it did not come from a file.
        failure: why there is nothing to open, or None.
        file: where it lies, if not at `path`.
        read: gives the same input with its bytes, or its failure, where that takes work: who skips
            an input need not do it. Safe to call in any thread.
        size: how many bytes `read` will bring, at most.
        listed: a list named it, so `read` gives a failure whatever happens. Of what the operator
            named, a store that fails raises `DataError`: the run ends, and is resumed later.
    """

    path: str
    data: bytes | None = None
    failure: Failure | None = None
    file: str | None = None
    read: Callable[[], Input] | None = None
    size: int = 0
    listed: bool = False

    def ready(self) -> Input:
        """The same input with its bytes, where they do not lie in a file of their own."""
        return self if self.read is None else self.read()

    @property
    def source(self) -> str | bytes:
        """What to open."""
        return (self.file or self.path) if self.data is None else self.data


def expand(
    paths: Iterable[str],
    *,
    null: bool = False,
    stdin: BinaryIO | None = None,
    column: str | None = None,
    archive: Opener | None = None,
    allow: Iterable[str] = (),
) -> Iterator[Input]:
    """Each photo that `paths` stand for, in a stable order; no file of a photo is opened yet.

    A folder is searched throughout, sorted by name, hidden files left out; a pattern that matches
    nothing, and a name that does not exist, come back as they are and fail when they are opened.
    An archive, and a list by its suffix, are opened where they are named outright, not where they
    lie in a folder or are met by a pattern that would match anything. A line of a list is one
    photo, or one failure: no pattern, folder, archive or list.

    An address is opened if its protocol is one of `remote.PROTOCOLS` or of `allow`; else it is the
    name of a local file or, where there is none, a failure.

    Args:
        paths: files, folders, patterns with * ? [], archives, lists (CSV, Parquet), or "-" for
            standard input: a list of paths, or the bytes of one image.
        null: paths on standard input end in NUL rather than newline.
        stdin: what "-" reads.
        column: every path is a list, and this its column of paths; "-" is a CSV then.
        archive: what to make of an archive; without it, the images in it.
        allow: more protocols to open, and see `remote.ALLOW`.

    Raises:
        UsageError: `allow` has a protocol that is never opened.
        DataError: a list cannot be read or has no such column; a store does not answer.
        MissingExtraError: a Parquet file needs pyarrow, or a URL fsspec.
    """
    known = remote.allowed(allow)
    if archive is None:
        archive = _members
    for path in paths:
        if path == STDIN:
            stream = stdin or sys.stdin.buffer
            if column is None:
                yield from _standard_input(stream, null, known)
            else:
                yield from _list(path, column, known, stream)
        else:
            yield from _one(path, archive, column, known)


def photo(source: str | bytes, allow: Iterable[str] = ()) -> Input:
    """One photo by its path or URL, as a list names it, or by its bytes; `allow` as in `expand`."""
    if isinstance(source, bytes):
        return Input(STDIN, data=source)
    return _listed(source, remote.allowed(allow))


def _listed(name: str, known: Container[str]) -> Input:
    """The one photo that a line of a list names: no folder, pattern or other list."""
    if not remote.is_address(name):
        return Input(name)
    place, reason = _address(name, known, listed=True)
    if reason:
        return _failed(name, reason)
    return stored(name, listed=True) if place is None else Input(name, file=place)


def _address(name: str, known: Container[str], *, listed: bool = False) -> tuple[str | None, str]:
    """The path on this machine that an address leads to, if one; and why it is not opened."""
    reason = remote.refusal(name, known, listed=listed)
    if not reason:
        return file_path(name), ""
    here = os.path.join(os.curdir, name)  # noqa: PTH118 - for whoever gets it, a path
    return (here, "") if os.path.lexists(here) else (None, reason)


def _one(path: str, archive: Opener, column: str | None, known: Container[str]) -> Iterator[Input]:
    if not remote.is_address(path):
        yield from _local(path, archive, column, known)
        return
    place, reason = _address(path, known)
    if reason:
        yield _failed(path, reason)
    elif place is None:
        for match in (remote.matches(path) if glob.has_magic(path) else ()) or (path,):
            yield from _remote(match, archive, column, known)
    else:
        alone = Input(place)
        for item in _local(place, archive, column, known):
            yield Input(path, file=place) if item == alone else item


def _local(
    path: str, archive: Opener, column: str | None, known: Container[str]
) -> Iterator[Input]:
    if column is None and os.path.isdir(path):  # noqa: PTH112 - pathlib would change "./a"
        yield from _folder(path, set())
    elif not os.path.lexists(path) and glob.has_magic(path):
        matches = sorted(glob.iglob(path, recursive=True))  # noqa: PTH207 - absolute patterns too
        searched: tuple[str, ...] = ()
        for match in matches:
            if match.startswith(searched):  # ** matches a folder and what is in it: once is enough
                continue
            if column is None and os.path.isdir(match):  # noqa: PTH112
                searched += (os.path.join(match, ""),)  # noqa: PTH118
                yield from _folder(match, set())
            elif column is not None or _suffix(path) == _suffix(match) != "":
                yield from _file(match, archive, column, known)
            else:
                yield Input(match)
        if not matches:
            yield Input(path)
    else:
        yield from _file(path, archive, column, known)


def _file(path: str, archive: Opener, column: str | None, known: Container[str]) -> Iterator[Input]:
    """What a file stands for that is named outright: itself, or what an archive or a list holds."""
    suffix = _suffix(path)
    if not os.path.isfile(path):  # noqa: PTH113 - a pipe would block; what is not there fails later
        yield Input(path)
    elif column is not None or suffix in _LIST_SUFFIXES:
        yield from _list(path, column, known)
    elif suffix in IMAGE_SUFFIXES:  # a million photos are not opened twice
        yield Input(path)
    else:
        # Imported here: it needs `Input`, and who has photos only need not wait for it.
        from celebattr.data import archives

        yield from archive(path) if archives.is_archive(path) else (Input(path),)


def _remote(
    path: str, archive: Opener, column: str | None, known: Container[str]
) -> Iterator[Input]:
    """What a URL stands for, as `_local` and `_file` do it for files."""
    from celebattr.data import archives

    suffix = _suffix(path)
    if column is not None or suffix in _LIST_SUFFIXES:
        yield from _list(path, column, known)
    elif suffix in IMAGE_SUFFIXES:
        yield stored(path)
    elif remote.is_folder(path):
        for name, size in remote.files(path):
            if _suffix(name) in IMAGE_SUFFIXES:
                yield stored(name, size=size)
    else:
        yield from archive(path) if archives.is_archive(path) else (stored(path),)


def stored(
    path: str, *, url: str | None = None, size: int | None = None, listed: bool = False
) -> Input:
    """A photo in a store, which is fetched when it is wanted; its address is not questioned.

    Args:
        path: the name it is reported by.
        url: where it lies, if not at `path`.
        size: its bytes, where that is known.
        listed: see `Input`.
    """
    fetch = functools.partial(_fetched, path, url or path, size, listed)
    return Input(path, read=fetch, size=size or 0, file=url, listed=listed)


def _fetched(path: str, url: str, size: int | None, listed: bool) -> Input:
    try:
        return Input(path, data=remote.read(url, size))
    except ImageError as error:
        return Input(path, failure=Failure(path, error.status, str(error)))
    except Exception as error:
        # Of a bucket that a list names nobody knows whether it ever was there.
        if not listed:
            raise
        return _failed(path, str(error) or type(error).__name__, "unreadable")


def _members(path: str) -> Iterator[Input]:
    from celebattr.data import archives

    return archives.members(path)


def _list(
    path: str, column: str | None, known: Container[str], stdin: BinaryIO | None = None
) -> Iterator[Input]:
    """The photos that a list names, one a row: not folders, nor other lists."""
    from celebattr.data.lists import paths_in

    folder = os.path.dirname(path)  # noqa: PTH120
    for row, name in enumerate(paths_in(path, column, stdin=stdin), 1):
        if isinstance(name, DataError):
            yield Input(path, failure=Failure(path, "unreadable", str(name)))
            continue
        name = name[:MAX_NAME]
        if not name:
            reason = f"{path}: row {row:,} has no path"
            yield Input(path, failure=Failure(path, "not_found", reason))
        elif remote.is_address(name):
            yield _listed(name, known)
        elif remote.is_remote(path):
            yield stored(name, url=f"{folder}/{name}", listed=True)
        else:
            beside = os.path.join(folder, name)  # noqa: PTH118
            elsewhere = not os.path.exists(name) and os.path.exists(beside)  # noqa: PTH110
            yield Input(name, file=beside if elsewhere else None)


def _failed(path: str, reason: str, status: str = "not_found") -> Input:
    return Input(path, failure=Failure(path, status, f"{remote.shown(path)}: {reason}"))


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


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
        elif _suffix(entry.name) in IMAGE_SUFFIXES:
            yield Input(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where one may not look: it fails when it is opened
        return False


def _standard_input(stream: BinaryIO, null: bool, known: Container[str]) -> Iterator[Input]:
    start = stream.read(_CHUNK)
    if _is_image(start) and not null:
        yield Input(STDIN, data=start + stream.read())
        return
    for name in _lines(start, stream, b"\0" if null else b"\n"):
        # The bytes of a file name that is not UTF-8 survive as surrogate escapes.
        path = os.fsdecode(name if null else name.removesuffix(b"\r"))[:MAX_NAME]
        if path:
            yield _listed(path, known)


def _is_image(start: bytes) -> bool:
    return start.startswith(_SIGNATURES) or (
        start.startswith(_SIGNATURES_OF_LETTERS) and b"\0" in start[:64]
    )


def _lines(start: bytes, stream: BinaryIO, end: bytes) -> Iterator[bytes]:
    rest = start
    while True:
        *complete, rest = rest.split(end)
        yield from complete
        rest = rest[:_CHUNK]  # no need to keep what is cut off later
        more = stream.read(_CHUNK)
        if not more:
            yield rest
            return
        rest += more
