"""Results as a Parquet file, which pandas, polars and DuckDB read straight.

The columns are those of the CSV; `present` and `unsure` are lists. The file's metadata holds what
made it, as JSON under `celebattr`. File names that are not UTF-8 are escaped as in a CSV.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from celebattr.errors import MissingExtraError
from celebattr.inference.output.journal import Row
from celebattr.inference.output.writers import BOX, csv_columns
from celebattr.io.files import Replacement, reporting

if TYPE_CHECKING:
    import pyarrow

METADATA_KEY = b"celebattr"
GROUP_ROWS = 10_000
"""Rows held in memory at once; Parquet compresses and reads them together."""

_READ_ROWS = 256

_INTEGERS = ("schema", "face", "faces")
_TEXTS = ("path", "status", "error")
_LISTS = ("present", "unsure")


def library() -> Any:
    """Import and return the package pyarrow.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    return pyarrow


def write(path: Path, rows: Iterable[Row], attributes: Sequence[str], about: str) -> None:
    """Write rows of JSON as a Parquet file, complete or absent.

    Args:
        path: the file.
        rows: what `journal.rows` reads from JSONL.
        attributes: the attributes of every prediction, in the order of columns.
        about: JSON of what made the rows, for the file's metadata.

    Raises:
        DataError: it cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    library()
    new = Replacement(path)
    try:
        with reporting(path):
            write_rows(new.handle, rows, attributes, about)
    except BaseException:
        new.discard()
        raise
    new.commit()


def write_rows(file: BinaryIO, rows: Iterable[Row], attributes: Sequence[str], about: str) -> None:
    """Write rows of JSON as Parquet into an open file."""
    pa = library()
    schema = _schema(pa, attributes).with_metadata({METADATA_KEY: about.encode()})
    with pa.parquet.ParquetWriter(file, schema, compression="zstd") as out:
        for group in _chunks(rows):
            columns = [_flat(json.loads(row.data)) for row in group]
            out.write_table(pa.Table.from_pylist(columns, schema=schema))


def read(path: Path) -> Iterator[Row]:
    """Yield the rows of a file that `write` made, their data as JSON."""
    with library().parquet.ParquetFile(path) as file:
        # Fewer at a time than are written together: as Python objects a row takes kilobytes.
        batches = file.iter_batches(batch_size=_READ_ROWS, use_threads=False)
        for row in (row for batch in batches for row in batch.to_pylist()):
            plain = {name: value for name, value in row.items() if value is not None}
            data = json.dumps(plain).encode() + b"\n"
            yield Row(row["path"], row["status"], row["face"] or 0, row["faces"] or 0, data)


def _schema(pa: Any, attributes: Sequence[str]) -> pyarrow.Schema:
    def kind(name: str) -> Any:
        if name in _INTEGERS:
            return pa.int32()
        if name in _TEXTS:
            return pa.string()
        return pa.list_(pa.string()) if name in _LISTS else pa.float32()

    return pa.schema([(name, kind(name)) for name in csv_columns(attributes)])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of JSONL, or one that was read back, as columns."""
    row.update(zip(BOX, row.pop("box", None) or (), strict=False))
    row.update(row.pop("probabilities", {}))
    for name in ("path", "error"):
        if name in row:
            row[name] = row[name].encode("utf-8", "backslashreplace").decode()
    return row


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    found = iter(rows)
    while chunk := list(itertools.islice(found, GROUP_ROWS)):
        yield chunk
