"""Paths from a column of a table: CSV or Parquet, read as a stream."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from celebattr.constants import IMAGE_COLUMNS
from celebattr.errors import DataError, needs, reason
from celebattr.io import storage
from celebattr.predictions import path_of

EXACT = "path_bytes"
"""Column of a row of `predict` for names that are not UTF-8."""

_DELIMITERS = ",;\t"
_MAX_LINE = 1 << 20
"""Most characters of a line of CSV: longer ones are cut, and need not fit into memory."""
_BATCH_ROWS = 8192
_BATCH_BYTES = 1 << 24
_MAX_PAGE, _MAX_HEADER = 1 << 26, 1 << 16
"""Bytes of a page of Parquet once it is decompressed, and of its header."""

_BUFFER = 1 << 20


def paths_in(
    path: str, column: str | None, *, stdin: BinaryIO | None = None
) -> Iterator[str | DataError]:
    """Yield the paths in a column of a list, as they are written; empty for an empty cell.

    The column `path` of an output of `predict` has `path_bytes` beside it: its names are exact.

    A row that cannot be read gives the reason instead, as does the rest of a damaged Parquet file.

    Args:
        path: a CSV with a header (comma, semicolon or tab), or a Parquet file.
        column: its name; without it, the first of `IMAGE_COLUMNS` that is there, in any case.
        stdin: read instead of `path`: a CSV.

    Raises:
        DataError: there is no such column, or no row of the list can be read.
        MissingExtraError: a Parquet file needs pyarrow.
    """
    try:
        if stdin is not None:
            yield from _csv(stdin, path, column)
            return
        with storage.open_binary(path) as file:
            parquet = file.read(4) == b"PAR1" or path.lower().endswith(".parquet")
            file.seek(0)
            yield from (_parquet if parquet else _csv)(file, path, column)
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error


def _csv(stream: BinaryIO, path: str, column: str | None) -> Iterator[str | DataError]:
    text = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")
    row = 0
    try:
        lines = _Lines(text)
        header = next(lines, "")
        if len(header) >= _MAX_LINE:
            raise DataError(f"{path} is not a list: it has a line of over {_MAX_LINE:,} characters")
        if not header.strip() or "\0" in header:
            raise DataError(f"{path} is {'not UTF-8 text' if header.strip() else 'empty'}")
        delimiter = max(_DELIMITERS, key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
        at = names.index(_column(path, names, column))
        exact = names.index(EXACT) if names[at] == "path" and EXACT in names else -1
        reader = csv.reader(lines, delimiter=delimiter)
        while True:
            row, lines.row = row + 1, 0
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # a quote that nothing ends, for instance
                yield DataError(f"{path}: row {row:,} is not CSV ({error})")
                continue
            if cells:
                name = cells[at] if at < len(cells) else ""
                yield _name(path, name, cells[exact]) if 0 <= exact < len(cells) else name
            else:  # an empty line is no row
                row -= 1
    except csv.Error as error:
        raise DataError(f"{path}: its first line is not CSV ({error})") from error
    finally:
        text.detach()  # else it would close the stream, which may be standard input


class _Lines:
    """The lines of a CSV, each cut to the most characters a line may have.

    Attributes:
        row: characters of the row that is being read. It may have any number of lines, in quotes.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self.row = text, 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = rest = self._text.readline(_MAX_LINE)
        if not line:
            raise StopIteration
        while len(rest) == _MAX_LINE and not rest.endswith("\n"):
            rest = self._text.readline(_MAX_LINE)
        self.row += len(line)
        if self.row > 2 * _MAX_LINE:
            raise csv.Error(f"over {2 * _MAX_LINE:,} characters")
        return line


def _parquet(file: BinaryIO, path: str, column: str | None) -> Iterator[str | DataError]:
    with needs("parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    begun = False
    try:
        table = pq.ParquetFile(file, buffer_size=_BUFFER)  # else a whole column of a group
        schema = table.schema_arrow
        name = _column(path, schema.names, column)
        names = [name, EXACT] if name == "path" and EXACT in schema.names else [name]
        for kind in (schema.field(name).type for name in names):
            if not _is_text(pa.types, kind):
                raise DataError(f"{path}: the column {name} holds {kind}, not paths")
        for i in range(table.num_row_groups):
            rows = _rows_at_once(file, table.metadata.row_group(i), names)
            for batch in table.iter_batches(rows, [i], columns=names, use_threads=False):
                begun = True
                columns = [_as_bytes(pa, batch.column(name)).to_pylist() for name in names]
                for values in zip(*columns, strict=True):
                    yield _name(path, *(os.fsdecode(value or b"") for value in values))
    except (pa.ArrowException, OSError) as error:
        wrong = DataError(f"{path} cannot be read as Parquet ({reason(error)})")
        if not begun:
            raise wrong from error
        yield wrong


def _rows_at_once(file: BinaryIO, group: Any, names: Sequence[str]) -> int:
    """Return how many rows of a group to read at once: each may be as long as the longest page.

    A text that stands once in a file of 500 bytes may stand in a million rows. pyarrow has no
    limits, and believes a page's header, whatever the footer says: so the headers are read here.

    Raises:
        OSError: a page is larger than the limit, or there are no pages where they should be.
    """
    most = 1
    for column in (group.column(i) for i in range(group.num_columns)):
        if column.path_in_schema not in names:
            continue
        offsets = (column.dictionary_page_offset or 0, column.data_page_offset)
        at = min((offset for offset in offsets if offset > 0), default=0)
        end = at + column.total_compressed_size
        while at < end:
            file.seek(at)
            try:
                sizes, length = _thrift(file.read(_MAX_HEADER), 0)
                at += length + sizes[3]
                most = max(most, sizes[2])
            except (IndexError, KeyError, ValueError) as error:
                raise OSError("a damaged page") from error
    if most > _MAX_PAGE:
        raise OSError(
            f"a page of {most:,} bytes, more than the limit of {_MAX_PAGE:,}: write it again with "
            "pages of a megabyte"
        )
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // most))


def _thrift(data: bytes, at: int, depth: int = 3) -> tuple[dict[int, int], int]:
    """Return the whole numbers of a structure in Thrift's compact protocol, and where it ends.

    Raises:
        IndexError, ValueError: it is cut off, or not as the header of a page is.
    """

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    found: dict[int, int] = {}
    field = 0
    while head := data[at]:
        at += 1
        step, kind = head >> 4, head & 15
        if not step or not depth:  # which no header needs
            raise ValueError
        field += step
        if kind in (4, 5, 6):
            value = varint()
            if value & 1:  # below zero
                raise ValueError
            found[field] = value >> 1
        elif kind == 8:
            size = varint()  # first, as it moves on too
            at += size
        elif kind == 12:
            at = _thrift(data, at, depth - 1)[1]
        elif kind not in (1, 2):
            raise ValueError
    return found, at + 1


def _name(path: str, name: str, exact: str = "") -> str | DataError:
    """Return a row's path."""
    try:
        return path_of(name, exact)
    except ValueError as error:
        return DataError(f"{path}: {EXACT} {exact!r} is not base64 ({error})")


def _as_bytes(pa: Any, values: Any) -> Any:
    """Cast a column of text to bytes, since it may not be valid UTF-8."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.large_binary())


def _is_text(types: Any, kind: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    tests = ("is_string", "is_large_string", "is_binary", "is_large_binary", "is_string_view")
    return any(getattr(types, test)(kind) for test in tests if hasattr(types, test))


def _column(path: str, names: Sequence[str], wanted: str | None) -> str:
    if wanted is not None and wanted in names:
        return wanted
    if wanted is None:
        lowered = [name.lower() for name in names]
        for known in IMAGE_COLUMNS:
            if known in lowered:
                return names[lowered.index(known)]
    columns = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    what = f"no column {wanted!r}" if wanted is not None else "no column that names the image"
    expected = "" if wanted is not None else f"; expected one of {', '.join(IMAGE_COLUMNS)}"
    raise DataError(f"{path} has {what}: its columns are {columns}{expected}")
