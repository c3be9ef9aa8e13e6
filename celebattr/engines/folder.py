"""The folder that a run on a cluster writes to: local, shared, or in an object store."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from celebattr import files
from celebattr.data import remote
from celebattr.errors import DataError


class Folder:
    """Files by name, each complete or absent: renamed into place, or put as one object.

    Args:
        url: a path, or a URL of fsspec's.
    """

    def __init__(self, url: str) -> None:
        self.remote = remote.is_remote(url)
        self.url = url.rstrip("/") if self.remote else os.path.abspath(url)  # noqa: PTH100

    def make(self, *names: str) -> None:
        """Makes the folders of that name in it; object stores need none."""
        for name in names:
            if not self.remote:
                with files.reporting(self.url):
                    Path(self.url, name).mkdir(parents=True, exist_ok=True)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        if not self.remote:
            return Path(self.url, name).exists()
        store, place = remote.locate(f"{self.url}/{name}")
        return bool(store.exists(place))

    def names(self, folder: str) -> list[str]:
        """The files in a folder in it, sorted; of one that does not exist, none."""
        if not self.remote:
            path = Path(self.url, folder)
            return sorted(file.name for file in path.iterdir()) if path.is_dir() else []
        store, place = remote.locate(f"{self.url}/{folder}")
        store.invalidate_cache()
        found = store.ls(place, detail=False) if store.isdir(place) else []
        return sorted(str(name).rpartition("/")[2] for name in found)

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            DataError: it cannot be read.
        """
        try:
            if not self.remote:
                return Path(self._path(name)).read_bytes()
            store, place = remote.locate(self._path(name))
            with store.open(place, "rb") as file:
                return bytes(file.read())
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DataError(f"{self._path(name)} cannot be read: {reason}") from error

    def write(self, name: str, data: bytes) -> None:
        """Writes a whole file.

        Raises:
            DataError: it cannot be written.
        """
        with self.new(name) as path:
            files.write_bytes(path, data)

    @contextlib.contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """A local path to write a file to, complete or absent; it is put in place afterwards.

        Raises:
            DataError: it cannot be put there.
        """
        if not self.remote:
            yield Path(self.url, name)
            return
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary, Path(name).name)
            yield path
            store, place = remote.locate(self._path(name))
            try:
                store.put_file(str(path), place)
            except OSError as error:
                raise files.output_error(self._path(name), error) from error

    def remove(self, *names: str) -> None:
        """Removes files, those that there are."""
        for name in names:
            if not self.remote:
                Path(self.url, name).unlink(missing_ok=True)
            elif self.exists(name):
                store, place = remote.locate(self._path(name))
                store.rm_file(place)

    def remove_torn(self) -> None:
        """Removes what killed workers left; a store has nothing of a put that did not end."""
        if not self.remote:
            files.remove_all_torn(self.url)

    def _path(self, name: str) -> str:
        return f"{self.url}/{name}" if self.remote else os.path.join(self.url, name)  # noqa: PTH118
