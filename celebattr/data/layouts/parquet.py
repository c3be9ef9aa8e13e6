"""CelebA as Hugging Face has it: Parquet shards with the images inside.

A column `image` of structs {bytes, path}, a column of the person, and the attributes as columns of
bool or integers. Labels are read at once, images when they are wanted, a row group at a time: in
random order, as training wants them, that takes 1 ms per image from groups of 100 JPEGs, 8 ms from
groups of 1,000 PNGs, longer than decoding it takes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import CELEBA
from celebattr.constants import PEOPLE_COLUMNS, TRAIN
from celebattr.data.dataset import Source
from celebattr.data.image_stores import digest
from celebattr.data.label_files import shards_lacking, split_of, with_unknown
from celebattr.errors import (
    DataError,
    ImageNotFoundError,
    UnreadableImageError,
    needs,
    reason,
)
from celebattr.io.files import find_files, stamp

_HELD_BYTES = 1 << 27
"""Bytes of row groups that are kept: 128 MiB."""


def library() -> Any:
    """Import and return pyarrow.parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needs("parquet"):
        import pyarrow.parquet
    return pyarrow.parquet


def read(path: Path) -> Source | None:
    """Read Parquet shards of labelled images.

    Raises:
        DataError: a shard is damaged, has no images, or other columns than the first.
        MissingExtraError: pyarrow is not installed.
    """
    files = find_files(path, ".parquet") if path.is_dir() else []
    if not files:
        return None
    store = Groups(path, files)
    attributes = store.attributes
    columns, names, splits, people = [], [], [], []
    unknown = False
    for file in store.files:
        table = store.labels(file)
        columns.append(_targets(file, table, attributes))
        rows = range(len(columns[-1]))
        paths = table["image"].combine_chunks().field("path").to_pylist()
        names += [_name(file, row, paths[row]) for row in rows]
        split = split_of(file)
        unknown |= split is None
        splits.append(np.full(len(rows), TRAIN if split is None else split, np.int8))
        person = next((name for name in PEOPLE_COLUMNS if name in table.column_names), None)
        people.append(None if person is None else table[person].to_pylist())
    if len(set(names)) < len(names):  # paths that do not tell the images apart
        names = [
            _name(file, row, None)
            for file, rows_AN in zip(store.files, columns, strict=True)
            for row in range(len(rows_AN))
        ]
    store.names = {name: row for row, name in enumerate(names)}
    values_NA = np.concatenate(columns)
    unknown_NA = np.isnan(values_NA)
    if (values_NA == -1).any():  # see `label_files.label_values`
        unknown_NA |= values_NA == 0
    return Source(
        "Hugging Face Parquet",
        path,
        attributes,
        names,
        with_unknown(values_NA == 1, unknown_NA),
        np.concatenate(splits),
        store,
        _identities(people),
        ", shards named after no split count as train" if unknown else "",
        shards_lacking(files),
    )


def _name(file: Path, row: int, path: str | None) -> str:
    """Return the name of an image: its base name, else its shard and row."""
    return (path or "").replace("\\", "/").rpartition("/")[2] or f"{file.stem}:{row}"


def _targets(file: Path, table: Any, attributes: tuple[str, ...]) -> NDArray[np.float32]:
    """Return columns as they are, -1, 0 or 1; NaN where there is no value."""
    columns = []
    for name in attributes:
        values = np.array(table[name].to_pylist(), np.float32)
        if not (np.isin(values, (-1, 0, 1)) | np.isnan(values)).all():
            raise DataError(f"{file}: column {name} has other values than 0, 1 and -1")
        columns.append(values)
    return np.stack(columns, axis=1)


def _identities(people: list[list[Any] | None]) -> NDArray[np.int64] | None:
    known = [one for part in people if part is not None for one in part]
    whole = all(part is not None for part in people) and all(isinstance(k, int) for k in known)
    return np.array(known, np.int64) if whole else None


class Groups:
    """Images in Parquet files, read one row group at a time; a few groups are kept.

    Files are opened again for each group: a handle may not be shared by processes after a fork.
    """

    def __init__(self, path: Path, files: list[Path]) -> None:
        self.path = path
        self.names: dict[str, int] = {}
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._held = 0
        read = [(file, self._metadata(file)) for file in files]
        # A shard without rows need not have columns either.
        filled = [(file, about) for file, about in read if about.num_rows]
        if not filled:
            raise DataError(f"{path} has Parquet files without any row")
        self.files = [file for file, _ in filled]
        self._about = [about for _, about in filled]
        # For each row group its first row, and where it is.
        self._groups = [
            (number, group)
            for number, a in enumerate(self._about)
            for group in range(a.num_row_groups)
        ]
        counts = [self._about[n].row_group(g).num_rows for n, g in self._groups]
        self._starts = np.cumsum([0, *counts])
        self.attributes = self._attributes()

    def _metadata(self, file: Path) -> Any:
        parquet = library()
        import pyarrow

        try:
            return parquet.read_metadata(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"{file} is not a complete Parquet file: the download was cut off, or a page that "
                f"refused it was saved in its place. Download it again ({reason(error)})"
            ) from error

    def _attributes(self) -> tuple[str, ...]:
        """Return the attribute columns: CelebA's if all are there, else every bool or int."""
        import pyarrow.types as kinds

        schemas = [about.schema.to_arrow_schema() for about in self._about]
        first = schemas[0]
        for file, schema in zip(self.files, schemas, strict=True):
            if not {"bytes", "path"} <= _fields(schema):
                raise DataError(
                    f"{file} has no column `image` with bytes and path: its columns are "
                    f"{', '.join(schema.names[:6])}"
                )
            if set(schema.names) != set(first.names):
                raise DataError(f"{file} and {self.files[0]} do not have the same columns")
        if set(CELEBA) <= set(first.names):
            return tuple(name for name in first.names if name in CELEBA)
        named = tuple(
            field.name
            for field in first
            if (kinds.is_boolean(field.type) or kinds.is_integer(field.type))
            and field.name not in PEOPLE_COLUMNS
        )
        if not named:
            raise DataError(f"{self.files[0]} has no columns of attributes beside the image")
        return named

    def labels(self, file: Path) -> Any:
        """Return a shard's table without the images' bytes."""
        import pyarrow

        number = self.files.index(file)
        held = self._about[number].schema.to_arrow_schema().names
        columns = [
            *self.attributes,
            "image.path",
            *(name for name in PEOPLE_COLUMNS if name in held),
        ]
        try:
            with library().ParquetFile(file, metadata=self._about[number]) as opened:
                return opened.read(columns, use_threads=False)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{file} is damaged: {reason(error)}. Download it again") from error

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names that are not there."""
        return [name for name in names if name not in self.names]

    def content(self, names: Sequence[str]) -> str:
        """Digest the size and times of the files."""
        return digest(map(stamp, self.files))

    def read(self, name: str) -> bytes:
        """Return the bytes of an image."""
        row = self.names.get(name)
        if row is None:
            raise ImageNotFoundError(f"{self.path}: no image {name}")
        at = int(np.searchsorted(self._starts, row, "right")) - 1
        number, group = self._groups[at]
        data: bytes | None = self._group(number, group)[row - int(self._starts[at])].as_py()
        if not data:
            raise UnreadableImageError(f"{self.files[number]}, image {name}: no bytes")
        return data

    def _group(self, number: int, group: int) -> Any:
        """Return a row group's images as an Arrow array of bytes."""
        with self._lock:
            if (number, group) in self._kept:
                self._kept.move_to_end((number, group))
                return self._kept[number, group]
        array = self._load(number, group)
        with self._lock:
            if (number, group) not in self._kept:
                self._kept[number, group] = array
                self._held += array.nbytes
            while self._held > _HELD_BYTES and len(self._kept) > 1:
                self._held -= self._kept.popitem(last=False)[1].nbytes
        return array

    def _load(self, number: int, group: int) -> Any:
        import pyarrow

        file = self.files[number]
        try:
            with library().ParquetFile(file, metadata=self._about[number]) as opened:
                table = opened.read_row_group(group, columns=["image.bytes"], use_threads=False)
            return table["image"].combine_chunks().field("bytes")
        except (pyarrow.ArrowException, OSError) as error:
            raise UnreadableImageError(f"{file}, row group {group}: {reason(error)}") from error


def _fields(schema: Any) -> set[str]:
    import pyarrow.types as kinds

    if "image" not in schema.names or not kinds.is_struct(schema.field("image").type):
        return set()
    return {field.name for field in schema.field("image").type}
