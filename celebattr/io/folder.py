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
from typing import Any, BinaryIO, cast

from celebattr.errors import DataError, reason
from celebattr.io import storage
from celebattr.io.files import (
    find_files,
    remove_all_torn,
    remove_torn,
    replacing,
    reporting,
    stamp,
    temporary_folder,
    write_bytes,
)
from celebattr.options import Location, Url, parse_location

Range = tuple[str, int, int]
"""A file by its name in the folder, an offset, and how many bytes from there."""


@dataclass(frozen=True)
class Folder:
    """A folder of files on a disk, by names like `train-000000.tar`, or `train/0.tar`.

    Attributes:
        path: the folder.
    """

    path: Location

    @property
    def _root(self) -> Path:
        return Path(self.path)

    def sizes(self, suffix: str) -> dict[str, int]:
        """Return the files in the folder or, if there are none, up to two folders deeper."""
        found = find_files(self._root, suffix) if self._root.is_dir() else []
        return {file.relative_to(self._root).as_posix(): file.stat().st_size for file in found}

    def stamp(self, name: str) -> str:
        """Return a text that changes when a file does: its size and times."""
        return stamp(self._root / name)

    def open(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a file for reading, as a stream."""
        return (self._root / name).open("rb")

    def exists(self, name: str) -> bool:
        """Return True if the file exists."""
        return (self._root / name).exists()

    def names(self, folder: str) -> list[str]:
        """Return the sorted files of a subfolder; none if it does not exist."""
        path = self._root / folder
        return sorted(file.name for file in path.iterdir()) if path.is_dir() else []

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        try:
            return (self._root / name).read_bytes()
        except (OSError, ValueError) as error:  # of a name that no system can have
            raise DataError(f"{self._root / name} cannot be read: {reason(error)}") from error

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return whole files."""
        return [self.read(name) for name in names]

    def ranges(self, wanted: Sequence[Range]) -> list[bytes]:
        """Return ranges of bytes of files, opened per call: threads and forks share no handle."""
        found = []
        for name, offset, size in wanted:
            with (self._root / name).open("rb") as opened:
                opened.seek(offset)
                found.append(opened.read(size))
        return found

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file at once: complete or absent."""
        self._make_folder_of(name)
        write_bytes(self._root / name, data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Open a new file for writing; it appears once the block ends well."""
        self._make_folder_of(name)
        with replacing(self._root / name) as file:
            yield file

    def remove(self, *names: str) -> None:
        """Remove files that exist."""
        for name in names:
            (self._root / name).unlink(missing_ok=True)

    def remove_torn(self, *names: str) -> None:
        """Remove temporary files of killed programs, of these names or of all."""
        for name in names:
            remove_torn(self._root / name)
        if not names:
            remove_all_torn(self._root)

    def _make_folder_of(self, name: str) -> None:
        with reporting(self.path):
            (self._root / name).parent.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class Remote(Folder):
    """A folder of files at a URL.

    Attributes:
        system: the file system, an `fsspec.AbstractFileSystem`.
        root: the folder as that file system calls it.
    """

    system: Any
    root: str

    def sizes(self, suffix: str) -> dict[str, int]:
        """Return the files in the folder and below it, from one listing."""
        with storage.reporting(str(self.path), "listed"):
            try:
                found = self.system.find(self.root, detail=True)
            except FileNotFoundError:
                found = {}
        start = len(self.root.rstrip("/")) + 1
        return {at[start:]: int(found[at]["size"]) for at in sorted(found) if at.endswith(suffix)}

    def stamp(self, name: str) -> str:
        """Return all that the file system says of a file, such as its ETag and time."""
        with storage.reporting(str(self.path), "read"):
            return str(self.system.ukey(self._at(name)))

    def open(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a file for reading, as a stream."""
        with storage.reporting(str(self.path), "read"):
            opened = self.system.open(self._at(name), "rb")
        return cast("contextlib.AbstractContextManager[BinaryIO]", opened)

    def exists(self, name: str) -> bool:
        """Return True if the file exists."""
        with storage.reporting(str(self.path), "read"):
            return bool(self.system.exists(self._at(name)))

    def names(self, folder: str) -> list[str]:
        """Return the sorted files of a subfolder; none if it does not exist."""
        place = self._at(folder)
        with storage.reporting(str(self.path), "listed"):
            self.system.invalidate_cache()  # fsspec keeps listings, and other workers write parts
            found = self.system.ls(place, detail=False) if self.system.isdir(place) else []
        return sorted(str(name).rpartition("/")[2] for name in found)

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return self.read_all([name])[0]

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return whole files, all requested at once."""
        paths = [self._at(name) for name in names]
        with storage.reporting(str(self.path), "read"):
            found = self.system.cat(paths)
        return [found[path] for path in paths]

    def ranges(self, wanted: Sequence[Range]) -> list[bytes]:
        """Return ranges of bytes of files, all requested at once."""
        with storage.reporting(str(self.path), "read"):
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
        with storage.reporting(str(self.path), "written"):
            self.system.pipe_file(self._at(name), data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Open a new file, written locally first: an interrupted one never gets there."""
        with reporting(self.path):
            temporary = Path(tempfile.gettempdir(), "celebattr")
        remove_torn(temporary)
        with temporary_folder(temporary) as folder:
            file = folder / "file"
            with reporting(file), file.open("xb") as opened:
                yield opened
            with storage.reporting(str(self.path), "written"):
                self.system.put_file(str(file), self._at(name))

    def remove(self, *names: str) -> None:
        """Remove files that exist."""
        for name in names:
            with storage.reporting(str(self.path), "written"):
                if self.system.exists(self._at(name)):
                    self.system.rm_file(self._at(name))

    def remove_torn(self, *names: str) -> None:
        """Remove nothing, since an interrupted put leaves nothing."""

    def _at(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"


def folder_at(place: str | Location) -> Folder:
    """Return the folder at a path or URL.

    Raises:
        MissingExtraError: it is a URL, and fsspec is not installed.
        DeviceError: the package of that file system is not installed.
        UsageError: there is no such file system.
    """
    place = parse_location(place) if not isinstance(place, Url) else place
    return Remote(place, *storage.locate(place)) if isinstance(place, Url) else Folder(place)
