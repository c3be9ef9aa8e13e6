"""Standard input, output and error: closed, full or cut off, and of any encoding.

Everything that leaves for a person passes `say`; everything that cannot leave ends in `_Stream`.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Any

from celebattr.errors import ExitCode, escaped


class _Stream(io.FileIO):
    """Bytes on their way out; what fails is told once, and what comes after it is dropped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.name: str = {1: "standard output"}.get(descriptor, "standard error")
        self.failed = False

    def write(self, data: Any) -> Any:
        """Write bytes.

        Raises:
            DataError: they cannot be written; of standard error, nothing: rows matter more.
            SystemExit: whoever read them has seen enough.
        """
        if not self.failed:
            try:
                return super().write(data)
            except OSError as error:
                self.failed = True
                if self.fileno() == 2:
                    return len(data)
                # No OSError: Typer and Rich have ends of their own for a pipe that is closed.
                if isinstance(error, BrokenPipeError):
                    raise SystemExit(ExitCode.OK) from None
                from celebattr.io.files import output_error

                raise output_error(self.name, error) from error
        return len(data)


def install() -> None:
    """Open what is closed, and put streams that fail in one sentence in place of Python's own."""
    # In this order each gets its own number, so that no file or pipe opened later gets it and is
    # taken for a stream. A closed output is open for reading: to write to it fails, as it should.
    for name, mode in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        old: Any = getattr(sys, name)
        descriptor = old.fileno() if old is not None else os.open(os.devnull, mode)
        if old is None:
            os.set_inheritable(descriptor, True)
        if name == "stdin":
            sys.stdin = old or open(descriptor, closefd=False)  # noqa: SIM115
            continue
        if old is not None and not isinstance(getattr(old.buffer, "raw", old.buffer), io.FileIO):
            continue  # a console of Windows, which takes every character
        encoding = "utf-8" if old is None else old.encoding
        errors = "strict" if old is None else old.errors
        if errors == "strict":
            # Names of files are given as they came; what an encoding lacks is escaped.
            utf8 = encoding.lower().replace("-", "") == "utf8"
            errors = "surrogateescape" if utf8 else "backslashreplace"
        stream = io.TextIOWrapper(
            io.BufferedWriter(_Stream(descriptor)),
            encoding,
            errors,
            line_buffering=name == "stderr" or (old is not None and old.line_buffering),
        )
        setattr(sys, name, stream)


def say(text: object) -> None:
    """Print a message for a person on standard error."""
    print(escaped(str(text)), file=sys.stderr, flush=True)


class Escaped(logging.Formatter):
    """A format of log lines that quote names of strangers."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without codes for a terminal."""
        return escaped(super().format(record))
