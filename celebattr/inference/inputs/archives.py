"""Images in a zip or a tar, read in place: nothing is extracted, no member name is opened."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import stat
import struct
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import IO

from celebattr.constants import MAX_BYTES, MAX_NAME
from celebattr.errors import reason
from celebattr.inference.inputs.source import Input, wanted
from celebattr.io import storage
from celebattr.predictions import Failure

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # of the first member, and of an archive without any
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "lzma"}
"""First bytes of a compressed tar, and the module that opens it."""

# The other methods of a zip decompress without a limit: a few bytes may become gigabytes at once.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_MAX_UNPACKED = 1 << 24
"""Bytes of a member of a zip that is unpacked where it is read; larger ones: see `Input.packed`."""

_CHUNK = 1 << 20
"""Bytes read at a time, and the most that a tar's header may have."""


def is_archive(path: str) -> bool:
    """Return True if a file is a zip or a tar (.gz, .bz2, .xz), by its first bytes.

    The beginning decides: an image with a zip behind it is an image, as any viewer sees it.
    """
    try:
        there = storage.is_remote(path) or os.path.isfile(path)  # noqa: PTH113
        return there and (is_zip(path) or _is_tar(path))
    except Exception:  # as below: damaged before it has begun
        return False


def members(
    path: str, file: str | None = None, *, left_out: Counter[str] | None = None
) -> Iterator[Input]:
    """Yield the images in an archive as inputs named `ARCHIVE/MEMBER`.

    A zip is sorted by name as folders are, and a member of it read when it is wanted; a tar keeps
    its order, and has one member in memory at a time. Hidden files and whatever is not
    a plain file are left out. A member that cannot be read becomes a failure; so does the rest of
    an archive that is damaged in the middle, in the archive's own name.

    Args:
        path: the name of the archive.
        file: where it lies, if not at `path`.
        left_out: counts members as `expand` does.
    """
    file = file or path
    left_out = Counter() if left_out is None else left_out
    try:
        yield from (_zip_members if is_zip(file) else _tar_members)(path, file, left_out)
    except Exception as error:  # what these modules raise on damaged files has no common base
        yield _failed(path, f"the archive is damaged or cut off ({reason(error)})")


def is_zip(path: str) -> bool:
    """Return True if a file begins as a zip does."""
    with storage.open_binary(path) as file:
        return file.read(4) in _ZIP


def _is_tar(path: str) -> bool:
    """Return True if an uncompressed file begins with a tar header of valid checksum."""
    with _uncompressed(path) as stream:
        try:
            tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return False
        return True


def _is_photo(name: str, left_out: Counter[str]) -> bool:
    hidden = any(
        part == "__MACOSX" or (part.startswith(".") and part not in (".", ".."))
        for part in name.split("/")
    )
    return not hidden and wanted(name, left_out)


def _zip_members(path: str, file: str, left_out: Counter[str]) -> Iterator[Input]:
    where = storage.open_binary(file) if storage.is_remote(file) else file
    archive = zipfile.ZipFile(where)  # closed when the last input that may be read from it is gone
    photos = [(_zip_name(info), info) for info in archive.infolist() if _is_file(info)]
    # "/" as the lowest character gives the order of folders: name by name, not as one text.
    photos.sort(key=lambda photo: photo[0].replace("/", "\0"))
    lock = threading.Lock()
    for name, info in photos:
        if _is_photo(name, left_out):
            read = functools.partial(_zip_member, archive, lock, info, f"{path}/{name}")
            held = info.compress_size if _stays_packed(info) else info.file_size
            yield Input(f"{path}/{name}", read=read, size=min(held, MAX_BYTES))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name; many programs write UTF-8 without setting its flag."""
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _is_file(info: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the system had no such thing
    return not info.is_dir() and kind in (0, stat.S_IFREG)


def _stays_packed(info: zipfile.ZipInfo) -> bool:
    return info.compress_type == zipfile.ZIP_DEFLATED and info.file_size > _MAX_UNPACKED


def _zip_member(
    archive: zipfile.ZipFile, lock: threading.Lock, info: zipfile.ZipInfo, name: str
) -> Input:
    if info.flag_bits & 1:
        return _failed(name, "encrypted: unpack the archive with its password first")
    if info.compress_type not in _METHODS:
        return _failed(name, "its compression is not supported: unpack the archive first")
    if max(info.file_size, info.compress_size) > MAX_BYTES:
        return _too_large(name)
    try:
        with lock, archive.open(info) as file:  # which checks the header before it
            if not _stays_packed(info):
                return _read(file, name)
            assert archive.fp is not None
            place = info.header_offset
            archive.fp.seek(place + 26)
            lengths = struct.unpack("<HH", archive.fp.read(4))  # of the name and what follows it
            archive.fp.seek(place + 30 + sum(lengths))
            data = archive.fp.read(info.compress_size)
        return Input(name, data=data, packed=(info.file_size, info.CRC))
    except Exception as error:  # as above; the members after it may be whole
        return _failed(name, f"damaged ({reason(error)})")


def _tar_members(path: str, file: str, left_out: Counter[str]) -> Iterator[Input]:
    with (
        _uncompressed(file) as stream,
        tarfile.TarFile(fileobj=_Forward(stream), tarinfo=_Header, encoding="utf-8") as archive,
    ):
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined] # it would grow with each
            if not info.isreg() or not _is_photo(info.name, left_out):
                continue
            name = f"{path}/{info.name[:MAX_NAME]}"
            if info.size > MAX_BYTES:
                yield _too_large(name)
                continue
            content = archive.extractfile(info)
            assert content is not None
            try:
                member = _read(content, name)
            except Exception as error:  # the rest cannot be found either: one row for both
                raise tarfile.ReadError(f"in {info.name}: {reason(error)}") from error
            yield member
        while stream.read(_CHUNK):  # the checksum of compressed data stands at its end
            pass


@contextlib.contextmanager
def _uncompressed(path: str) -> Iterator[IO[bytes]]:
    """Open a file's bytes, decompressed if need be.

    Not by tarfile, which decompresses without a limit and reads one stream of several only.
    """
    with storage.open_binary(path) as file:
        start = file.read(6)
        file.seek(0)
        module = next((m for magic, m in _COMPRESSED.items() if start.startswith(magic)), None)
        if module is None:
            yield file
        else:
            with importlib.import_module(module).open(file) as stream:
                yield stream


class _Forward(io.RawIOBase):
    """A forward-only stream for tarfile that never reads more than `_CHUNK` at once.

    tarfile itself would read a header of any size, and follow sizes below zero round in a circle.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream, self._at = stream, 0

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes, fewer at the end."""
        if not 0 <= size <= _CHUNK:
            raise tarfile.ReadError("a header of an impossible size")
        data = self._stream.read(size)
        self._at += len(data)
        return data

    def tell(self) -> int:
        """Return the position of the stream."""
        return self._at

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        """Skip to a position."""
        assert whence == os.SEEK_SET
        if position < self._at:
            raise tarfile.ReadError("a header of an impossible size")
        while self._at < position and self.read(min(position - self._at, _CHUNK)):
            pass
        return self._at


class _Header(tarfile.TarInfo):
    """A tar header that raises if damaged or missing, which tarfile would take for the end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Header:
        """Return the next header; the end has a mark of its own."""
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            raise tarfile.ReadError(str(error)) from error


def _read(file: IO[bytes], name: str) -> Input:
    """Return a member's bytes, without trusting the size in its header."""
    parts, size = [], 0
    while part := file.read(_CHUNK):
        size += len(part)
        if size > MAX_BYTES:
            return _too_large(name)
        parts.append(part)
    return Input(name, data=b"".join(parts))


def _failed(name: str, why: str, status: str = "unreadable") -> Input:
    return Input(name, failure=Failure(name, status, f"{name}: {why}"))


def _too_large(name: str) -> Input:
    return _failed(name, f"more bytes than the limit of {MAX_BYTES:,}", "too_large")
