"""Outputs of `celebattr predict`: a stream, or a file that grows and can be resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO, runtime_checkable

from celebattr.errors import DataError, UsageError
from celebattr.io.files import remove_torn

if TYPE_CHECKING:
    from celebattr.inference.output.manifest import Run, Shard
    from celebattr.predictions import Result


@runtime_checkable
class Output(Protocol):
    """A sink for the results of one input after another; a context manager."""

    @property
    def counts(self) -> Counter[str]:
        """The number of inputs so far, and of rows by status."""
        ...

    def skip(self, names: Iterator[str]) -> None:
        """Take the inputs whose rows are there already, from a run that is resumed."""

    def write(self, results: Sequence[Result]) -> None:
        """Write the rows of one input durably."""

    def finish(self, shard: Shard) -> None:
        """Complete the output after the last input."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Plain:
    """The base of outputs that cannot be resumed."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Counter[str]:
        """The number of inputs so far, and of rows by status."""
        return self._counts

    def skip(self, names: Iterator[str]) -> None:
        """Skip nothing, since this output cannot be resumed."""

    def count(self, results: Sequence[Result]) -> None:
        """Count one input and its rows."""
        self._counts["inputs"] += 1
        self._counts.update(result.status for result in results)

    def __enter__(self) -> Self:
        return self


class Text(Plain):
    """A stream, or a format or place that can only be written in one go."""

    def __init__(self, target: Path | TextIO, attributes: tuple[str, ...], format: str) -> None:
        super().__init__()
        from celebattr.inference.output.writers import open_writer

        self._writer = open_writer(target, attributes, format)

    def write(self, results: Sequence[Result]) -> None:
        """Write results and hand them on."""
        for result in results:
            self._writer.write(result)
        self._writer.flush()
        self.count(results)

    def finish(self, shard: Shard) -> None:
        """Complete the file."""
        self._writer.close()

    def __exit__(self, *_: object) -> None:
        self._writer.discard()  # of what was finished, nothing


class Growing:
    """A file that can be resumed after any end.

    Raises:
        DataError: it holds an unfinished run and `resume` is not set, or cannot be written.
        UsageError: that run had other weights or options.
    """

    def __init__(
        self,
        path: Path,
        attributes: tuple[str, ...],
        run: Run,
        *,
        resume: bool,
        notice: Callable[[str], None],
    ) -> None:
        from celebattr.inference.output import manifest
        from celebattr.inference.output.journal import Journal, part_of

        self._path, self._run, self._notice = path, run, notice
        if run.format == "parquet":
            from celebattr.inference.output.parquet import library

            library()  # missing, that is better said before a million photos than after
        part = part_of(path)
        if resume and part.exists():
            _same(part, manifest.read(part), run)
        every_face = run.options["faces"] == "all"
        self._journal = Journal(path, run.format, attributes, every_face=every_face, resume=resume)
        for file in (path, manifest.about(path), manifest.about(part)):
            remove_torn(file)
        self._attributes = attributes
        self._finished = False
        manifest.write(part, run)

    @property
    def counts(self) -> Counter[str]:
        """The number of inputs, and of rows by status, of the resumed run included."""
        return self._journal.counts

    def skip(self, names: Iterator[str]) -> None:
        """Take the inputs whose rows are there already."""
        done = self._journal.skip(names)
        if done:
            self._notice(f"{self._path}: going on after {done:,} inputs")

    def write(self, results: Sequence[Result]) -> None:
        """Write the rows of one input."""
        self._journal.write(results)
        self._journal.flush()

    def finish(self, shard: Shard) -> None:
        """Give the file its name, and write its manifest."""
        import dataclasses

        from celebattr.inference.output import manifest
        from celebattr.inference.output.parquet import write as write_parquet

        run = dataclasses.replace(
            self._run,
            finished=True,
            inputs=shard.inputs,
            inputs_sha256=shard.sha256,
            counts=dict(self.counts),
        )
        # The manifest before the file: a file that bears its name is then never without one.
        manifest.write(self._path, run)
        convert = None
        if run.format == "parquet":

            def convert(rows: object) -> None:
                write_parquet(self._path, rows, self._attributes, run.to_json())  # type: ignore[arg-type]

        self._journal.finish(convert)
        manifest.about(self._journal.part).unlink(missing_ok=True)
        self._finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._finished:
            return
        try:
            self._journal.close()
        except DataError:
            if error is None:
                raise
        self._notice(
            f"{self._journal.part} keeps {self.counts['inputs']:,} inputs that are done: go on "
            "with --resume"
        )


def complete(path: Path, run: Run) -> Counter[str] | None:
    """Return the counts of a run that --resume finds complete, or None.

    Raises:
        UsageError: the file was made with other weights or options.
    """
    from celebattr.inference.output import manifest
    from celebattr.inference.output.journal import part_of

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
            f"{path} was made otherwise: {'; '.join(odd)}. Give the same options, or delete it to "
            "start over"
        )
