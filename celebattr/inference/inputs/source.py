"""One photo to be: a name, and how to come by its bytes. Imports neither numpy nor Pillow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from celebattr.errors import ImageError
from celebattr.io import storage
from celebattr.predictions import Failure

STDIN = "-"
WEB = ("http://", "https://")


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
    """

    path: str
    data: bytes | None = None
    failure: Failure | None = None
    file: str | None = None
    read: Callable[[], Input] | None = None
    size: int = 0

    def ready(self) -> Input:
        """The same input with its bytes, where they do not lie in a file of their own."""
        return self if self.read is None else self.read()

    @property
    def source(self) -> str | bytes:
        """What to open."""
        return (self.file or self.path) if self.data is None else self.data


def photo(source: str | bytes, file: str | None = None) -> Input:
    """One photo by its name, path or URL, or by its bytes; nothing is searched or opened.

    Args:
        source: the photo.
        file: the path or URL where it lies, if not at `source`.
    """
    if isinstance(source, bytes):
        return Input(STDIN, data=source)
    place = file or source
    if place[:8].lower().startswith(WEB):
        return web_address(source)
    return stored(source, url=file) if storage.is_remote(place) else Input(source, file=file)


def web_address(path: str) -> Input:
    """The failure that an address on the web is: nothing is downloaded."""
    reason = f"{path}: URLs are not opened: download it first"
    return Input(path, failure=Failure(path, "not_found", reason))


def stored(path: str, *, url: str | None = None, size: int | None = None) -> Input:
    """A photo in a store, which is fetched when it is wanted."""
    fetch = functools.partial(_fetched, path, url or path, size)
    return Input(path, read=fetch, size=size or 0, file=url)


def _fetched(path: str, url: str, size: int | None) -> Input:
    try:
        return Input(path, data=storage.read(url, size))
    except ImageError as error:
        return Input(path, failure=Failure(path, error.status, str(error)))
