"""Outputs that are finished and get more rows: `--append` adds inputs, `--retry` asks again.

Both begin a part from the finished file, which stays until the part takes its place: whatever ends
them, the same command continues or begins again, and no row is lost.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from celebattr.errors import DataError
from celebattr.inference.inputs.source import Input
from celebattr.inference.output.journal import Growing
from celebattr.inference.output.manifest import Run, Shard
from celebattr.inference.output.proof import moments, sha256_of, stored
from celebattr.inference.output.writers import Row
from celebattr.io.files import reporting
from celebattr.predictions import Result, name_bytes, name_of

_SHOWN = 10
"""Names of inputs in a message."""


class _Extending(Growing):
    """A part that is begun from the finished file."""

    def _from(self, source: Run | None, run: Run) -> Run:
        if source is None:
            return run
        if not source.began:
            raise DataError(
                f"{self.path} was written by merge: --{self.how} is for what predict wrote"
            )
        told = ("sha256", "inputs", "inputs_sha256", "mode", "counts")
        kept = {name: getattr(source, name) for name in told}
        return dataclasses.replace(self._joined(source, run), source=kept)

    def _finished_rows(self) -> Iterator[tuple[list[Row], float]]:
        """Yield the rows of each input of the finished file, and when they were begun.

        Raises:
            DataError: it is not the file from which the part was begun.
        """
        if not self._fresh and sha256_of(self.path) != self.run.source["sha256"]:
            raise DataError(
                f"{self.path} was changed since {self.part} was begun from it: give --overwrite "
                "to start over"
            )
        return zip(stored(self.path, self.run), moments(self.run), strict=False)

    def _copy(self, group: Sequence[Row], when: float) -> None:
        """Write the rows of one input as they are."""
        with reporting(self.part):
            self._file.writelines(row.data for row in group)
        self._took(group, when)


class Appending(_Extending):
    """A file that is started, resumed, or extended by the inputs that it has no rows of.

    Inputs are known by their names, and rows of new ones come last. One that is mentioned twice has
    rows twice.
    """

    mode = "append"
    continues = ("append", "resume")

    def todo(self, inputs: Iterator[Input], shard: Shard) -> Iterator[Input]:
        """Return the inputs that are new."""
        self._since: dict[bytes, float] = {}
        self._twice: Counter[bytes] = Counter()
        self._changed: list[str] = []
        for group, when in self._there():
            self._know(group, when)
        began = self._began
        # Fewer rows than the finished file has: none, or their copying was cut off.
        self._copying = self.counts["inputs"] < self.run.source.get("inputs", 0)
        if self._copying:
            there = self._finished_rows()
            self._start(cut=True)
            self._file.seek(0, os.SEEK_END)
            self._since.clear()
            self._twice.clear()
            for group, when in there:
                self._know(group, when)
                self.count(row.status for row in group)
            began = [one for one in self.run.began if one[0] < self.counts["inputs"]]
        self.kept = self.counts.copy()
        self._record([*began, (self.counts["inputs"], self._now)])
        return filter(self._is_new, inputs)

    def _know(self, group: Sequence[Row], when: float) -> None:
        name = group[0].name_bytes
        if name in self._since:
            self._twice[name] += 1
        else:
            self._since[name] = when

    def _is_new(self, item: Input) -> bool:
        name = name_bytes(item.path)
        since = self._since.pop(name, None)
        if since is not None:
            if _changed(item, since):
                self._changed.append(name_of(item.path)[0])
            return False
        self._twice[name] -= 1
        if self._twice[name] < 0:
            del self._twice[name]
            return True
        return False

    def write(self, results: Sequence[Result]) -> None:
        """Write the rows of a new input, after those of the finished file."""
        if self._copying:
            for group, when in self._finished_rows():
                self._copy(group, when)
            self._copying = False
        super().write(results)

    def finish(self, shard: Shard) -> None:
        """Say what was found, and put the file in place if it has grown."""
        self.complete = self._copying
        told = [f"new inputs: {self.scored:,}"]
        if self._changed:
            names = ", ".join(self._changed[:_SHOWN])
            names += ", ..." if len(self._changed) > _SHOWN else ""
            many = f"{len(self._changed):,} ({names})"
            told.append(f"changed since they were scored, not scored again: {many}")
        if vanished := len(self._since) + self._twice.total():
            told.append(f"no longer there, rows kept: {vanished:,}")
        self._notice(f"{self.path}: {'; '.join(told)}")
        super().finish(shard)

    def _whole(self, run: Run) -> Run:
        return dataclasses.replace(run, inputs=self._names.count, inputs_sha256=self._names.sha256)


class Retrying(_Extending):
    """A finished file whose failed inputs are asked again; their rows stay in their places.

    Args:
        path, run, notice: see `Growing`.
        statuses: of the rows.
    """

    def __init__(
        self,
        path: Path,
        run: Run,
        statuses: Sequence[str],
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._statuses = frozenset(statuses)
        self.mode = f"retry {','.join(sorted(statuses))}"
        self.continues = (self.mode,)
        super().__init__(path, run, how="retry", notice=notice)

    def _from(self, source: Run | None, run: Run) -> Run:
        if source is None:
            raise DataError(f"{self.path} is not there, so no row of it can be retried")
        return super()._from(source, run)

    def todo(self, inputs: Iterator[Input], shard: Shard) -> Iterator[Input]:
        """Return the inputs whose rows failed, in the order of the file."""
        self._old = self._finished_rows()
        for _ in zip(self._there(), self._old, strict=False):
            pass
        rest = islice(stored(self.path, self.run), self.counts["inputs"], None)
        failed = [group[0].name_bytes for group in rest if group[0].status in self._statuses]
        wanted, self._found = set(failed), dict[bytes, Input]()
        for item in inputs:
            if len(self._found) == len(wanted):
                break
            if (name := name_bytes(item.path)) in wanted:
                self._found.setdefault(name, item)
        again = [self._found[name] for name in failed if name in self._found]
        lost = len(failed) - len(again)
        told = f"; not among these, rows kept: {lost:,}" if lost else ""
        self._notice(f"{self.path}: failed inputs scored again: {len(again):,}{told}")
        self._record(self.run.began)
        return iter(again)

    def write(self, results: Sequence[Result]) -> None:
        """Write the new rows of an input in the place of the failed one."""
        self._copy_until_failed()
        super().write(results)

    def _copy_until_failed(self) -> None:
        for group, when in self._old:
            if group[0].status in self._statuses and group[0].name_bytes in self._found:
                return
            self._copy(group, when)
            self.count(row.status for row in group)
            self.kept["inputs"] += 1
            self.kept.update(row.status for row in group)

    def finish(self, shard: Shard) -> None:
        """Copy what follows the last failed row, and put the file in place."""
        self.complete = self._fresh and not self.scored
        if self.complete:
            self.counts = Counter(self.run.source["counts"])
        else:
            self._copy_until_failed()
        super().finish(shard)

    def _whole(self, run: Run) -> Run:
        kept = {name: self.run.source[name] for name in ("inputs", "inputs_sha256", "mode")}
        return dataclasses.replace(run, **kept)


def _changed(item: Input, since: float) -> bool:
    """Return True if an input is a file that was changed, or put in place, after a moment."""
    if item.data is not None or item.read is not None or item.failure is not None:
        return False
    try:
        status = os.stat(item.source)  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return max(status.st_mtime, status.st_ctime) > since
