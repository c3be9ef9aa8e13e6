r"""Results as they come, to a stream or a file: one table of writers by format.

A writer is opened with the attribute names, gets one `Prediction` or `Failure` at a time and keeps
none. What it has written is complete at any moment: `flush` after a batch. A file appears under
its own name when the writer is closed, and not at all if an exception ends the run.

File names that are not UTF-8 (Python's surrogate escapes):

- `jsonl` and `json` are pure ASCII and lossless: the byte 0xff is the escape "\udcff", and
  `os.fsencode(json.loads(line)["path"])` gives the name's bytes back.
- `csv` is always valid UTF-8, so that one such name does not break the file for other programs:
  the byte 0xff is written as the six characters `\udcff`. Where names must be exact, take `jsonl`.

CSV cells hold names as they are: one that begins with `=`, `+`, `-` or `@` may be taken for a
formula by a spreadsheet; import the column as text.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from celebattr.constants import LIST_SEPARATOR
from celebattr.errors import UsageError, suggestion
from celebattr.io.files import Replacement, StrPath, reporting
from celebattr.options import format_of_suffix
from celebattr.predictions import Result

BOX = ("left", "top", "right", "bottom")
_BEFORE = ("schema", "path", "status", "error", "face", "faces", *BOX, "score")
_AFTER = ("present", "unsure")


def csv_columns(attributes: Sequence[str]) -> list[str]:
    """Return the flat columns of a result, shared by all tabular formats.

    Raises:
        UsageError: an attribute has the name of another column.
    """
    columns = [*_BEFORE, *attributes, *_AFTER]
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise UsageError(
            f"{', '.join(doubled)}: an attribute with the name of another column has no place in "
            "a table. Use the format jsonl or json"
        )
    return columns


def flat(result: Result) -> dict[str, Any]:
    """Return a result as flat columns, without those it does not have."""
    row = result.row()
    box = row.pop("box", None)
    if box is not None:
        row.update(zip(BOX, box, strict=True))
    row.update(row.pop("probabilities", {}))
    for name in _AFTER:
        if name in row:
            row[name] = LIST_SEPARATOR.join(row[name])
    return row


class Form(Protocol):
    """The text of a format, piece by piece. A new format is a subclass and a row below."""

    def head(self) -> str:
        """Return the text before the first result."""

    def row(self, result: Result) -> str:
        """Return one result as text."""

    def tail(self) -> str:
        """Return the text after the last result."""


class _Jsonl:
    """One JSON object per line."""

    def __init__(self, attributes: Sequence[str]) -> None:
        pass  # every line names its attributes

    def head(self) -> str:
        return ""

    def row(self, result: Result) -> str:
        return json.dumps(result.row()) + "\n"

    def tail(self) -> str:
        return ""


class _Json:
    """One JSON array, an object per line; valid once closed."""

    def __init__(self, attributes: Sequence[str]) -> None:
        self._before = "\n"

    def head(self) -> str:
        return "["

    def row(self, result: Result) -> str:
        text = self._before + json.dumps(result.row())
        self._before = ",\n"
        return text

    def tail(self) -> str:
        return "\n]\n" if self._before == ",\n" else "]\n"


_LINE_END = "\r\n"


class _Csv:
    """A header and one line per result; cells without a value are empty."""

    def __init__(self, attributes: Sequence[str]) -> None:
        self._columns = csv_columns(attributes)
        self._buffer = io.StringIO()
        self._writer = csv.DictWriter(
            # A cell is quoted for the characters of this one: \r alone would end a row for readers.
            self._buffer,
            self._columns,
            restval="",
            lineterminator=_LINE_END,
            extrasaction="raise",
        )

    def head(self) -> str:
        self._writer.writeheader()
        return self._take()

    def row(self, result: Result) -> str:
        self._writer.writerow(flat(result))
        return self._take()

    def tail(self) -> str:
        return ""

    def _take(self) -> str:
        text = self._buffer.getvalue().removesuffix(_LINE_END) + "\n"
        self._buffer.seek(0)
        self._buffer.truncate()
        return text


@dataclass(frozen=True)
class Format:
    """A row of the table of formats: its suffixes, and the class that writes it."""

    suffixes: tuple[str, ...]
    form: Callable[[Sequence[str]], Form]


FORMATS: dict[str, Format] = {
    "jsonl": Format((".jsonl", ".ndjson"), _Jsonl),
    "json": Format((".json",), _Json),
    "csv": Format((".csv",), _Csv),
}
PARQUET_SUFFIXES = (".parquet", ".pq")
SUFFIXES: dict[str, str] = {
    suffix: name for name, row in FORMATS.items() for suffix in row.suffixes
} | dict.fromkeys(PARQUET_SUFFIXES, "parquet")


def format_of(path: StrPath) -> str:
    """Return the name of the format that the suffix of an output file stands for.

    Raises:
        UsageError: the suffix is missing or unknown.
    """
    return format_of_suffix(path, SUFFIXES)


class Sink(Protocol):
    """The target of text: a stream that stays open, or a file put in place at the end."""

    def put(self, text: str) -> None:
        """Take text, possibly into a buffer."""

    def flush(self) -> None:
        """Hand on what was buffered."""

    def commit(self) -> None:
        """Put the file in place after all text."""

    def discard(self) -> None:
        """Discard the file when the run ends early."""


class _StreamSink:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._name = str(getattr(stream, "name", "the output stream"))
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    def put(self, text: str) -> None:
        if not text.isascii():  # a strict stream must not stop the run at one file name
            text = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        with reporting(self._name):
            self._stream.write(text)

    def flush(self) -> None:
        with reporting(self._name):
            self._stream.flush()

    def commit(self) -> None:
        self.flush()

    def discard(self) -> None:
        pass


class _FileSink:
    def __init__(self, path: StrPath) -> None:
        self._new = Replacement(path)

    def put(self, text: str) -> None:
        with reporting(self._new.path):
            self._new.handle.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        with reporting(self._new.path):
            self._new.handle.flush()

    def commit(self) -> None:
        self._new.commit()

    def discard(self) -> None:
        self._new.discard()


class Writer:
    """A writer of results, one at a time; a context manager that discards on an exception."""

    def __init__(self, form: Form, sink: Sink) -> None:
        self._form = form
        self._sink = sink
        self._open = True
        self._put(form.head())

    def write(self, result: Result) -> None:
        """Write one result.

        Raises:
            DataError: the output cannot be written; a file is then removed.
        """
        self._put(self._form.row(result))

    def flush(self) -> None:
        """Hand on everything written so far: call it after a batch.

        Raises:
            DataError: the output cannot be written; a file is then removed.
        """
        try:
            self._sink.flush()
        except BaseException:
            self.discard()
            raise

    def close(self) -> None:
        """Complete the output and put a file in place; a second call does nothing.

        Raises:
            DataError: the output cannot be written; a file is then removed.
        """
        if self._open:
            self._put(self._form.tail())
            self._open = False
            self._sink.commit()

    def discard(self) -> None:
        """End early: a file is removed, a stream is left as it is."""
        if self._open:
            self._open = False
            self._sink.discard()

    def _put(self, text: str) -> None:
        try:
            self._sink.put(text)
        except BaseException:
            self.discard()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def open_writer(
    target: TextIO | StrPath, attributes: Sequence[str], format: str | None = None
) -> Writer:
    """Open a writer on a text stream, which stays open, or on the path of an output file.

    Args:
        target: where to write.
        attributes: the attributes of every prediction to come, in the order of columns.
        format: one of `FORMATS`; None takes it from a path's suffix, and jsonl for a stream.

    Raises:
        UsageError: no such format.
        DataError: the file cannot be created.
    """
    if format is None:
        format = format_of(target) if isinstance(target, str | os.PathLike) else "jsonl"
    if format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}.{suggestion(format, FORMATS)} Known: {', '.join(FORMATS)}"
        )
    form = FORMATS[format].form(attributes)
    if isinstance(target, str | os.PathLike):
        return Writer(form, _FileSink(target))
    return Writer(form, _StreamSink(target))
