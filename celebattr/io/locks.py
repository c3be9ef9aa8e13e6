"""Locks on files that a run writes: the system lifts them with the process, so none is stale."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, BinaryIO, cast

from celebattr.errors import DataError


def lock(file: IO[bytes] | int) -> bool:
    """Lock an open file or folder until it is closed; return False if another one has it locked.

    The system lifts the lock with the process, so a crash leaves none. Where it has no locks
    (Windows, some file systems), nobody is kept out.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def bears_name(file: IO[bytes], path: Path) -> bool:
    """Return True if the name of a file is still that of the file that is open."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def open_locked(path: Path, called: Path | None = None) -> BinaryIO:
    """Open a file for reading and writing, locked; make it if need be, and follow no link.

    Args:
        path: the file.
        called: what it stands for in a message.

    Raises:
        OSError: it cannot be written.
        DataError: another process has it locked.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)

    while True:
        file = cast(BinaryIO, open(path, "r+b", opener=opener))  # noqa: SIM115
        if not lock(file):
            file.close()
            raise DataError(
                f"{called or path} is being written by another run: wait for it, or choose another "
                "--output"
            )
        if bears_name(file, path):
            return file
        file.close()  # its run has just put it in place: by now it bears another name
