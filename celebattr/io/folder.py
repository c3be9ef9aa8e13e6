"""A folder of files on a disk or, through fsspec, in a store: for shards, plans and parts.

Distant files are read by ranges of bytes, all ranges of a batch at once: an object store takes tens
of milliseconds to answer, whether it is asked for one or for a hundred. Credentials and endpoints
are given as the file system's package takes them, for s3fs in the environment or in ~/.aws.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from celebattr.errors import DataError
from celebattr.io import storage
from celebattr.io.files import (
    find_files,
    remove_all_torn,
    remove_torn,
    replacing,
    reporting,
    stamp,
    write_bytes,
)
from celebattr.options import Location, Url, parse_location

Range = tuple[str, int, int]
"""A file by its name in the folder, an offset, and how many bytes from there."""


class Folder(Protocol):
    """Files by names like `train-000000.tar`, or `train/0.tar` in folders of it."""

    @property
    def path(self) -> Location:
        """The folder."""

    def sizes(self, suffix: str) -> dict[str, int]:
        """Return the files with a suffix, sorted by name, and their sizes in bytes."""

    def stamp(self, name: str) -> str:
        """Return a text that changes when a file does."""

    def open(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a file for reading, as a stream."""

    def exists(self, name: str) -> bool:
        """Return True if the file exists."""

    def names(self, folder: str) -> list[str]:
        """Return the sorted files of a subfolder; none if it does not exist."""

    def read(self, name: str) -> bytes:
        """Return a whole file."""

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return whole files."""

    def ranges(self, wanted: Sequence[Range]) -> list[bytes]:
        """Return ranges of bytes of files, shorter where a file ends."""

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file at once: complete or absent."""

    def create(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a new file for writing; it appears once the block ends well."""

    def remove(self, *names: str) -> None:
        """Remove files that exist."""

    def remove_torn(self, *names: str) -> None:
        """Remove temporary files of killed programs, of these names or of all.

        Nobody may be writing them. A store has nothing of a put that did not end.
        """


def folder_at(place: str | Location) -> Folder:
    """Return the folder at a path or URL.

    Raises:
        MissingExtraError: it is a URL, and fsspec is not installed.
        DeviceError: the package of that file system is not installed.
        UsageError: there is no such file system.
    """
    place = parse_location(place) if not isinstance(place, Url) else place
    return Remote(place, *storage.locate(place)) if isinstance(place, Url) else Local(place)


@dataclass(frozen=True)
class Local:
    """Files on a disk."""

    path: Path

    def sizes(self, suffix: str) -> dict[str, int]:
        """Return the files in the folder or, if there are none, up to two folders deeper."""
        found = find_files(self.path, suffix) if self.path.is_dir() else []
        return {file.relative_to(self.path).as_posix(): file.stat().st_size for file in found}

    def stamp(self, name: str) -> str:
        """Return the size and times of a file."""
        return stamp(self.path / name)

    def open(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a file for reading, as a stream."""
        return (self.path / name).open("rb")

    def exists(self, name: str) -> bool:
        """Return True if the file exists."""
        return (self.path / name).exists()

    def names(self, folder: str) -> list[str]:
        """Return the sorted files of a subfolder; none if it does not exist."""
        path = self.path / folder
        return sorted(file.name for file in path.iterdir()) if path.is_dir() else []

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DataError(f"{self.path / name} cannot be read: {reason}") from error

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return whole files."""
        return [self.read(name) for name in names]

    def ranges(self, wanted: Sequence[Range]) -> list[bytes]:
        """Return ranges of bytes of files, opened per call: threads and forks share no handle."""
        found = []
        for name, offset, size in wanted:
            with (self.path / name).open("rb") as opened:
                opened.seek(offset)
                found.append(opened.read(size))
        return found

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file at once: complete or absent."""
        self._make_folder_of(name)
        write_bytes(self.path / name, data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Open a new file for writing; it appears once the block ends well."""
        self._make_folder_of(name)
        with replacing(self.path / name) as file:
            yield file

    def remove(self, *names: str) -> None:
        """Remove files that exist."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def remove_torn(self, *names: str) -> None:
        """Remove temporary files of killed programs, of these names or of all."""
        for name in names:
            remove_torn(self.path / name)
        if not names:
            remove_all_torn(self.path)

    def _make_folder_of(self, name: str) -> None:
        with reporting(self.path):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class Remote:
    """Files at a URL.

    Attributes:
        path: the folder.
        system: the file system, an `fsspec.AbstractFileSystem`.
        root: the folder as that file system calls it.
    """

    path: Url
    system: Any
    root: str

    def sizes(self, suffix: str) -> dict[str, int]:
        """Return the files in the folder and below it, from one listing."""
        with self._reporting("listed"):
            try:
                found = self.system.find(self.root, detail=True)
            except FileNotFoundError:
                found = {}
        start = len(self.root.rstrip("/")) + 1
        return {at[start:]: int(found[at]["size"]) for at in sorted(found) if at.endswith(suffix)}

    def stamp(self, name: str) -> str:
        """Return all that the file system says of a file, such as its ETag and time."""
        with self._reporting("read"):
            return str(self.system.ukey(self._at(name)))

    def open(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a file for reading, as a stream."""
        with self._reporting("read"):
            opened = self.system.open(self._at(name), "rb")
        return cast("contextlib.AbstractContextManager[BinaryIO]", opened)

    def exists(self, name: str) -> bool:
        """Return True if the file exists."""
        with self._reporting("read"):
            return bool(self.system.exists(self._at(name)))

    def names(self, folder: str) -> list[str]:
        """Return the sorted files of a subfolder; none if it does not exist."""
        place = self._at(folder)
        with self._reporting("listed"):
            self.system.invalidate_cache()  # fsspec keeps listings, and other workers write parts
            found = self.system.ls(place, detail=False) if self.system.isdir(place) else []
        return sorted(str(name).rpartition("/")[2] for name in found)

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return self.read_all([name])[0]

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return whole files, all requested at once."""
        paths = [self._at(name) for name in names]
        with self._reporting("read"):
            found = self.system.cat(paths)
        return [found[path] for path in paths]

    def ranges(self, wanted: Sequence[Range]) -> list[bytes]:
        """Return ranges of bytes of files, all requested at once."""
        with self._reporting("read"):
            found = self.system.cat_ranges(
                [self._at(name) for name, _, _ in wanted],
                [offset for _, offset, _ in wanted],
                [offset + size for _, offset, size in wanted],
                on_error="return",  # each gets its answer, and the first error is raised below
            )
            for one in found:
                if isinstance(one, Exception):
                    raise one
        return list(found)

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file at once."""
        with self._reporting("written"):
            self.system.pipe_file(self._at(name), data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Open a new file, written locally first: an interrupted one never gets there."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "file"
            with reporting(file), file.open("xb") as opened:
                yield opened
            with self._reporting("written"):
                self.system.put_file(str(file), self._at(name))

    def remove(self, *names: str) -> None:
        """Remove files that exist."""
        for name in names:
            with self._reporting("written"):
                if self.system.exists(self._at(name)):
                    self.system.rm_file(self._at(name))

    def remove_torn(self, *names: str) -> None:
        """Remove nothing, since an interrupted put leaves nothing."""

    def _at(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _reporting(self, done: str) -> Iterator[None]:
        """Turn any exception of the file system into a `DataError`.

        Each file system's package has exceptions of its own, so all are caught.
        """
        try:
            yield
        except FileNotFoundError as error:
            raise DataError(f"{self.path} does not exist, or a file in it ({error})") from error
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise DataError(
                f"{self.path} cannot be {done} ({why}): check the address, the network and the "
                "credentials"
            ) from error
