"""An output file that grows as results come, and can be resumed after any kind of end.

Rows go to `NAME.part`; when all are there it becomes `NAME`. So what bears the name is complete,
and what is in the part is complete too, but for the last row if the power failed: resuming cuts the
part off after the last input whose rows are whole. CSV and JSONL grow in their own format; Parquet,
which can only be read once it is closed, grows as JSONL and is converted at the end.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from celebattr.errors import DataError
from celebattr.inference.output.writers import FORMATS
from celebattr.io.files import reporting, sync_folder
from celebattr.predictions import Result

FORMATS_THAT_GROW = ("jsonl", "csv", "parquet")
SYNC_SECONDS = 5.0
"""Seconds between syncs of the part to the disk, against power failures."""


@dataclass(frozen=True)
class Row:
    """A written row: its input, status and bytes."""

    path: str
    status: str
    face: int
    faces: int
    data: bytes


class Journal:
    """A growing output file, fed with the results of one input after another.

    Args:
        path: the output file.
        format: one of `FORMATS_THAT_GROW`.
        attributes: the attributes of every prediction to come, in the order of columns.
        every_face: whether an input has a row for each face, or one row in all.
        resume: continue the part that is there; there may be none.

    Raises:
        DataError: the part cannot be written; or there is one and it cannot be resumed.
    """

    def __init__(
        self,
        path: Path,
        format: str,
        attributes: Sequence[str],
        *,
        every_face: bool,
        resume: bool,
    ) -> None:
        self.path, self.format, self.attributes = path, format, tuple(attributes)
        self.part = part_of(path)
        self._every_face = every_face
        self._form = FORMATS[text_format(format)].form(attributes)
        self.counts: Counter[str] = Counter()
        if not resume and self.part.exists():
            raise DataError(
                f"{self.part} holds an unfinished run: give --resume to go on with it, or delete "
                "it to start over"
            )
        with reporting(self.part):
            self._file = cast(BinaryIO, self.part.open("r+b" if self.part.exists() else "w+b"))
        self._lock()
        self._synced = time.monotonic()

    def skip(self, names: Iterator[str]) -> int:
        """Take the inputs whose rows the part already has; return their number.

        Raises:
            DataError: the part is of other inputs.
        """
        head = self._form.head().encode()
        start = self._file.read(len(head))
        if start != head:
            if len(start) == len(head):
                raise DataError(
                    f"{self.part} has other columns: it was made with other attributes. Delete it "
                    "to start over"
                )
            with reporting(self.part):  # new, or cut off in its first line
                self._file.seek(0)
                self._file.truncate()
                self._file.write(head)
            return 0
        end, done = len(head), 0
        for group in groups(rows(self._file, self.format), every_face=self._every_face):
            name = next(names, None)
            if name is None or self._written(name) != group[0].path:
                where = f"input {done + 1} there is {group[0].path}, now it is {name or 'no more'}"
                raise DataError(
                    f"{self.part} is of other inputs: {where}. Give the same as before, or delete "
                    "it to start over"
                )
            done += 1
            end += sum(len(row.data) for row in group)
            self._count([row.status for row in group])
        with reporting(self.part):
            self._file.seek(end)
            self._file.truncate()
        return done

    def write(self, results: Iterable[Result]) -> None:
        """Add the rows of one input.

        Raises:
            DataError: the part cannot be written; what it holds stays.
        """
        results = list(results)
        text = "".join(self._form.row(result) for result in results)
        with reporting(self.part):
            self._file.write(text.encode("utf-8", "backslashreplace"))
        self._count([result.status for result in results])

    def flush(self) -> None:
        """Hand buffered rows to the system, and from time to time to the disk."""
        with reporting(self.part):
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()

    def finish(self, convert: Callable[[Iterable[Row]], None] | None = None) -> None:
        """Give the file its name.

        Args:
            convert: writes the file itself from the rows, where it has another format.
        """
        with reporting(self.part):
            self._file.flush()
            os.fsync(self._file.fileno())
            if convert is not None:
                self._file.seek(0)
                convert(rows(self._file, self.format))
            self._file.close()
            if convert is None:
                self.part.replace(self.path)
                sync_folder(self.path.parent)
            else:
                self.part.unlink()

    def close(self) -> None:
        """Close the part as it is, to be resumed."""
        with reporting(self.part):
            self._file.close()

    def _lock(self) -> None:
        """Lock the part against a second run, where the system can."""
        if sys.platform == "win32":
            return
        import fcntl

        try:
            # The system lifts the lock with the process: a crash leaves no stale lock file.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise DataError(
                f"{self.part} is being written by another run: wait for it, or choose another "
                "--output"
            ) from None
        except OSError:  # a file system that knows no locks
            return

    def _count(self, statuses: list[str]) -> None:
        self.counts["inputs"] += 1
        self.counts.update(statuses)

    def _written(self, name: str) -> str:
        """Return a name as the format gives it back: CSV cannot hold undecodable bytes."""
        if self.format != "csv":
            return name
        return name.encode("utf-8", "backslashreplace").decode()


def part_of(path: Path) -> Path:
    """Return the file that grows until `path` is complete."""
    return path.with_name(f"{path.name}.part")


def rows(file: BinaryIO, format: str) -> Iterator[Row]:
    """Yield the whole rows of a text file from its position; end at the first partial one."""
    read = _csv_row if format == "csv" else _json_row
    for data in _records(file, quoted=format == "csv"):
        row = read(data)
        if row is None:
            return
        yield row


def groups(found: Iterable[Row], *, every_face: bool) -> Iterator[list[Row]]:
    """Yield the rows of one input after another; an input with missing rows ends it."""
    group: list[Row] = []
    for row in found:
        group.append(row)
        if row.status != "ok" or not every_face or row.face == row.faces - 1:
            yield group
            group = []


def text_format(format: str) -> str:
    """Return the format of the rows before conversion: Parquet grows as JSONL."""
    return "jsonl" if format == "parquet" else format


def _records(file: BinaryIO, *, quoted: bool) -> Iterator[bytes]:
    """Yield whole records; in a CSV a quoted cell may hold line ends."""
    record = b""
    for line in file:
        record += line
        # An odd number of quotes: the record continues in the next line (an escaped quote is two).
        if not line.endswith(b"\n") or (quoted and record.count(b'"') % 2):
            continue
        yield record
        record = b""


def _json_row(data: bytes) -> Row | None:
    try:
        row = json.loads(data)
        return Row(row["path"], row["status"], row.get("face", 0), row.get("faces", 0), data)
    except (ValueError, KeyError, TypeError):
        return None


_PATH, _STATUS, _FACE, _FACES = 1, 2, 4, 5  # columns of `csv_columns`


def _csv_row(data: bytes) -> Row | None:
    try:
        (cells,) = csv.reader(io.StringIO(data.decode(), newline=""))
        face, faces = (int(cells[at] or 0) for at in (_FACE, _FACES))
        return Row(cells[_PATH], cells[_STATUS], face, faces, data)
    except (ValueError, IndexError, csv.Error):
        return None
