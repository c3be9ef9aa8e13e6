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
    """Takes the results of one input after another; a context manager."""

    @property
    def counts(self) -> Counter[str]:
        """Inputs so far, and rows by status."""
        ...

    def skip(self, names: Iterator[str]) -> None:
        """Takes the inputs whose rows are there already, from a run that is gone on with."""

    def write(self, results: Sequence[Result]) -> None:
        """Writes the rows of one input, so that they are there whatever comes."""

    def finish(self, shard: Shard) -> None:
        """Every input was written."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Plain:
    """What the outputs that cannot be gone on with have in common."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Counter[str]:
        """Inputs so far, and rows by status."""
        return self._counts

    def skip(self, names: Iterator[str]) -> None:
        """There is nothing to go on with."""

    def count(self, results: Sequence[Result]) -> None:
        """Counts one input and its rows."""
        self._counts["inputs"] += 1
        self._counts.update(result.status for result in results)

    def __enter__(self) -> Self:
        return self


class Text(Plain):
    """A stream, or the formats and places that only can be written in one go."""

    def __init__(self, target: Path | TextIO, attributes: tuple[str, ...], format: str) -> None:
        super().__init__()
        from celebattr.inference.output.writers import open_writer

        self._writer = open_writer(target, attributes, format)

    def write(self, results: Sequence[Result]) -> None:
        """Writes results and hands them on."""
        for result in results:
            self._writer.write(result)
        self._writer.flush()
        self.count(results)

    def finish(self, shard: Shard) -> None:
        """Completes a file."""
        self._writer.close()

    def __exit__(self, *_: object) -> None:
        self._writer.discard()  # of what was finished, nothing


class Growing:
    """A file that can be gone on with after any end.

    Raises:
        DataError: it holds an unfinished run that is not to be gone on with, or cannot be written.
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
        """Inputs, and rows by status, those of the run that is gone on with included."""
        return self._journal.counts

    def skip(self, names: Iterator[str]) -> None:
        """Takes the inputs whose rows are there already."""
        done = self._journal.skip(names)
        if done:
            self._notice(f"{self._path}: going on after {done:,} inputs")

    def write(self, results: Sequence[Result]) -> None:
        """Writes the rows of one input."""
        self._journal.write(results)
        self._journal.flush()

    def finish(self, shard: Shard) -> None:
        """Gives the file its name, beside what made it."""
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
    """The counts of a run that --resume finds complete already, or None.

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
            "start anew"
        )
