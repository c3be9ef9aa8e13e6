"""Files in an object store, or wherever else fsspec reaches: `s3://bucket/photos`.

An address may come from a stranger, as a line of a list: `refusal` says which are opened. Through
the others fsspec would fetch from any host, or run what a file says.

Credentials and endpoints come from the environment, as the store's own tools read them. fsspec and
the package of the store (s3fs, gcsfs, adlfs, ...) are imported where a URL is met.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Container, Iterable, Iterator
from typing import Any, BinaryIO, cast

from celebattr.constants import MAX_BYTES
from celebattr.errors import (
    DataError,
    DeviceError,
    ImageError,
    ImageNotFoundError,
    ImageTooLargeError,
    MissingExtraError,
    UnreadableImageError,
    UsageError,
    printable,
    reason,
)

WEB = ("http", "https")
"""Protocols of the web."""

PROTOCOLS = ("file", "s3", "gs", "gcs", "abfs", "az")
"""Protocols that inputs are opened through. Each asks one host, the store's, or none."""

ALLOW = "CELEBATTR_ALLOW_PROTOCOL"
"""The environment variable that adds to them, as --allow-protocol does; separated by commas."""

_WRAPPERS = frozenset(
    {"async_wrapper", "asyncwrapper", "blockcache", "cached", "dask", "dir", "filecache", "generic"}
    | {"libarchive", "local", "reference", "simplecache", "tar", "zip"}
)
"""Protocols of fsspec's that open other addresses or paths, past the check of those."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+._-]+://", re.IGNORECASE | re.ASCII)

# No other characters: a bucket's name becomes a part of the host's in some packages.
_IN_A_BUCKET = re.compile(r"(?:[\w.-]+(?:@[\w.-]+)?|arn:[\w.:-]+)/.", re.ASCII | re.DOTALL)

_SECRET = re.compile(r"(://)[^/@:\s]*:[^/@\s]*(@)|([?&][^=&\s]{1,64}=)[^&\s]+")

_TRIES = 3
"""Attempts to read a file, beyond the retries of the store's own package."""


def is_address(path: str) -> bool:
    """Return True if a text is `protocol://...`, whatever the protocol; C:// is a drive."""
    return "://" in path and _ADDRESS.match(path) is not None


def is_remote(path: str) -> bool:
    """Return True if a text is a URL of fsspec's, rather than a file's name."""
    return is_address(path) and not is_web(path)


def is_web(path: str) -> bool:
    """Return True if a text is an address of the web, where nothing can be listed."""
    return is_address(path) and _protocol(path) in WEB


def _protocol(url: str) -> str:
    return url.partition("://")[0].lower()


def allowed(more: Iterable[str] = ()) -> frozenset[str]:
    """Return the protocols for inputs: `PROTOCOLS`, those of `ALLOW`, and `more`.

    Raises:
        UsageError: one that is never opened.
    """
    listed = ",".join([os.environ.get(ALLOW, ""), *more])
    added = {name.strip().lower().removesuffix("://") for name in listed.split(",")} - {""}
    if never := sorted(added & _WRAPPERS):
        raise UsageError(
            f"--allow-protocol {never[0]}: inputs are never opened so: it opens other addresses"
        )
    return frozenset({*PROTOCOLS, *added})


def refusal(url: str, known: Container[str], *, listed: bool = False) -> str:
    """Return the reason why an input's address is not opened, "" if it is.

    Args:
        url: the address.
        known: `allowed(...)`.
        listed: it stands in a list, so it is to be that of one file.
    """
    protocol, rest = _protocol(url), url.partition("://")[2]
    if protocol in WEB and protocol not in known:
        return f"URLs are not opened: download it first, or give --allow-protocol {protocol}"
    if protocol not in known:
        return f"{printable(protocol[:4096])}:// is not opened (see --allow-protocol)"
    if protocol == "file":  # a path, in which nothing has a meaning
        return ""
    if protocol in WEB:  # `web` judges the host
        return ""
    if "::" in rest:
        return "chained addresses (::) are not opened"
    if listed and protocol in PROTOCOLS and not _IN_A_BUCKET.match(rest):
        return "not the address of a file in a bucket"
    return ""


def shown(text: str) -> str:
    """Return a text with addresses on one line and without secrets, for messages."""
    return printable(_SECRET.sub(r"\1\3***\2", text)[:4096])


def locate(url: str) -> tuple[Any, str]:
    """Return the file system of a URL that the operator gave, and the path in it.

    Raises:
        MissingExtraError: fsspec is not installed.
        DeviceError: the package of that kind of store is not installed.
        UsageError: there is no such kind of store.
    """
    with _importing(url):
        import fsspec

        return cast("tuple[Any, str]", fsspec.core.url_to_fs(url))


def find(url: str) -> tuple[Any, str]:
    """Locate an input as `locate` does, with `::` as a part of a name that chains nothing."""
    with _importing(url):
        import fsspec

        protocol = _protocol(url)
        url = f"{protocol}://{url.partition('://')[2]}"
        kind = fsspec.get_filesystem_class(protocol)
        return kind(**kind._get_kwargs_from_urls(url)), str(kind._strip_protocol(url))


@contextlib.contextmanager
def reporting(url: str, done: str) -> Iterator[None]:
    """Turn any failure of a store to be listed, read or written into a `DataError`.

    Each store's package has exceptions of its own, so all are caught.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{shown(url)} does not exist, or a file in it ({_text(error)})") from error
    except Exception as error:
        raise DataError(
            f"{shown(url)} cannot be {done} ({type(error).__name__}: {_text(error)}): check the "
            "address, the network and the credentials"
        ) from error


def _text(error: Exception) -> str:
    return shown(reason(error, 4096))[:200]  # shortened last: half a secret is not recognised


@contextlib.contextmanager
def _importing(url: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        if error.name == "fsspec":
            raise MissingExtraError("fsspec", "cloud") from error
        # Of s3fs, gcsfs, ...: the user's choice, so in no extra.
        raise DeviceError(
            f"{shown(url)} needs a package beside fsspec: {error}. 'pip install s3fs' reads s3://, "
            "gcsfs gs://, adlfs abfs://"
        ) from error
    except ValueError as error:
        raise UsageError(f"{shown(url)}: {error}") from error


def open_binary(path: str) -> BinaryIO:
    """Open a list or an archive, local or remote, for reading; it can be searched.

    Raises:
        OSError: it cannot be opened.
    """
    if not is_remote(path):
        return open(path, "rb")  # noqa: PTH123 - pathlib fails on some names
    store, name = find(path)
    return cast(BinaryIO, store.open(name, "rb"))


def is_folder(url: str) -> bool:
    """Return True if there is anything below a URL."""
    store, name = find(url)
    with reporting(url, "listed"):
        return bool(store.isdir(name))


def matches(url: str) -> list[str]:
    """Return the URLs that a pattern with * ? [] matches, sorted."""
    store, name = find(url)
    with reporting(url, "listed"):
        found = store.glob(name)
    # As in a shell a star matches no hidden name, nor what lies below one.
    named = set(name.split("/"))
    return sorted(
        store.unstrip_protocol(match)
        for match in found
        if not any(part.startswith(".") for part in {*str(match).split("/")} - named)
    )


def files(url: str) -> Iterator[tuple[str, int]]:
    """Yield each file below a URL and its size, ordered as a local folder, without hidden ones.

    One folder's names are in memory at a time, and those above it.

    Raises:
        DataError: the store does not list it.
    """
    store, name = find(url)
    stack = [iter(_listed(store, name))]  # keys may have more parts than Python's stack
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif entry["type"] == "directory":
            stack.append(iter(_listed(store, str(entry["name"]))))
        else:
            yield store.unstrip_protocol(entry["name"]), int(entry["size"] or 0)


def _listed(store: Any, folder: str) -> list[dict[str, Any]]:
    """Return what is in a folder, sorted, without hidden names."""
    with reporting(store.unstrip_protocol(folder), "listed"):
        entries = store.ls(folder, detail=True)
    # A folder may list itself: some programs write an empty object in its name.
    here = folder.strip("/")
    return sorted(
        (
            entry
            for entry in entries
            if str(entry["name"]).strip("/") != here
            and not str(entry["name"]).rstrip("/").rpartition("/")[2].startswith(".")
        ),
        key=lambda entry: str(entry["name"]).rstrip("/"),
    )


def read(url: str, size: int | None = None) -> bytes:
    """Return a photo's bytes.

    Args:
        url: where it lies.
        size: how many there are, where that is known.

    Raises:
        ImageError: there is no such file, or it may not be read, or it is too large.
        DataError: the store failed, several times. That is not the photo's fault, and a row that
            says so would be wrong tomorrow: the run ends, and is resumed later.
    """
    if is_web(url):
        from celebattr.io import web  # loads HTTP and TLS, a tenth of the time of one photo

        return web.read(url, shown(url))
    store, name = find(url)
    why, called = "", shown(url)
    for attempt in range(_TRIES):
        try:
            if size is None:
                size = _size(store, name, called)
            if size > MAX_BYTES:
                raise ImageTooLargeError(f"{called}: more bytes than the limit of {MAX_BYTES:,}")
            return cast(bytes, store.cat_file(name))
        except FileNotFoundError as error:
            raise ImageNotFoundError(f"{called}: no such file") from error
        except (PermissionError, IsADirectoryError) as error:
            raise UnreadableImageError(f"{called}: {_text(error)}") from error
        except ImageError:
            raise
        except Exception as error:  # each package has its own for a connection that breaks
            why = _text(error)
            if attempt + 1 < _TRIES:
                time.sleep(attempt)
    raise DataError(f"{called} cannot be read ({why}): --resume when the store is back")


def _size(store: Any, name: str, called: str) -> int:
    about = store.info(name)
    if about.get("type") in ("directory", "other"):  # the latter: a device or the like
        what = "a directory" if about["type"] == "directory" else "a device or the like"
        raise UnreadableImageError(f"{called}: is {what}, not a file")
    return int(about.get("size") or 0)
