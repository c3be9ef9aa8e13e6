"""Label files: CelebA's lists in every spelling in which they are met, and plain CSV.

An optional count line; names from the header, never by position; any run of white space, or commas;
CRLF; UTF-8, UTF-16 or Windows-1252; -1/1, 0/1, -1/0/1, true/false; partitions 0/1/2 or words.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import IMAGE_COLUMNS, TEST, TRAIN, VALIDATION
from celebattr.data.dataset import Targets
from celebattr.errors import DataError, reason
from celebattr.predictions import check_attributes

PARTITIONS: dict[str, int] = {
    "0": TRAIN,
    "1": VALIDATION,
    "2": TEST,
    "train": TRAIN,
    "training": TRAIN,
    "valid": VALIDATION,
    "val": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
}

PRESENT = ("1", "1.0", "+1", "true", "yes")
ABSENT = ("-1", "-1.0")
ZERO = ("0", "0.0", "false", "no")
UNKNOWN = ("", "nan", "na", "n/a", "null", "none")
"""Spellings of labels, in lower case."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """A label file.

    Attributes:
        path: where it was read.
        columns: names of the columns, without that of the image.
        images: the image of each row, as written.
        cells: text [N, columns].
        named: whether a header names the columns; without one they are `column 1` and so on.
        promised: the number of rows in the first line; None if it has none.
    """

    path: Path
    columns: tuple[str, ...]
    images: list[str]
    cells: NDArray[np.str_]
    named: bool = True
    promised: int | None = None

    @property
    def lacking(self) -> tuple[str, ...]:
        """A sentence about rows that the first line promises and that are not there, if any."""
        if self.promised is None or self.promised <= len(self.images):
            return ()
        return (
            f"{self.path} says {self.promised:,} rows in its first line and has "
            f"{len(self.images):,}: it was cut off, get it again; or write the true number there, "
            "if you took rows out",
        )


def read_text(path: Path) -> str:
    """Return the text of a label file.

    Raises:
        DataError: it cannot be read, or is not text, a web page for instance.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    text = _decoded(data)
    if text is None:
        raise DataError(f"{path} is not a text file")
    if text.lstrip()[:15].lower().startswith(("<!doctype", "<html")):
        raise DataError(
            f"{path} is a web page, not the list: the download was refused. Download it again"
        )
    return text


def _decoded(data: bytes) -> str | None:
    """Return a text, its lines ended by one character, or None if it is none."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252"):
        try:
            text = io.TextIOWrapper(io.BytesIO(data), encoding).read()
        except UnicodeError:
            continue
        # Nearly any bytes are cp1252; those of a picture have control characters.
        return None if encoding == "cp1252" and _CONTROL.search(text) else text
    return None


_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


def read_table(path: Path, *, header: bool = True, column: str | None = None) -> Table:
    """Read a label file; its content tells whether it is split by white space or commas.

    Args:
        path: the file.
        header: whether a list separated by white space has one; a CSV always may.
        column: the column of a CSV that names the image; if None, one of `IMAGE_COLUMNS`.

    Raises:
        DataError: it is empty, its rows do not have the columns of its header, or a column has a
            name that no attribute may have.
    """
    text = read_text(path)
    first, _, rest = text.lstrip().partition("\n")
    promised = count_in(first)
    if promised is not None:
        text = rest
        first, _, rest = text.lstrip().partition("\n")
    if not first.strip():
        raise DataError(f"{path} is empty")
    tabs = path.suffix.lower() == ".tsv" or ("," not in first and path.suffix.lower() == ".csv")
    delimiter = next((d for d in ("\t,;" if tabs else ",;") if d in first), None)
    if delimiter == ";" and rest and ";" not in rest[: rest.find("\n")]:
        delimiter = None  # it is part of a name in the header
    table = _commas(path, text, delimiter, column) if delimiter else _spaces(path, text, header)
    if not table.columns:
        raise DataError(f"{path} names images and has no columns beside them")
    if not table.images:
        raise DataError(f"{path} has a header but no rows")
    check_attributes(table.columns, str(path))
    twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if twice:
        raise DataError(f"{path} has more than one column {', '.join(twice[:5])}")
    return replace(table, promised=promised)


def count_in(line: str) -> int | None:
    """Return the number of rows in a CelebA list's first line; None if it is no number."""
    word = line.strip()
    return int(word) if word.isdecimal() and len(word) < 19 else None


def _commas(path: Path, text: str, delimiter: str, column: str | None) -> Table:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise DataError(f"{path} is not a list separated by {delimiter!r}: {error}") from error
    if not rows:
        raise DataError(f"{path} is empty")
    names = [name.strip() for name in rows[0]]
    lowered = [name.lower() for name in names]
    wanted = IMAGE_COLUMNS if column is None else (column.strip().lower(),)
    at = next((lowered.index(name) for name in wanted if name in lowered), None)
    named = at is not None
    if at is None:
        if column is None and _looks_like_image(names[0]):  # a list without a header
            names, at = [f"column {i}" for i in range(len(names))], 0
        else:
            raise DataError(
                f"{path} has no column that names the image: its columns are "
                f"{', '.join(names[:6])}; expected one of {', '.join(wanted)}. Name it by --column"
            )
    else:
        rows = rows[1:]
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise DataError(f"{path}, row {number + 1}: {len(row)} values for {len(names)} columns")
    cells = np.array(rows, dtype=np.str_).reshape(len(rows), len(names))
    images = [name.strip() for name in cells[:, at].tolist()]
    # A column without a name is the row number that pandas writes, or a comma too many.
    keep = [i for i, name in enumerate(names) if name and i != at]
    return Table(path, tuple(names[i] for i in keep), images, cells[:, keep], named)


def _spaces(path: Path, text: str, header: bool) -> Table:
    body = text.lstrip()
    first, _, rest = body.partition("\n")
    names = first.split()
    image_named = names[0].lower() in IMAGE_COLUMNS
    named = image_named or (header and not _looks_like_image(names[0]))
    if named:
        # The header may or may not name the column of the image.
        if image_named:
            names = names[1:]
        tokens = rest.split()
    else:
        names = [f"column {i}" for i in range(1, len(names))]
        tokens = body.split()
    width = len(names) + 1
    if len(tokens) % width:
        raise DataError(
            f"{path}: its {len(tokens):,} values do not fill rows of a name and {len(names)} "
            "columns; the file may be cut off"
        )
    # One array of text per column would cost a pass each; the names alone differ in length.
    images = tokens[::width]
    del tokens[::width]
    cells = np.array(tokens, dtype=np.str_).reshape(len(images), len(names))
    return Table(path, tuple(names), images, cells, named)


def _looks_like_image(word: str) -> bool:
    return word.lower().endswith((".jpg", ".jpeg", ".png", ".webp", ".bmp"))


def label_values(table: Table, columns: list[int]) -> Targets:
    """Return columns of a table as labels [N, columns], see `Targets`.

    Where any column holds -1, 0 says that a label is unknown, everywhere in the file; a blank cell
    always does.

    Raises:
        DataError: a value is neither -1, 0 or 1, nor true/false, nor blank.
    """
    cells = table.cells if columns == list(range(len(table.columns))) else table.cells[:, columns]
    present, absent, zero = cells == "1", cells == "-1", cells == "0"
    unknown = np.zeros_like(present)
    rest = ~(present | absent | zero)
    if rest.any():  # rare spellings, looked at one by one
        words = np.char.lower(np.char.strip(cells[rest]))
        present[rest] = np.isin(words, PRESENT)
        absent[rest] = np.isin(words, ABSENT)
        zero[rest] = np.isin(words, ZERO)
        unknown[rest] = np.isin(words, UNKNOWN)
        wrong = rest & ~(present | absent | zero | unknown)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(
                f"{table.path}: {table.images[row]} has {str(cells[row, column])!r} for "
                f"{table.columns[columns[column]]}; expected 0 or 1, -1 or 1, true or false, or "
                "nothing where it is unknown"
            )
    if absent.any():
        unknown |= zero
    return with_unknown(present, unknown)


def with_unknown(present: NDArray[np.bool_], unknown: NDArray[np.bool_]) -> Targets:
    """Return labels [N, A], see `Targets`."""
    if not unknown.any():
        return present.astype(np.uint8)
    return np.where(unknown, np.float32(np.nan), present.astype(np.float32))


def joined(parts: Sequence[Targets]) -> Targets:
    """Return the rows of all parts: float32 if any is."""
    return np.concatenate(parts)  # type: ignore[return-value]


def filled_with_labels(cells_N: NDArray[np.str_]) -> bool:
    """Return True if at least half of the filled cells of a column could be labels.

    A few odd ones are mistakes to be told; numbers of another kind, or text, are no attribute.
    """
    words = np.char.lower(np.char.strip(cells_N))
    filled = ~np.isin(words, UNKNOWN)
    labels = np.isin(words, (*PRESENT, *ABSENT, *ZERO))
    return bool(2 * labels.sum() >= filled.sum())


def partitions(table: Table, column: int) -> NDArray[np.int8]:
    """Return a column of splits as TRAIN, VALIDATION or TEST, int8 [N].

    Raises:
        DataError: a value is none of `PARTITIONS`.
    """
    words = np.char.lower(np.char.strip(table.cells[:, column]))
    splits = np.full(len(words), -1, np.int8)
    for word, value in PARTITIONS.items():
        splits[words == word] = value
    wrong = np.flatnonzero(splits < 0)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{table.path}: {table.images[row]} is in split "
            f"{str(table.cells[row, column])!r}; expected "
            "0, 1, 2 or train, validation, test"
        )
    return splits


_NUMBERED = re.compile(r"(.*)-(\d+)-of-(\d+)(\D*)")
_COUNTED = re.compile(r"(.*?)(\d+)(\.tar)")


def shards_lacking(files: Iterable[PurePath]) -> tuple[str, ...]:
    """Return a sentence about shards that names promise, if any is gone.

    `x-00001-of-00003` promises three. `x-000000.tar`, as WebDataset counts, promises those up to
    the last that is there; numbers without leading zeros may be years.
    """
    there: dict[tuple[PurePath, str, int, str, str], set[int]] = {}
    for file in files:
        if found := _NUMBERED.fullmatch(file.name):
            stem, number, count, end = found.groups()
            key = (file.parent, f"{stem}-", len(count), count, f"-of-{count}{end}")
        elif found := _COUNTED.fullmatch(file.name):
            stem, number, end = found.groups()
            key = (file.parent, stem, len(number), "", end)
        else:
            continue
        there.setdefault(key, set()).add(int(number))
    gone, named = 0, list[str]()
    for (folder, stem, width, count, end), numbers in there.items():
        first, after = min(numbers), max(numbers) + 1
        if count:
            first = 1 if int(count) in numbers and 0 not in numbers else 0
            after = first + int(count)
        elif first >= 10 ** (width - 1):
            continue
        gone += after - first - sum(first <= number < after for number in numbers)
        lacking = (number for number in range(first, after) if number not in numbers)
        named += [str(folder / f"{stem}{n:0{width}}{end}") for n in islice(lacking, 3)]
    if not gone:
        return ()
    shown = ", ".join(named[:3]) + (", ..." if gone > 3 else "")
    what = "1 shard is" if gone == 1 else f"{gone:,} shards are"
    return (f"{what} missing: {shown}; download again",)


_WORD = re.compile(r"[a-z]+")


def split_of(file: PurePath) -> int | None:
    """Return the split by the first word of a shard's name, else by its folder's; or None.

    Hugging Face calls the first gigabytes of a large data set `partial-train`.
    """
    for name in (file.name, file.parent.name):
        word = _WORD.match(name.lower().removeprefix("partial-"))
        if word is not None and word[0] in PARTITIONS:
            return PARTITIONS[word[0]]
    return None
