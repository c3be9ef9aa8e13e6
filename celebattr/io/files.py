"""Output files that are complete or absent: a temporary name, fsync, rename.

What cannot be written becomes a `DataError` that names the file and what to do about it. Only a
closed pipe passes through as it is: the command line ends quietly on it.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO, cast

from celebattr.errors import DataError, UnreadableImageError, reason
from celebattr.io.locks import lock

StrPath = str | os.PathLike[str]


def paths_of(given: StrPath | Sequence[StrPath]) -> list[str]:
    """Return one path or several as a list of text."""
    return [os.fspath(p) for p in ([given] if isinstance(given, str | os.PathLike) else given)]


_REMEDIES: dict[int, str] = {
    errno.ENOSPC: "The disk is full: free some space, or write to another disk.",
    errno.EDQUOT: "The disk quota is used up: free some space, or write to another disk.",
    errno.EFBIG: "The file grows past a size limit: check 'ulimit -f', or write elsewhere.",
    errno.EEXIST: "A file or a broken link has that name: choose another one.",
    errno.ENOENT: "Its folder does not exist: create it, or choose another one.",
    errno.ENOTDIR: "Part of its path is a file, not a folder: choose another folder.",
    errno.EACCES: "Check the permissions of its folder, or choose another one.",
    errno.EPERM: "Check the permissions of its folder, or choose another one.",
    errno.EROFS: "That disk is read-only: choose another folder.",
    errno.EEXIST: "A file has the name of a folder: choose another one.",
    errno.EISDIR: "It is a folder: give the name of a file in it.",
    errno.EBADF: "It is closed: open it, or give --output FILE.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "It is a link: remove it, or choose another name.",
}


def output_error(target: StrPath, error: OSError) -> DataError:
    """Return the error a user sees when `target` cannot be written."""
    remedy = _REMEDIES.get(error.errno or 0, "Try another folder or disk.")
    return DataError(f"cannot write {os.fspath(target)}: {reason(error)}. {remedy}")


@contextlib.contextmanager
def reporting(target: StrPath) -> Iterator[None]:
    """Turn a failure to write `target` into a `DataError`; a closed pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_error(target, error) from error


def check_target(*targets: StrPath | None, overwrite: bool = False) -> None:
    """Refuse before any work a target that could not be written after it; None is none.

    Also removes what killed programs left of it.

    Args:
        *targets: files to write.
        overwrite: replace a file that is there. An empty one, as mktemp makes it, always is.

    Raises:
        DataError: a file's folder is missing or takes no files, the file is a folder, or it is
            there and `overwrite` is not set.
    """
    for target in targets:
        if target is None:
            continue
        path = Path(os.path.realpath(target))
        with reporting(target):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if _is_stream(Path(target)):
                continue
            path.parent.stat()
            if not path.parent.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(path.parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            refuse_existing(target, path.exists() and path.stat().st_size > 0 and not overwrite)
            remove_torn(path)


def refuse_existing(target: StrPath, there: bool) -> None:
    """Refuse to replace a result.

    Raises:
        DataError: it is there.
    """
    if there:
        raise DataError(
            f"{os.fspath(target)} exists: give --overwrite to replace it, or choose another name"
        )


def _is_stream(path: Path) -> bool:
    """Return True if a path is no regular file: pipes and devices are written straight.

    Asked of the path itself: what /dev/stdout leads to has no name of its own where it is a pipe.
    """
    return path.exists() and not path.is_file()


class Replacement:
    """A new version of a file, invisible until `commit`.

    `handle` takes its bytes. A link is followed, not replaced, an existing file's permissions are
    kept, and what is no regular file (a pipe, /dev/stdout) is written straight.

    Raises:
        DataError: the file cannot be created, written or renamed.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        # Not Path.resolve(): that fails with a RuntimeError on a loop of links.
        self._target = Path(os.path.realpath(path))
        with reporting(path):
            straight = _is_stream(self.path)
            self._temporary = None if straight else _temporary(self._target)
            # x: never into another run's temporary file
            self.handle = cast(
                BinaryIO, (self._temporary or self.path).open("wb" if straight else "xb")
            )
            if not straight:
                lock(self.handle)  # so that `remove_torn` leaves it alone
                keep_mode(self.handle, self._target)

    def commit(self) -> None:
        """Put the new version in place, once it is safely on the disk."""
        try:
            with reporting(self.path):
                self._commit()
        except BaseException:
            self.discard()
            raise

    def _commit(self) -> None:
        self.handle.flush()
        if self._temporary is None:
            self.handle.close()
            return
        # Before the rename: after a power failure the name could else stand for an empty file.
        os.fsync(self.handle.fileno())
        self.handle.close()
        self._temporary.replace(self._target)
        sync_folder(self._target.parent)

    def discard(self) -> None:
        """Drop the new version; what was in place before stays."""
        with contextlib.suppress(OSError):  # closing writes what was buffered: on a full disk
            self.handle.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)


def keep_mode(file: IO[bytes], target: Path) -> None:
    """Give a file the permissions of the one that it will replace, from its first byte on."""
    with contextlib.suppress(FileNotFoundError):
        Path(file.name).chmod(target.stat().st_mode & 0o7777)


@contextlib.contextmanager
def temporary_folder(path: StrPath) -> Iterator[Path]:
    """Make a folder beside a file for work on it; `remove_torn` removes it after a kill.

    Raises:
        DataError: it cannot be made.
    """
    folder = _temporary(Path(os.path.realpath(path)))
    with reporting(path):
        folder.mkdir(mode=0o700)
    held = None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
    try:
        if held is not None:
            lock(held)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def remove_torn(path: StrPath) -> None:
    """Remove temporary files and folders that killed programs left of a file."""
    target = Path(os.path.realpath(path))
    _remove(target.parent, f".{glob.escape(_short(target.name))}.????????.tmp")


def remove_all_torn(folder: StrPath) -> None:
    """Remove all temporary files of killed programs from a folder."""
    _remove(Path(folder), ".*.????????.tmp")


_LOOK = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def _remove(folder: Path, pattern: str) -> None:
    """Remove what nobody has locked: whoever writes it has."""
    for torn in folder.glob(pattern):
        with contextlib.suppress(OSError):
            opened = None if sys.platform == "win32" else os.open(torn, _LOOK)
            try:
                if opened is not None and not lock(opened):
                    continue
                shutil.rmtree(torn) if torn.is_dir() else torn.unlink(missing_ok=True)
            finally:
                if opened is not None:
                    os.close(opened)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{_short(target.name)}.{os.urandom(4).hex()}.tmp")


def _short(name: str) -> str:
    # A name may be as long as the file system allows, and more is put around it.
    return name[:40]


@contextlib.contextmanager
def replacing(path: StrPath) -> Iterator[BinaryIO]:
    """Open a new version of a file, which is put in place if the block ends well.

    Raises:
        DataError: the file cannot be written.
    """
    new = Replacement(path)
    try:
        with reporting(path):
            yield new.handle
    except BaseException:
        new.discard()
        raise
    new.commit()


def write_bytes(path: StrPath, data: bytes) -> None:
    """Write a whole file at once: complete or absent.

    Raises:
        DataError: the file cannot be written.
    """
    with replacing(path) as file:
        file.write(data)


def write_text(path: StrPath, text: str) -> None:
    r"""Write a whole text file at once, in UTF-8: complete or absent.

    Undecodable bytes of file names are written as `\udcXX`.

    Raises:
        DataError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def csv_line(cells: Iterable[object]) -> str:
    """Return a row of CSV; cells with a line end, also a carriage return alone, are quoted."""
    # Before 3.11.9 and 3.12.3 Python quotes a cell only for characters of the line end.
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def find_files(path: Path, suffix: str) -> list[Path]:
    """Return the files with a suffix in a folder or up to two folders deeper, by name.

    The first depth that has any is taken: Hugging Face keeps them in `data/`, in a folder of the
    configuration's name, and, where it converted them, in folders named after the splits.
    """
    for pattern in ("", "*/", "*/*/"):
        files = sorted(f for f in path.glob(f"{pattern}*{suffix}") if f.is_file())
        if files:
            return files
    return []


def stamp(path: Path) -> str:
    """Return the size and times of a file; ctime differs even where `cp -p` kept mtime.

    Raises:
        UnreadableImageError: it is not there any more.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UnreadableImageError(f"{path}: {reason(error)}") from error
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def temporary_beside(output: StrPath) -> None:
    """Keep temporary files beside an output where the system has no folder for them.

    matplotlib and export ask for one; the folder of the output can be written anyway.
    """
    import tempfile  # which loads half a dozen modules

    with contextlib.suppress(FileNotFoundError):
        tempfile.gettempdir()
        return
    path = Path(output).absolute()
    there = (str(p) for p in (path, *path.parents) if p.is_dir() and os.access(p, os.W_OK))
    tempfile.tempdir = next(there, None)


def free_room(folder: Path) -> int:
    """Return the bytes free on the disk of a folder, which need not exist yet."""
    there = next((p for p in (folder, *folder.absolute().parents) if p.is_dir()), None)
    return shutil.disk_usage(there).free if there is not None else 0
