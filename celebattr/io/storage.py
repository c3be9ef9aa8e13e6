"""Files that lie in an object store, or wherever else fsspec reaches: `s3://bucket/photos`.

Credentials and endpoints come from the environment, as the store's own tools read them. fsspec and
the package of the store (s3fs, gcsfs, adlfs, ...) are imported where a URL is met.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from celebattr.constants import MAX_BYTES
from celebattr.errors import (
    DataError,
    DeviceError,
    ImageNotFoundError,
    ImageTooLargeError,
    MissingExtraError,
    UnreadableImageError,
    UsageError,
)

_URL = re.compile(r"(?!https?://)[a-z][a-z0-9+.-]+://", re.IGNORECASE)
"""Without http and https: what they bring is a page as often as a photo, and has no listing."""

_TRIES = 3
"""Of reading a file: the packages of most stores try again by themselves, before that."""


def is_remote(path: str) -> bool:
    """True where a name is a URL of fsspec's rather than a file's."""
    return "://" in path and _URL.match(path) is not None


def locate(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the name of its file there.

    Raises:
        MissingExtraError: fsspec is not installed.
        DeviceError: the package of that kind of store is not installed.
        UsageError: there is no such kind of store.
    """
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise MissingExtraError("fsspec", "cloud") from error
    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(url))
    except ImportError as error:  # of s3fs, gcsfs, ...: the user's choice, so in no extra
        raise DeviceError(
            f"{url} needs a package beside fsspec: {error}. 'pip install s3fs' reads s3://, gcsfs "
            "gs://, adlfs abfs://"
        ) from error
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error


def open_binary(path: str) -> BinaryIO:
    """Opens a file for reading, wherever it lies; it can be searched.

    Raises:
        OSError: it cannot be opened.
    """
    if not is_remote(path):
        return open(path, "rb")  # noqa: PTH123 - pathlib fails on some names
    store, name = locate(path)
    return cast(BinaryIO, store.open(name, "rb"))


def is_folder(url: str) -> bool:
    """True where there is anything below a URL."""
    store, name = locate(url)
    return bool(_asked(url, lambda: store.isdir(name)))


def matches(url: str) -> list[str]:
    """The URLs that a pattern with * ? [] matches, sorted."""
    store, name = locate(url)
    found = _asked(url, lambda: store.glob(name))
    # As in a shell a star matches no hidden name, nor what lies below one.
    named = set(name.split("/"))
    return sorted(
        store.unstrip_protocol(match)
        for match in found
        if not any(part.startswith(".") for part in {*str(match).split("/")} - named)
    )


def files(url: str) -> Iterator[tuple[str, int]]:
    """Each file below a URL and its bytes, in the order of a local folder, hidden ones left out.

    One folder's names are in memory at a time, and those above it.

    Raises:
        DataError: the store does not list it.
    """
    store, name = locate(url)
    yield from _below(store, name)


def _below(store: Any, folder: str) -> Iterator[tuple[str, int]]:
    entries = _asked(store.unstrip_protocol(folder), lambda: store.ls(folder, detail=True))
    # A folder may list itself: some programs write an empty object in its name.
    here = folder.strip("/")
    for entry in sorted(entries, key=lambda entry: str(entry["name"]).rstrip("/")):
        name = str(entry["name"])
        last = name.rstrip("/").rpartition("/")[2]
        if name.strip("/") == here or last.startswith("."):
            continue
        if entry["type"] == "directory":
            yield from _below(store, name)
        else:
            yield store.unstrip_protocol(name), int(entry["size"] or 0)


def read(url: str, size: int | None = None) -> bytes:
    """A photo's bytes.

    Args:
        url: where it lies.
        size: how many there are, where that is known.

    Raises:
        ImageError: there is no such file, or it may not be read, or it is too large.
        DataError: the store failed, several times. That is not the photo's fault, and a row that
            says so would be wrong tomorrow: the run ends, and is gone on with.
    """
    store, name = locate(url)
    reason = ""
    for attempt in range(_TRIES):
        try:
            if size is None:
                size = int(store.size(name) or 0)
            if size > MAX_BYTES:
                raise ImageTooLargeError(f"{url}: more bytes than the limit of {MAX_BYTES:,}")
            return cast(bytes, store.cat_file(name))
        except FileNotFoundError as error:
            raise ImageNotFoundError(f"{url}: no such file") from error
        except (PermissionError, IsADirectoryError) as error:
            raise UnreadableImageError(f"{url}: {_text(error)}") from error
        except ImageTooLargeError:
            raise
        except Exception as error:  # each package has its own for a connection that breaks
            reason = _text(error)
            time.sleep(attempt)
    raise DataError(f"{url} cannot be read ({reason}): go on with --resume when the store is back")


def _asked(url: str, question: Any) -> Any:
    try:
        return question()
    except Exception as error:  # as above; without credentials for instance
        raise DataError(f"{url} cannot be listed ({_text(error)})") from error


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
