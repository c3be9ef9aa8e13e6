"""Results as a Parquet file, which pandas, polars and DuckDB read straight.

The columns are those of the CSV; `present` and `unsure` are lists. The file's metadata holds what
made it, as JSON under `celebattr`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from celebattr.errors import MissingExtraError
from celebattr.inference.output.writers import LISTS, Row, csv_columns, flat
from celebattr.io.schema import json_object

if TYPE_CHECKING:
    import pyarrow

METADATA_KEY = b"celebattr"
GROUP_ROWS = 10_000
"""Rows held in memory at once; Parquet compresses and reads them together."""

_READ_ROWS = 256

_KINDS = (
    dict.fromkeys(("schema", "face", "faces", "track"), "int32")
    | dict.fromkeys(("path", "path_bytes", "status", "error"), "string")
    | {"time": "float64"}
)
"""Types of columns; the others are float32."""


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


def write_rows(
    file: BinaryIO, rows: Iterable[Mapping[str, Any]], attributes: Sequence[str], about: str
) -> None:
    """Write rows as Parquet into an open file.

    Args:
        file: where to.
        rows: JSON objects of the schema, or columns that `read` gave.
        attributes: the attributes of every prediction, in the order of columns.
        about: JSON of what made the rows, for the file's metadata.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = library()
    schema = _schema(pa, attributes).with_metadata({METADATA_KEY: about.encode()})
    found = map(flat, rows)
    with pa.parquet.ParquetWriter(file, schema, compression="zstd") as out:
        while group := list(itertools.islice(found, GROUP_ROWS)):
            out.write_table(pa.Table.from_pylist(group, schema=schema))


def about(path: Path) -> dict[str, Any]:
    """Return what the metadata of a file says made it; nothing if it says nothing."""
    found = library().parquet.read_schema(path).metadata or {}
    return json_object(found.get(METADATA_KEY, b"{}"))


def read(path: Path) -> Iterator[Row]:
    """Yield the rows of a file that `write_rows` made, their data as JSON."""
    with library().parquet.ParquetFile(path) as file:
        # Fewer at a time than are written together: as Python objects a row takes kilobytes.
        batches = file.iter_batches(batch_size=_READ_ROWS, use_threads=False)
        for row in (row for batch in batches for row in batch.to_pylist()):
            yield Row.of(row, json.dumps(row).encode() + b"\n", str(path))


def _schema(pa: Any, attributes: Sequence[str]) -> pyarrow.Schema:
    def kind(name: str) -> Any:
        if name in LISTS:
            return pa.list_(pa.string())
        return pa.type_for_alias(_KINDS.get(name, "float32"))

    return pa.schema([(name, kind(name)) for name in csv_columns(attributes)])
