"""Stores of image files: a folder, or a zip that is read as it is."""

from __future__ import annotations

import hashlib
import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from celebattr.constants import IMAGE_SUFFIXES
from celebattr.errors import DataError, ImageNotFoundError, UnreadableImageError, reason
from celebattr.io.files import stamp
from celebattr.options import Location


class Store(Protocol):
    """Image files by name. `read` may be called from any thread and after a fork."""

    @property
    def path(self) -> Location:
        """The place of the images, for a person."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names that are not there."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a file; raises an `ImageError` that names it."""

    def content(self, names: Sequence[str]) -> str:
        """Return a hexadecimal digest that changes when the images of these names do."""


@runtime_checkable
class Distant(Store, Protocol):
    """A store with latency: the images of a batch are requested all at once."""

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return the bytes of some files, in the order of `names`; raises like `read`."""


def digest(parts: Iterable[object]) -> str:
    """Return a hexadecimal digest of the text of `parts`, one after another."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(f"{part}\0".encode("utf-8", "surrogateescape"))
    return hashed.hexdigest()


def loose(name: str) -> str:
    """Return what names of one image have in common, however a system spells them.

    Letters of either case, composed or not, and any suffix of an image: `café.jpg`, `CAFÉ.PNG`.
    """
    path = PurePosixPath(name)
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name
    return unicodedata.normalize("NFC", stem).casefold()


def _by_loose(names: Iterable[str]) -> dict[str, str]:
    """Return names by what `loose` makes of them; without those that are then the same."""
    found: dict[str, str] = {}
    twice = set()
    for name in names:
        if found.setdefault(loose(name), name) != name:
            twice.add(loose(name))
    return {key: name for key, name in found.items() if key not in twice}


class Folder:
    """Image files in one folder; names may hold subfolders."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> set[str]:
        """Return the image files in the folder."""
        with os.scandir(self.path) as entries:
            return {e.name for e in entries if Path(e.name).suffix.lower() in IMAGE_SUFFIXES}

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the missing names, from one listing instead of a look-up per name."""
        with os.scandir(self.path) as entries:
            there = {entry.name for entry in entries}
        return [n for n in names if n not in there and not (self.path / n).is_file()]

    def near(self, names: Iterable[str]) -> dict[str, str]:
        """Return, of names that are not there, those that nearly fit a file's, with its name."""
        listed: dict[str, dict[str, str]] = {}

        def fit(name: str) -> str | None:
            at = ""
            for part in name.replace("\\", "/").split("/"):
                if at not in listed:
                    folder = self.path / at
                    listed[at] = (
                        _by_loose(p.name for p in folder.iterdir()) if folder.is_dir() else {}
                    )
                found = listed[at].get(loose(part))
                if found is None:
                    return None
                at = f"{at}/{found}" if at else found
            return at

        return {name: found for name in names if (found := fit(name)) is not None}

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        path = self.path / name
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise ImageNotFoundError(f"{path}: no such file") from error
        except OSError as error:
            raise UnreadableImageError(f"{path}: {reason(error)}") from error

    def content(self, names: Sequence[str]) -> str:
        """Digest each file's size and times."""
        return digest(stamp(self.path / name) for name in names)


class Zip:
    """Image files in a zip, found by their base names, whatever folder they lie in.

    The directory of the zip is read once, and the file is opened again for each member: a handle's
    position would be shared by threads and by forked processes, and opening takes microseconds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as file:
                self._members = {
                    info.filename.rpartition("/")[2]: info
                    for info in file.infolist()
                    if not info.is_dir() and not info.filename.startswith("__MACOSX")
                }
        except PermissionError:
            raise
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(
                f"{path} is not a complete zip file ({error}): the download was cut off, or a page "
                "that refused it was saved in its place. Download it again"
            ) from error

    def names(self) -> set[str]:
        """Return the image files in the zip."""
        return {n for n in self._members if Path(n).suffix.lower() in IMAGE_SUFFIXES}

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names that are not there."""
        return [name for name in names if name not in self._members]

    def near(self, names: Iterable[str]) -> dict[str, str]:
        """Return, of names that are not there, those that nearly fit a member's, with its name."""
        there = _by_loose(self._members)
        found = {
            name: there.get(loose(name.replace("\\", "/").rpartition("/")[2])) for name in names
        }
        return {name: member for name, member in found.items() if member is not None}

    def read(self, name: str) -> bytes:
        """Return the bytes of a member."""
        where = f"{self.path}, member {name}"
        info = self._members.get(name)
        if info is None:
            raise ImageNotFoundError(f"{where}: no such member")
        try:
            with self.path.open("rb") as file:
                file.seek(info.header_offset)
                header = file.read(30)
                # The local header repeats name and extra field, at lengths of its own.
                name_length, extra_length = struct.unpack("<HH", header[26:30])
                file.seek(name_length + extra_length, os.SEEK_CUR)
                data = file.read(info.compress_size)
            if info.compress_type == zipfile.ZIP_DEFLATED:
                data = zlib.decompress(data, -zlib.MAX_WBITS)
            elif info.compress_type != zipfile.ZIP_STORED:
                raise UnreadableImageError(f"{where}: its compression is not supported")
        except (OSError, struct.error, zlib.error) as error:
            raise UnreadableImageError(f"{where}: cannot be read ({error})") from error
        if zlib.crc32(data) != info.CRC:
            raise UnreadableImageError(f"{where}: damaged, its checksum differs")
        return data

    def content(self, names: Sequence[str]) -> str:
        """Digest the checksum and size of each member."""
        found = (self._members[name] for name in names)
        return digest(f"{info.CRC} {info.file_size}" for info in found)
