"""Formats of results: one table, and per format the text of a row, and how it is read back.

Every line is valid UTF-8, whatever the names of files are (`celebattr.predictions.name_of`).

CSV cells hold names as they are: one that begins with `=`, `+`, `-` or `@` may be taken for a
formula by a spreadsheet. `csv-excel` is for those.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from celebattr.constants import LIST_SEPARATOR
from celebattr.errors import DeviceError, UsageError, suggestion
from celebattr.io.files import StrPath, csv_line
from celebattr.options import format_of_suffix
from celebattr.predictions import KEYS, Failure, Prediction, Result, check_schema

BOX = ("left", "top", "right", "bottom")
LISTS = ("present", "unsure")
_AT = KEYS.index("box")
_BEFORE = (*KEYS[:_AT], *BOX, "score")


def csv_columns(attributes: Sequence[str]) -> list[str]:
    """Return the flat columns of a result, shared by all tabular formats.

    Raises:
        UsageError: an attribute has the name of another column.
    """
    columns = [*_BEFORE, *attributes, *LISTS]
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise UsageError(
            f"{', '.join(doubled)}: an attribute with the name of another column has no place in "
            "a table. Use the format jsonl or json"
        )
    return columns


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with box and probabilities as columns of their own, if it has them."""
    columns = dict(row)
    columns.update(zip(BOX, columns.pop("box", None) or (), strict=False))
    columns.update(columns.pop("probabilities", None) or {})
    return columns


def cells(result: Result) -> dict[str, Any]:
    """Return a result as the columns of a CSV, where a list of names is one text."""
    row = flat(result.row())
    return row | {name: LIST_SEPARATOR.join(row[name]) for name in LISTS if row[name] is not None}


@dataclass(frozen=True)
class Row:
    """A row that was read back: `path` and `path_bytes` of its input, its face, and its bytes."""

    name: tuple[str, str | None]
    status: str
    face: int | None
    faces: int | None
    data: bytes

    @classmethod
    def of(cls, values: Mapping[str, Any], data: bytes, where: str) -> Self:
        """Build it from the columns of a row.

        Raises:
            DataError: it is of another schema; `where` is the file.
            ValueError, KeyError, TypeError: it is no row.
        """
        check_schema(int(values["schema"]), where)
        face, faces = (None if values[k] is None else int(values[k]) for k in ("face", "faces"))
        name = (values["path"] or "", values["path_bytes"])
        return cls(name, values["status"], face, faces, data)

    @property
    def name_bytes(self) -> bytes:
        """The name of its input, as `celebattr.predictions.name_bytes` gives it."""
        path, exact = self.name
        return base64.b64decode(exact) if exact else path.encode()


class Jsonl:
    """One JSON object per line. Another format is a subclass and a row of `FORMATS`."""

    head = tail = ""
    quoted = False
    """A quoted cell may hold line ends."""

    def __init__(self, attributes: Sequence[str]) -> None:
        pass  # every line names its attributes

    def row(self, result: Result) -> str:
        """Return one result as text."""
        return json.dumps(result.row(), allow_nan=False) + "\n"

    def columns(self, data: bytes) -> Mapping[str, Any]:
        """Return the columns of a row that was written; ValueError if it is none."""
        values: Mapping[str, Any] = json.loads(data)
        return values


class _Json(Jsonl):
    """One JSON array, an object per line; valid once it is complete."""

    _before = "[\n"

    @property
    def tail(self) -> str:  # type: ignore[override]
        return "[]\n" if self._before == "[\n" else "\n]\n"

    def row(self, result: Result) -> str:
        text = self._before + super().row(result).rstrip("\n")
        self._before = ",\n"
        return text


class _Csv(Jsonl):
    """A header and one line per result; cells without a value are empty."""

    quoted = True

    def __init__(self, attributes: Sequence[str]) -> None:
        self._columns = csv_columns(attributes)
        self.head = self._line(self._columns)

    def row(self, result: Result) -> str:
        values = cells(result)
        return self._line([values.get(name) for name in self._columns])

    def columns(self, data: bytes) -> Mapping[str, Any]:
        try:
            (line,) = csv.reader(io.StringIO(data.decode(), newline=""))
        except csv.Error as error:
            raise ValueError(str(error)) from error
        return {k: cell or None for k, cell in zip(self._columns, line, strict=True)}

    def _line(self, line: Sequence[Any]) -> str:
        return csv_line(line)


class _CsvExcel(_Csv):
    """The same for Excel: a mark of UTF-8, and an apostrophe before what may be a formula."""

    def __init__(self, attributes: Sequence[str]) -> None:
        super().__init__(attributes)
        self.head = "\ufeff" + self.head

    def columns(self, data: bytes) -> Mapping[str, Any]:
        found = super().columns(data)
        return {k: cell[1:] if cell and cell[0] == "'" else cell for k, cell in found.items()}

    def _line(self, line: Sequence[Any]) -> str:
        # Text alone: a number may be negative. The apostrophe itself, so that it can be read back.
        return super()._line(
            [f"'{c}" if isinstance(c, str) and c[:1] in _FORMULA else c for c in line]
        )


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(frozen=True)
class Format:
    """A row of the table of formats.

    Attributes:
        suffixes: those of its files.
        text: writes and reads its rows, or those it is converted from.
        grows: rows can be appended, so that a run can be resumed.
        parquet: Parquet, which can only be read once it is closed, grows as JSONL.
    """

    suffixes: tuple[str, ...]
    text: type[Jsonl]
    grows: bool = True
    parquet: bool = False


FORMATS: dict[str, Format] = {
    "jsonl": Format((".jsonl", ".ndjson"), Jsonl),
    "json": Format((".json",), _Json, grows=False),
    "csv-excel": Format((".csv",), _CsvExcel),
    "csv": Format((".csv",), _Csv),  # after it: the suffix means this one
    "parquet": Format((".parquet", ".pq"), Jsonl, parquet=True),
}
_SUFFIXES = {suffix: name for name, row in FORMATS.items() for suffix in row.suffixes}


def format_of(path: StrPath | None, format: str | None = None) -> str:
    """Return the name of a format: as given, else of a file's suffix, else jsonl.

    Raises:
        UsageError: the format is unknown; or the suffix is, or missing.
    """
    if format is None:
        return "jsonl" if path is None else format_of_suffix(path, _SUFFIXES)
    if format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}.{suggestion(format, FORMATS)} Known: {', '.join(FORMATS)}"
        )
    return format


def to_frame(results: Iterable[Any]) -> Any:
    """Make a table of results: one row per face or failure, with the columns of the CSV.

    Args:
        results: faces, failures, lists of them, or what `Model.stream` yields.

    Returns:
        A pandas or, where only that is installed, a polars DataFrame.

    Raises:
        DeviceError: neither is installed.
    """
    found = list(_flattened(results))
    names = (one.probabilities for one in found if isinstance(one, Prediction))
    columns = csv_columns([*next(names, ())])
    rows = [dict.fromkeys(columns) | cells(one) for one in found]
    try:
        import pandas

        return pandas.DataFrame(rows, columns=columns)
    except ModuleNotFoundError:
        pass
    try:
        import polars

        return polars.DataFrame(rows, infer_schema_length=None)
    except ModuleNotFoundError as error:
        raise DeviceError("a table needs pandas or polars: pip install pandas") from error


def _flattened(results: Iterable[Any]) -> Iterator[Result]:
    """Predictions and failures, however they are nested."""
    for result in results:
        if isinstance(result, Prediction | Failure):
            yield result
        elif hasattr(result, "prediction"):
            yield result.prediction
        elif not isinstance(result, str):  # the path of a pair
            yield from _flattened(result)
