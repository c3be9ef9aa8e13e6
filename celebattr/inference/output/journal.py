"""An output file that grows as results come, and can be resumed after any kind of end.

An output is missing, unfinished or finished. Rows go to `NAME.part`, which is locked while a run
writes it; when all are there it becomes `NAME`. So what bears the name is complete, and what is in
the part is complete too, but for the last row if the power failed: resuming cuts the part off after
the last input whose rows are whole. Beside each lies its manifest. A part without a row is nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from celebattr.errors import DataError, counted
from celebattr.inference.inputs.source import Input
from celebattr.inference.output import manifest, parquet
from celebattr.inference.output.manifest import Names, Run, Shard
from celebattr.inference.output.proof import (
    groups,
    moments,
    rows,
    same_settings,
    sha256_of,
    stored,
    text_of,
    verified,
)
from celebattr.inference.output.sinks import Output
from celebattr.inference.output.writers import FORMATS, Row
from celebattr.io.files import (
    keep_mode,
    refuse_existing,
    remove_torn,
    replacing,
    reporting,
    sync_folder,
)
from celebattr.io.locks import bears_name, open_locked
from celebattr.predictions import Result, name_bytes, name_of

SYNC_SECONDS = 5.0
"""Seconds between syncs of the part to the disk, against power failures."""


class Growing(Output):
    """A file that can be resumed after any end.

    Args:
        path: the output file; a link is followed.
        run: what decides its rows; its format is one that grows.
        how: new, resume or overwrite.
        notice: told what a person should know.

    Raises:
        DataError: the part cannot be written, or another run writes it; the state of the output
            is none that `how` begins with.
        UsageError: the output was made with other weights or options.
    """

    mode = "resume"
    """The option that continues a part of this kind."""

    continues: tuple[str, ...] = ("resume",)
    """Modes of the parts that it continues."""

    def __init__(
        self,
        path: Path,
        run: Run,
        *,
        how: str = "new",
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        super().__init__()
        with reporting(path):
            self.path = Path(os.path.realpath(path)) if path.is_symlink() else path
        self.part, self.how, self._notice = manifest.part_of(self.path), how, notice
        self._text, self._parquet = text_of(run), FORMATS[run.format].parquet
        if self._parquet:
            parquet.library()  # missing, that is better said before a million photos than after
        with reporting(self.part):
            manifest.about(self.part).exists()  # a name may be too long for what comes after it
            self._file = open_locked(self.part)
        self._synced, self._now = time.monotonic(), time.time()
        self._finished = self._fresh = False
        try:
            for file in (self.path, manifest.about(self.path), manifest.about(self.part)):
                remove_torn(file)
            self.run = self._begin(run)
        except BaseException:
            self._close()
            raise

    def _begin(self, run: Run) -> Run:
        """Return the run that the part is of, once the state of the output allows it."""
        begun = os.fstat(self._file.fileno()).st_size > len(self._text.head.encode())
        self._start(cut=False)
        if begun and self.how != "overwrite":
            found = manifest.read(self.part)
            if self.how == "new" or found.mode not in self.continues:
                raise DataError(
                    f"{self.part} holds an unfinished run: give --{found.mode} to continue it, or "
                    "--overwrite to start over"
                )
            same_settings(self.part, found, run)
            return self._joined(found, run)
        self._fresh = not begun  # until the rows of an earlier run are given up, it is theirs
        finished = self.path.exists() and self.path.stat().st_size > 0
        refuse_existing(self.path, finished and self.how == "new")
        source = None
        if finished and self.how != "overwrite":
            source = verified(self.path)
            same_settings(self.path, source, run)
        run = self._from(source, run)
        self._start(cut=True)
        return run

    def _start(self, *, cut: bool) -> None:
        """Stand before the first row of the part; with `cut`, there is none any more."""
        head = self._text.head.encode()
        self.counts.clear()
        self._names, self._digest = Names(), hashlib.sha256(head)
        self._began: list[tuple[int, float]] = []
        if cut:
            self._fresh = True
            with reporting(self.part):
                self._file.truncate(0)
                keep_mode(self._file, self.path)
                self._file.seek(0)
                self._file.write(head)
                self._file.flush()
        self._file.seek(0)

    def _from(self, source: Run | None, run: Run) -> Run:
        """Return the run of a new part; `source` is that of a finished file which stays."""
        if source is not None and source.mode != self.mode:
            raise DataError(
                f"{self.path} was extended with --{source.mode}: give --{source.mode} again"
            )
        self.complete = source is not None
        return source or run

    def _joined(self, found: Run, run: Run) -> Run:
        """Return a run to which rows are added now, perhaps by other versions."""
        odd = manifest.other_versions(found.versions, run.versions)
        if odd:
            self._notice(
                f"{self.path}: other versions made the rows so far ({odd}); decisions near a "
                "threshold may differ"
            )
        return found.made_also_by(run.versions)

    def todo(self, inputs: Iterator[Input], shard: Shard) -> Iterator[Input]:
        """Return the inputs that have no rows yet, once those that have are the ones before.

        Raises:
            DataError: the part, or the finished file, is of other inputs.
        """
        if self.complete:
            self._compare(inputs, shard)
            return iter(())
        for group, _ in self._there():
            self._expect(next(inputs, None), group[0], self.part, "give the same as before")
        if self.counts:
            self._notice(f"{self.path}: continuing after {self.counts['inputs']:,} inputs")
        self._record([*self._began, (self.counts["inputs"], self._now)])
        return inputs

    def _compare(self, inputs: Iterator[Input], shard: Shard) -> None:
        """Prove that the finished file is of these inputs, and count its rows."""
        alone = self.run.shard == (1, 1)
        remedy = "give --append to add new ones" if alone else "score all shards again"
        for group in stored(self.path, self.run):
            self._expect(next(inputs, None), group[0], self.path, remedy)
            self.count(row.status for row in group)
        more = next(inputs, None)
        for _ in inputs:  # the shard counts them
            pass
        if (shard.inputs, shard.sha256) != (self.run.inputs, self.run.inputs_sha256):
            odd = f"its run was of {self.run.inputs:,}, now there are {shard.inputs:,}"
            odd += "" if more is None else f", {name_of(more.path)[0]} after the last one"
            raise DataError(f"{self.path} is of other inputs: {odd}; {remedy}, or --overwrite")

    def _expect(self, item: Input | None, row: Row, where: Path, remedy: str) -> None:
        """Refuse an input that is not the one of the next rows."""
        if item is not None and name_bytes(item.path) == row.name_bytes:
            return
        now = "no more" if item is None else name_of(item.path)[0]
        raise DataError(
            f"{where} is of other inputs: input {self.counts['inputs'] + 1:,} there is "
            f"{row.name[0]}, now it is {now}; {remedy}, or --overwrite to start over"
        )

    def _there(self) -> Iterator[tuple[list[Row], float]]:
        """Yield the rows of each input in the part, and when they were begun; cut a torn end."""
        head = self._text.head.encode()
        if self._file.read(len(head)) != head:
            raise DataError(
                f"{self.part} has other columns: it was made with other attributes; give "
                "--overwrite to start over"
            )
        end = len(head)
        there = groups(rows(self._file, self._text), self.run)
        for group, when in zip(there, moments(self.run), strict=False):
            yield group, when
            end += self._took(group, when)
            self.count(row.status for row in group)
        with reporting(self.part):
            self._file.seek(end)
            self._file.truncate()

    def _record(self, began: Sequence[tuple[int, float]]) -> None:
        """Write the manifest of the part, before its next row."""
        run = dataclasses.replace(self.run, finished=False, mode=self.mode, began=tuple(began))
        manifest.write(self.part, run)

    def _took(self, group: Sequence[Row], when: float) -> int:
        """Hash the rows of one input that the part has; return their number of bytes."""
        data = b"".join(row.data for row in group)
        self._hash(data, group[0].name_bytes, when)
        return len(data)

    def _hash(self, data: bytes, name: bytes, when: float) -> None:
        if not self._began or self._began[-1][1] != when:
            self._began.append((self._names.count, when))
        self._digest.update(data)
        self._names.add(name)

    def write(self, results: Sequence[Result]) -> None:
        """Hand rows to the system, and from time to time to the disk.

        Raises:
            DataError: the part cannot be written, and keeps what it holds; or it was removed.
        """
        data = "".join(map(self._text.row, results)).encode()
        with reporting(self.part):
            self._file.write(data)
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
                self._check_name()
        self._hash(data, name_bytes(results[0].path), self._now)
        super().write(results)

    def _check_name(self) -> None:
        """Refuse to continue a part that was removed, or replaced by another file of its name.

        Raises:
            DataError: it is not there.
        """
        if not bears_name(self._file, self.part):
            raise DataError(
                f"{self.part} was removed or replaced while this run wrote it: its rows are lost, "
                "start it again"
            )

    def finish(self, shard: Shard) -> None:
        """Give the file its name, and write its manifest."""
        if self.complete:
            return
        run = dataclasses.replace(
            self.run,
            finished=True,
            inputs=shard.inputs,
            inputs_sha256=shard.sha256,
            counts=dict(self.counts),
            names_sha256=self._names.sha256,
            sha256=self._digest.hexdigest(),
            mode=self.mode,
            source={},
            began=tuple(self._began),
        )
        self._put(self._whole(run))
        manifest.about(self.part).unlink(missing_ok=True)
        self._finished = True
        self._file.close()

    def _whole(self, run: Run) -> Run:
        """Return the manifest of the finished file, from what it is of an ordinary run."""
        return run

    def _put(self, run: Run) -> None:
        """Put the file and its manifest in place."""
        with reporting(self.part):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._check_name()
        # The manifest before the file: a new file that bears its name is never without one.
        if self._parquet:
            self._file.seek(0)
            found = (json.loads(row.data) for row in rows(self._file, self._text))
            with replacing(self.path) as new:
                parquet.write_rows(new, found, run.options["attributes"], run.inside)
                new.flush()
                digest = sha256_of(Path(new.name))
                manifest.write(self.path, dataclasses.replace(run, sha256=digest))
            self._unlock_here()
            self.part.unlink()
            return
        manifest.write(self.path, run)
        with reporting(self.part):
            self._unlock_here()
            self.part.replace(self.path)  # locked until it bears the name
            sync_folder(self.path.parent)

    def _unlock_here(self) -> None:
        """Close the part where an open file can be neither renamed nor removed."""
        if sys.platform == "win32":
            self._file.close()

    def __exit__(self, *error: object) -> None:
        """Close the part as it is, to be resumed, or remove one to which nothing was added."""
        if self._finished:
            return
        ours = bears_name(self._file, self.part)
        if self._fresh and not self.scored:
            self._close()
            return
        try:
            with reporting(self.part):
                self._file.close()
        except DataError:
            if error[0] is None:
                raise
        if ours:
            self._notice(
                f"{self.part} keeps {counted(self.counts['inputs'], 'finished input')}: continue "
                f"with --{self.mode}"
            )

    def _close(self) -> None:
        """Close the part; remove it if it is new, or was empty."""
        if self._fresh and bears_name(self._file, self.part):
            with contextlib.suppress(OSError):
                manifest.about(self.part).unlink(missing_ok=True)
                self.part.unlink()  # while it is locked
        with contextlib.suppress(OSError):
            self._file.close()
