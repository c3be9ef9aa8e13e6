"""Joins the parts of a sharded run into what one run would have written, and proves that it is all.

Shard i of N holds every N-th input, so taking one input from each part in turn gives the order of
the inputs back. Nothing is kept in memory but one input of each part.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from celebattr.errors import DataError, UsageError
from celebattr.files import Replacement, reporting
from celebattr.inference import runs
from celebattr.inference.runs import Run
from celebattr.reports import journal, parquet
from celebattr.reports.journal import Row
from celebattr.reports.writers import FORMATS


def merge(parts: Sequence[Path], output: Path) -> Run:
    """Writes the joined file, complete or absent, and beside it what made it.

    Returns:
        The run as if it had not been sharded.

    Raises:
        UsageError: the output is one of the parts, or its suffix is of another format.
        DataError: a part is unfinished, damaged, missing or there twice; or parts are of other
            inputs, weights or options.
    """
    if output.resolve() in {part.resolve() for part in parts}:
        raise UsageError(f"--output {output} is one of the parts: choose another name")
    ordered = _proved(parts)
    first = ordered[0][1]
    counts: Counter[str] = Counter()
    for _, run in ordered:
        counts.update(run.counts)
    whole = dataclasses.replace(first, shard=(1, 1), counts=dict(counts))
    rows = _in_turn([part for part, _ in ordered], whole, counts["inputs"])
    if whole.format == "parquet":
        parquet.write(output, rows, whole.options["attributes"], whole.to_json())
    else:
        _write_text(output, rows, whole)
    runs.write(output, whole)
    return whole


def _proved(parts: Sequence[Path]) -> list[tuple[Path, Run]]:
    """The parts in the order of their shards, once they are known to be one whole."""
    found: dict[int, tuple[Path, Run]] = {}
    for part in parts:
        if not part.exists():
            growing = journal.part_of(part)
            remedy = f": {growing} is unfinished, go on with --resume" if growing.exists() else ""
            raise DataError(f"{part} does not exist{remedy}")
        run = runs.read(part)
        index, count = run.shard
        if not run.finished:
            raise DataError(f"{part} is unfinished: go on with --resume")
        if index in found:
            raise DataError(f"{part} and {found[index][0]} are both shard {index}/{count}")
        found[index] = part, run
        _alike(found[min(found)], (part, run))
    count = next(iter(found.values()))[1].shard[1]
    missing = [f"{i}/{count}" for i in range(1, count + 1) if i not in found]
    if missing:
        shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        raise DataError(f"{len(missing):,} of {count:,} shards are missing: {shown}")
    return [found[index] for index in sorted(found)]


def _alike(one: tuple[Path, Run], other: tuple[Path, Run]) -> None:
    """Refuses parts that are not of the same run."""
    a, b = one[1], other[1]
    odd = a.differences(b)
    if a.shard[1] != b.shard[1]:
        odd.append(f"of {a.shard[1]} and {b.shard[1]} shards")
    if (a.inputs, a.inputs_sha256) != (b.inputs, b.inputs_sha256):
        odd.append(f"their lists of inputs, {a.inputs:,} and {b.inputs:,}, are not the same")
    if odd:
        raise DataError(f"{one[0]} and {other[0]} are not of the same run: {'; '.join(odd)}")


def _in_turn(parts: Sequence[Path], run: Run, inputs: int) -> Iterator[Row]:
    """The rows of one input of each part in turn."""
    every_face = run.options["faces"] == "all"
    with contextlib.ExitStack() as stack:
        sources = []
        for part in parts:
            rows = _rows(part, run, stack)
            sources.append(iter(journal.groups(rows, every_face=every_face)))
        done = 0
        while done < inputs:
            for part, source in zip(parts, sources, strict=True):
                group = next(source, None)
                if group is not None:
                    yield from group
                    done += 1
                elif done < inputs:
                    raise DataError(f"{part} is damaged: it has fewer rows than it was made with")
                else:
                    break


def _rows(part: Path, run: Run, stack: contextlib.ExitStack) -> Iterator[Row]:
    if run.format == "parquet":
        return parquet.read(part)
    file = stack.enter_context(part.open("rb"))
    file.seek(len(_head(run)))
    return journal.rows(file, run.format)


def _write_text(output: Path, rows: Iterator[Row], run: Run) -> None:
    new = Replacement(output)
    try:
        with reporting(output):
            new.handle.write(_head(run))
            for row in rows:
                new.handle.write(row.data)
    except BaseException:
        new.discard()
        raise
    new.commit()


def _head(run: Run) -> bytes:
    return FORMATS[run.format].form(run.options["attributes"]).head().encode()
