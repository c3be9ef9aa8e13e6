"""Outputs read back, and the proof that a finished one is what was written."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from celebattr.errors import DataError, UsageError, reason
from celebattr.inference.output import manifest, parquet
from celebattr.inference.output.manifest import Names, Run
from celebattr.inference.output.writers import FORMATS, Jsonl, Row


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


def stored(path: Path, run: Run) -> Iterator[list[Row]]:
    """Yield the rows of each input of a finished file."""
    if FORMATS[run.format].parquet:
        yield from groups(parquet.read(path), run)
        return
    text = text_of(run)
    with path.open("rb") as file:
        file.seek(len(text.head.encode()))
        yield from groups(rows(file, text), run)


def moments(run: Run) -> Iterator[float]:
    """Yield when the rows of each input of a run were begun, without end."""
    ends = [at for at, _ in run.began[1:]]
    for (start, when), end in zip(run.began, [*ends, None], strict=True):
        yield from itertools.repeat(when, *([] if end is None else [end - start]))
    yield from itertools.repeat(0.0)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from error


def verified(path: Path) -> Run:
    """Return the manifest of a finished file that is to the last byte what was written.

    Raises:
        DataError: it is not, or unfinished, or its manifest is missing.
    """
    run = manifest.read(path)
    if not run.finished:
        raise DataError(f"{path} is unfinished: continue it with --{run.mode}")
    if not run.sha256:
        raise DataError(
            f"{manifest.about(path)} has no hash of the rows: it is of an earlier version, score "
            "again with --overwrite"
        )
    if sha256_of(path) != run.sha256:
        raise DataError(
            f"{path} was changed since it was finished: {_change(path, run)}. Restore it from a "
            "copy, or score again with --overwrite"
        )
    return run


def _change(path: Path, run: Run) -> str:
    """Return what differs between a file and its manifest, for a person."""
    counts: Counter[str] = Counter()
    names = Names()
    first = "none"
    try:
        for group in stored(path, run):
            first = group[0].name[0] if not counts else first
            names.add(group[0].name_bytes)
            counts["inputs"] += 1
            counts.update(row.status for row in group)
    except (DataError, ValueError, OSError) as error:
        return f"its rows cannot be read ({reason(error)})"
    if counts["inputs"] != run.counts.get("inputs", 0):
        written = run.counts.get("inputs", 0)
        return f"it holds whole rows of {counts['inputs']:,} inputs, {written:,} were written"
    if names.sha256 != run.names_sha256:
        return f"its rows are of other inputs (the first is {first})"
    odd = [
        f"{counts[status]:,} rows are {status}, {run.counts.get(status, 0):,} were written"
        for status in {**run.counts, **counts}
        if counts[status] != run.counts.get(status, 0)
    ]
    return "; ".join(odd) or "the inputs are the same, what the rows say is not"


def same_settings(path: Path, found: Run, run: Run) -> None:
    """Refuse to continue an output with other weights, options or shard.

    Raises:
        UsageError: they differ.
    """
    odd = found.differences(run)
    if found.shard != run.shard:
        odd.append(f"shard {found.shard} and {run.shard}")
    if odd:
        raise UsageError(
            f"{path} was created with different settings: {'; '.join(odd)}. Use the same options, "
            "or --overwrite to start over"
        )
