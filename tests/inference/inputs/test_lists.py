from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from celebattr.errors import DataError, MissingExtraError
from celebattr.inference.inputs.lists import paths_in
from celebattr.inference.output import parquet
from celebattr.inference.output.manifest import Shard
from celebattr.inference.output.sinks import Text
from celebattr.predictions import Failure


def listed(path: Path, text: str | bytes, column: str | None = None) -> list[str | DataError]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(paths_in(str(path), column))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter(file: Path, delimiter: str) -> None:
    rows = [["id", "photo"], ["1", "a b.jpg"], ["2", "c.jpg"]]
    text = "\n".join(delimiter.join(row) for row in rows)
    assert listed(file, text, "photo") == ["a b.jpg", "c.jpg"]


def test_one_column_alone_is_a_list(file: Path) -> None:
    assert listed(file, "path\na.jpg\n\nb.jpg\n") == ["a.jpg", "b.jpg"]


def test_without_a_name_the_column_of_the_image_is_found_in_any_case(file: Path) -> None:
    assert listed(file, "Note,FileName\nx,a.jpg\n") == ["a.jpg"]
    assert listed(file, "path,Image_ID\nb.jpg,a.jpg\n") == ["a.jpg"]  # image_id comes first


def test_names_are_kept_as_they_are_written(file: Path) -> None:
    text = b'\xef\xbb\xbfpath,n\r\n"a, ""b""\nc.jpg",1\r\n -x.jpg,2\r\n\xff.jpg,3\r\n'
    assert listed(file, text) == ['a, "b"\nc.jpg', " -x.jpg", os.fsdecode(b"\xff.jpg")]


def test_an_output_of_predict_names_its_files_to_the_byte(file: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg", "a.jpg"]
    rows = [Failure(name, "not_found", "gone").row() for name in names]
    table = file.with_name("rows.csv")
    with Text(table, (), "csv") as out:
        for name in names:
            out.write([Failure(name, "not_found", "gone")])
        out.finish(Shard())
    assert list(paths_in(str(table), None)) == names
    assert listed(file, "path,path_bytes\na.jpg,Y2Fm6S5qcGc=\nb.jpg,\nc.jpg\n")[1:] == [
        "b.jpg",
        "c.jpg",
    ]
    (odd,) = listed(file, "path,path_bytes\na.jpg,x\n")
    assert isinstance(odd, DataError)
    pytest.importorskip("pyarrow")
    with file.with_name("rows.parquet").open("wb") as written:
        parquet.write_rows(written, rows, (), "{}")
    assert list(paths_in(str(file.with_name("rows.parquet")), "path")) == names


def test_cells_that_are_empty_or_missing_are_empty(file: Path) -> None:
    assert listed(file, 'n,path\n1,a.jpg\n2,\n3\n4,""\n5,b.jpg\n') == ["a.jpg", "", "", "", "b.jpg"]


@pytest.mark.parametrize("column", [None, "picture"])
def test_a_missing_column_is_an_error_that_names_the_file_and_those_it_has(
    file: Path, column: str | None
) -> None:
    with pytest.raises(DataError) as error:
        listed(file, "photo,age\na.jpg,3\n", column)
    assert "list.csv has no column" in str(error.value)
    assert "photo, age" in str(error.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        ("path\na.jpg\n".encode("utf-16"), "not UTF-8 text"),
        (b"path," + b"x" * (1 << 21), "a line of over"),
    ],
)
def test_what_is_no_csv_is_an_error_that_says_why(file: Path, data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=rf"list\.csv.*{reason}"):
        listed(file, data, "path")


def test_a_row_that_cannot_be_read_says_so_and_the_rest_is_read(file: Path) -> None:
    for bad in (b"x" * 200_000 + b"\n", b'"' + b"x\n" * 65_537, b"x" * (3 << 20) + b"\n"):
        first, second, third, *more = listed(file, b"path\na.jpg\n" + bad + b"b.jpg\n")
        assert (first, third, more) == ("a.jpg", "b.jpg", [])
        assert isinstance(second, DataError)
        assert "list.csv: row 2 is not CSV" in str(second)
    one, two = listed(file, b"path,n\na.jpg," + b"n," * (3 << 20) + b"\nb.jpg,1\n")
    assert (one, two) == ("a.jpg", "b.jpg")


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none\.csv: no such file"):
        list(paths_in(str(tmp_path / "none.csv"), None))


def test_a_list_is_read_as_a_stream() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            text = (b"path\n" + b"a.jpg\n" * len(buffer))[: len(buffer)]
            buffer[:] = text
            return len(text)

    stream = io.BufferedReader(Endless())
    paths = paths_in("-", None, stdin=stream)
    assert [next(paths) for _ in range(3)] == ["a.jpg"] * 3
    paths.close()  # type: ignore[attr-defined]
    assert not stream.closed


def test_a_row_of_endless_lines_is_no_row(file: Path) -> None:
    endless = '"\n",' * 800_000  # each a cell, of one row
    file.write_text(f'image\n{endless}"\nb.jpg\n')
    found = list(paths_in(str(file), None))
    wrong = [str(name) for name in found if isinstance(name, DataError)]
    assert wrong[0] == f"{file}: row 1 is not CSV (over 2,097,152 characters)"


def test_a_parquet_file_needs_its_package(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"celebattr\[parquet\]"):
        listed(file, b"PAR1")


class TestParquet:
    @pytest.fixture(autouse=True)
    def _arrow(self) -> None:
        self.pa = pytest.importorskip("pyarrow")
        self.pq = pytest.importorskip("pyarrow.parquet")

    def write(self, path: Path, /, **columns: Any) -> str:
        self.pq.write_table(self.pa.table(columns), path, row_group_size=5000)
        return str(path)

    def test_a_column_is_read_in_order_over_all_row_groups(self, tmp_path: Path) -> None:
        names = [f"{n}.jpg" for n in range(20_000)]
        path = self.write(tmp_path / "list.parquet", other=range(20_000), Path=names)
        assert list(paths_in(path, None)) == names

    def test_it_is_known_by_its_content_too(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "list.dat", photo=["a.jpg"])
        assert list(paths_in(path, "photo")) == ["a.jpg"]

    def test_texts_bytes_and_dictionaries_are_paths_and_null_is_empty(self, tmp_path: Path) -> None:
        pa = self.pa
        for column, wanted in (
            (pa.array(["a.jpg", None]), ["a.jpg", ""]),
            (pa.array([b"\xff.jpg", None]), [os.fsdecode(b"\xff.jpg"), ""]),
            (pa.array(["a.jpg", "a.jpg"]).dictionary_encode(), ["a.jpg", "a.jpg"]),
            (pa.array(["a.jpg"], pa.large_string()), ["a.jpg"]),
        ):
            path = self.write(tmp_path / "list.parquet", path=column)
            assert list(paths_in(path, None)) == wanted

    def test_text_that_is_no_utf8_is_a_path_all_the_same(self, tmp_path: Path) -> None:
        pa = self.pa
        values = pa.array([b"a.jpg", b"\xff\xfe.jpg", None, b"\xed\xa0\x80.jpg"])
        for kind in (pa.string(), pa.large_string()):
            text = pa.Array.from_buffers(
                kind,
                4,
                values.cast(pa.binary() if kind == pa.string() else pa.large_binary()).buffers(),
            )
            path = self.write(tmp_path / "list.parquet", path=text)
            assert list(paths_in(path, None)) == [
                *("a.jpg", os.fsdecode(b"\xff\xfe.jpg"), ""),
                os.fsdecode(b"\xed\xa0\x80.jpg"),
            ]

    @pytest.mark.parametrize("told", ["the truth", "a lie"])
    def test_a_page_that_would_take_all_memory_is_refused(self, told: str, tmp_path: Path) -> None:
        size = 80 << 20
        table = self.pa.table({"path": self.pa.array([b"x" * size])})
        path = tmp_path / "list.parquet"
        plain = {"write_statistics": False, "use_dictionary": False, "store_schema": False}
        self.pq.write_table(table, path, compression="zstd", **plain)
        data = path.read_bytes()
        assert len(data) < 10_000
        if told == "a lie":  # in the footer, of 5 kB
            whole = self.pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size
            footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
            changed = data[footer:].replace(thrift(whole), thrift(5000, len(thrift(whole))))
            path.write_bytes(data[:footer] + changed)
            column = self.pq.read_metadata(path).row_group(0).column(0)
            assert column.total_uncompressed_size == 5000
        with pytest.raises(
            DataError, match=r"list\.parquet .*a page of 83,886,\d+ bytes, more than"
        ):
            next(paths_in(str(path), None))

    def test_one_long_name_in_many_rows_takes_the_memory_of_few(self, tmp_path: Path) -> None:
        once = self.pa.DictionaryArray.from_arrays([0] * 500, ["x" * (1 << 20)])
        path = tmp_path / "list.parquet"
        self.pq.write_table(
            self.pa.table({"path": once}), path, compression="zstd", store_schema=False
        )
        assert path.stat().st_size < 5000
        usual = self.pa.default_memory_pool()
        pool = self.pa.proxy_memory_pool(usual)  # counts from here on
        self.pa.set_memory_pool(pool)
        try:
            assert sum(len(name) for name in paths_in(str(path), None)) == 500 << 20
        finally:
            self.pa.set_memory_pool(usual)
        assert 0 < pool.max_memory() < 100 << 20

    def test_what_is_damaged_after_rows_costs_those_behind_it(self, tmp_path: Path) -> None:
        names = [f"{n:08}.jpg" for n in range(20_000)]
        path = Path(self.write(tmp_path / "list.parquet", path=names))
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 999] = bytes(999)
        path.write_bytes(data)
        *rows, error = paths_in(str(path), None)
        assert rows == names[: len(rows)]
        assert len(rows) >= 5000
        assert isinstance(error, DataError)
        assert "list.parquet cannot be read as Parquet" in str(error)

    def test_a_column_of_something_else_is_an_error(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "list.parquet", image=[{"bytes": b"x"}], n=[1])
        with pytest.raises(DataError, match=r"column image holds struct"):
            list(paths_in(path, None))
        with pytest.raises(DataError, match=r"no column 'x': its columns are image, n"):
            list(paths_in(path, "x"))

    def test_a_damaged_file_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        path = Path(self.write(tmp_path / "list.parquet", path=["a.jpg"] * 100))
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match=r"list\.parquet"):
            list(paths_in(str(path), None))


def thrift(value: int, length: int = 0) -> bytes:
    """A positive number as Thrift's compact protocol has it, in so many bytes."""
    value *= 2
    parts = [value >> shift & 127 for shift in range(0, max(7 * length, value.bit_length()), 7)]
    return bytes([part | 128 for part in parts[:-1]] + parts[-1:])
