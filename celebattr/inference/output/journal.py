"""An output file that grows as results come, and can be resumed after any kind of end.

Rows go to `NAME.part`; when all are there it becomes `NAME`. So what bears the name is complete,
and what is in the part is complete too, but for the last row if the power failed: resuming cuts the
part off after the last input whose rows are whole. Beside each lies its manifest.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from celebattr.errors import DataError, UsageError, counted
from celebattr.inference.output import manifest, parquet
from celebattr.inference.output.manifest import Run, Shard
from celebattr.inference.output.sinks import Output
from celebattr.inference.output.writers import FORMATS, Jsonl, Row
from celebattr.io.files import lock, remove_torn, reporting, sync_folder
from celebattr.predictions import Result, name_of

SYNC_SECONDS = 5.0
"""Seconds between syncs of the part to the disk, against power failures."""


class Growing(Output):
    """A file that can be resumed after any end.

    Args:
        path: the output file.
        run: what decides its rows; its format is one that grows.
        resume: continue the part that is there; there may be none.
        notice: told what a person should know.

    Raises:
        DataError: the part cannot be written; or there is one, and `resume` is not set.
        UsageError: it was made with other weights or options.
    """

    def __init__(
        self,
        path: Path,
        run: Run,
        *,
        resume: bool,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        super().__init__()
        self.path, self.part, self.run, self._notice = path, part_of(path), run, notice
        self._text = text_of(run)
        self._parquet = FORMATS[run.format].parquet
        if self._parquet:
            parquet.library()  # missing, that is better said before a million photos than after
        if self.part.exists():
            if not resume:
                raise DataError(
                    f"{self.part} holds an unfinished run: give --resume to continue it, or "
                    "delete it to start over"
                )
            _same(self.part, manifest.read(self.part), run)
        with reporting(self.part):
            self._file = cast(BinaryIO, self.part.open("r+b" if self.part.exists() else "w+b"))
        try:
            lock(self._file, self.part)
        except DataError:
            self._file.close()
            raise
        self._synced = time.monotonic()
        self._finished = False
        for file in (path, manifest.about(path), manifest.about(self.part)):
            remove_torn(file)
        manifest.write(self.part, run)

    def skip(self, names: Iterator[str]) -> None:
        """Take the inputs whose rows the part already has.

        Raises:
            DataError: the part is of other inputs.
        """
        head = self._text.head.encode()
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
            return
        end = len(head)
        for group in groups(rows(self._file, self._text), self.run):
            name = next(names, None)
            if name is None or name_of(name) != group[0].name:
                now = "no more" if name is None else name_of(name)[0]
                raise DataError(
                    f"{self.part} is of other inputs: input {self.counts['inputs'] + 1} there is "
                    f"{group[0].name[0]}, now it is {now}. Give the same as before, or delete it "
                    "to start over"
                )
            end += sum(len(row.data) for row in group)
            self.count(row.status for row in group)
        with reporting(self.part):
            self._file.seek(end)
            self._file.truncate()
        if self.counts:
            self._notice(f"{self.path}: continuing after {counted(self.counts['inputs'], 'input')}")

    def write(self, results: Sequence[Result]) -> None:
        """Hand rows to the system, and from time to time to the disk.

        Raises:
            DataError: the part cannot be written; what it holds stays.
        """
        with reporting(self.part):
            self._file.write("".join(map(self._text.row, results)).encode())
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        super().write(results)

    def finish(self, shard: Shard) -> None:
        """Give the file its name, and write its manifest."""
        run = dataclasses.replace(
            self.run,
            finished=True,
            inputs=shard.inputs,
            inputs_sha256=shard.sha256,
            counts=dict(self.counts),
        )
        # The manifest before the file: a file that bears its name is then never without one.
        manifest.write(self.path, run)
        with reporting(self.part):
            self._file.flush()
            os.fsync(self._file.fileno())
            if self._parquet:
                self._file.seek(0)
                found = (json.loads(row.data) for row in rows(self._file, self._text))
                parquet.write(self.path, found, run.options["attributes"], run.to_json())
            self._file.close()
            if self._parquet:
                self.part.unlink()
            else:
                self.part.replace(self.path)
                sync_folder(self.path.parent)
        manifest.about(self.part).unlink(missing_ok=True)
        self._finished = True

    def __exit__(self, *error: object) -> None:
        """Close the part as it is, to be resumed."""
        if self._finished:
            return
        try:
            with reporting(self.part):
                self._file.close()
        except DataError:
            if error[0] is None:
                raise
        self._notice(
            f"{self.part} keeps {counted(self.counts['inputs'], 'finished input')}: continue with "
            "--resume"
        )


def complete(path: Path, run: Run) -> Counter[str] | None:
    """Return the counts of a run that --resume finds complete, or None.

    Raises:
        UsageError: the file was made with other weights or options.
    """
    if part_of(path).exists() or not path.exists() or not manifest.about(path).exists():
        return None
    found = manifest.read(path)
    _same(path, found, run)
    return Counter(found.counts)


def _same(path: Path, found: Run, run: Run) -> None:
    odd = found.differences(run)
    if found.shard != run.shard:
        odd.append(f"shard {found.shard} and {run.shard}")
    if odd:
        raise UsageError(
            f"{path} was created with different settings: {'; '.join(odd)}. Use the same options, "
            "or delete it to start over"
        )


def part_of(path: Path) -> Path:
    """Return the file that grows until `path` is complete."""
    return path.with_name(f"{path.name}.part")


def text_of(run: Run) -> Jsonl:
    """Return what writes and reads the rows of a run as text."""
    return FORMATS[run.format].text(run.options["attributes"])


def rows(file: BinaryIO, text: Jsonl) -> Iterator[Row]:
    """Yield the whole rows of a file from its position; end at the first partial one.

    Raises:
        DataError: they are of another schema.
    """
    for data in _records(file, quoted=text.quoted):
        try:
            row = Row.of(text.columns(data), data, file.name)
        except (ValueError, KeyError, TypeError):
            return
        yield row


def groups(found: Iterable[Row], run: Run) -> Iterator[list[Row]]:
    """Yield the rows of one input after another; an input with missing rows ends it."""
    every_face = run.options["faces"] == "all"
    group: list[Row] = []
    for row in found:
        group.append(row)
        if row.face is None or not every_face or row.face == row.faces:
            yield group
            group = []


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
