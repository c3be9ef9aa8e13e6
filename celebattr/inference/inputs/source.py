"""One photo to score: a name, and a way to its bytes. Imports neither numpy nor Pillow."""

from __future__ import annotations

import functools
import os
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from celebattr.constants import IMAGE_SUFFIXES, UNOPENED_SUFFIXES
from celebattr.errors import ImageError, UnreadableImageError, printable, reason
from celebattr.io import storage
from celebattr.options import file_path
from celebattr.predictions import Failure

STDIN = "-"


DRAWN = "drawn"
"""Name under which pictures of an earlier run are counted."""


def suffix_of(path: str) -> str:
    """Return the suffix of a name, in lower case."""
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def wanted(name: str, left_out: Counter[str], *, local: bool = False) -> bool:
    """Return True if a file of a folder is to have a row; count it if it is of another kind."""
    suffix = suffix_of(name)
    if suffix in UNOPENED_SUFFIXES:
        left_out[suffix] += 1
    if suffix not in IMAGE_SUFFIXES:
        return False
    if is_drawn(name, local=local):
        left_out[DRAWN] += 1
        return False
    return True


def is_drawn(path: str, *, local: bool) -> bool:
    """Return True if an image is one that `--annotate` wrote: `x.annotated.jpg`.

    Of a local file also if it is a heat map, `x.Smiling.jpg` beside that.
    """
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    if stem.endswith(".annotated"):
        return True
    starts = (stem[:at] for at, letter in enumerate(stem) if letter == "." and local)
    return any(
        os.path.lexists(os.path.join(folder, f"{start}.annotated{suffix}"))  # noqa: PTH118
        for start in starts
    )


@dataclass(frozen=True)
class Input:
    """One photo to score.

    Attributes:
        path: the name it is reported by, as it was given.
        data: its bytes, where it did not come from a file.
        failure: why there is nothing to open, or None.
        file: where it lies, if not at `path`.
        packed: size and CRC-32 of what `data` holds, deflated: some kB of a zip may be 250 MB, and
            several are under way. It is unpacked in the process that opens it.
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
    packed: tuple[int, int] | None = None
    read: Callable[[], Input] | None = None
    size: int = 0
    listed: bool = False

    def ready(self) -> Input:
        """Return the same input with its bytes, unless they lie in a file of their own."""
        return self if self.read is None else self.read()

    @property
    def source(self) -> str | bytes:
        """The path or bytes to open.

        Raises:
            UnreadableImageError: the bytes are packed and damaged.
        """
        if self.data is None:
            return self.file or self.path
        return self.data if self.packed is None else _unpacked(self.data, *self.packed, self.path)


def _unpacked(data: bytes, size: int, checksum: int, name: str) -> bytes:
    try:
        whole = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)
        if zlib.crc32(whole) == checksum:
            return whole
        why = "bad CRC-32"
    except zlib.error as error:
        why = reason(error)
    raise UnreadableImageError(f"{printable(name)}: damaged ({why})")


def photo(source: str | bytes, allow: Iterable[str] = ()) -> Input:
    """Return one photo by its path, URL or bytes, as a list names it; `allow` as in `expand`."""
    if isinstance(source, bytes):
        return Input(STDIN, data=source)
    return listed_photo(source, storage.allowed(allow))


def listed_photo(name: str, known: Container[str]) -> Input:
    """Return the one photo that a line of a list names: no folder, pattern or other list."""
    if not storage.is_address(name):
        return Input(name)
    place, reason = resolve_address(name, known, listed=True)
    if reason:
        return failed(name, reason)
    return stored(name, listed=True) if place is None else Input(name, file=place)


def resolve_address(
    name: str, known: Container[str], *, listed: bool = False
) -> tuple[str | None, str]:
    """Return the local path of an address, if it is one, and the reason for a refusal."""
    reason = storage.refusal(name, known, listed=listed)
    if not reason:
        return file_path(name), ""
    here = os.path.join(os.curdir, name)  # noqa: PTH118 - for whoever gets it, a path
    return (here, "") if os.path.lexists(here) else (None, reason)


def stored(
    path: str, *, url: str | None = None, size: int | None = None, listed: bool = False
) -> Input:
    """Return a photo in a store, fetched on demand; its address is not checked.

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
        return Input(path, data=storage.read(url, size))
    except ImageError as error:
        return Input(path, failure=Failure(path, error.status, str(error)))
    except Exception as error:
        # Of a bucket that a list names nobody knows whether it ever was there.
        if not listed:
            raise
        return failed(path, str(error) or type(error).__name__, "unreadable")


def failed(path: str, reason: str, status: str = "not_found") -> Input:
    """Return an input that has failed already."""
    return Input(path, failure=Failure(path, status, f"{storage.shown(path)}: {reason}"))
