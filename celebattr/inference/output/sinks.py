"""Outputs of `celebattr predict`: the base of them all, and those that are written in one go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

from celebattr.inference.output.writers import FORMATS
from celebattr.io.files import Replacement, reporting
from celebattr.predictions import Result

if TYPE_CHECKING:
    from celebattr.inference.inputs.source import Input
    from celebattr.inference.output.manifest import Shard


class Output:
    """Takes the results of one input after another; a context manager that keeps what is finished.

    Attributes:
        counts: inputs so far, and rows by status.
        kept: those of a finished file that is extended.
        scored: inputs that were written.
        complete: the file was finished before, and stays.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.scored = 0
        self.complete = False

    def todo(self, inputs: Iterator[Input], shard: Shard) -> Iterator[Input]:
        """Return the inputs that have no rows yet: all, but where a run is continued."""
        return inputs

    def write(self, results: Sequence[Result]) -> None:
        """Write the rows of one input, and count them."""
        self.count(result.status for result in results)
        self.scored += 1

    def finish(self, shard: Shard) -> None:
        """Complete the output after the last input."""

    def count(self, statuses: Iterable[str]) -> None:
        """Count one input and its rows."""
        self.counts["inputs"] += 1
        self.counts.update(statuses)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave what was not finished."""


class Text(Output):
    """A stream, which stays open; or a file that appears once it is complete, or not at all.

    Raises:
        DataError: the file cannot be created; so do `write` and `finish` if it cannot be written.
    """

    def __init__(self, target: Path | TextIO, attributes: Sequence[str], format: str) -> None:
        super().__init__()
        self._text = FORMATS[format].text(attributes)
        self._new: Replacement | None = None
        self._finished = False
        if isinstance(target, Path):
            self._new = Replacement(target)
            self._name, self._file = str(target), self._new.handle
        else:
            # Bytes, so that the locale of a stream does not decide which names it takes.
            self._name, self._file = str(target.name), target.buffer
        self._put(self._text.head)

    def write(self, results: Sequence[Result]) -> None:
        """Write results and hand them on."""
        self._put("".join(map(self._text.row, results)))
        super().write(results)

    def finish(self, shard: Shard) -> None:
        """Complete the text, and put the file in place."""
        self._finished = True
        self._put(self._text.tail)
        if self._new is not None:
            self._new.commit()
            self._new = None

    def __exit__(self, *error: object) -> None:
        """Drop a file that was not finished; end a stream that has nothing, as JSON must be."""
        if self._new is not None:
            self._new.discard()
        elif not self._finished and not self.counts["inputs"]:
            self._finished = True
            self._put(self._text.tail)

    def _put(self, text: str) -> None:
        try:
            with reporting(self._name):
                self._file.write(text.encode())
                self._file.flush()
        except BaseException:
            self.__exit__()  # the first line is written before any block is entered
            raise
