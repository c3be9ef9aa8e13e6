from __future__ import annotations

import csv
import io
import json
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from celebattr.errors import DataError, UsageError
from celebattr.inference.output import parquet, writers
from celebattr.inference.output.manifest import Shard
from celebattr.inference.output.sinks import Text
from celebattr.predictions import KEYS, FaceBox, Failure, Prediction, Result, path_of

NAMES = ("Smiling", "Wearing_Hat")
FACE = Prediction(
    path="a, b.jpg",
    face=2,
    faces=2,
    box=FaceBox(1, 2, 30.25, 40, 0.98),
    probabilities={"Smiling": 0.91234567, "Wearing_Hat": 0.5},
    present=["Smiling", "Wearing_Hat"],
    unsure=["Wearing_Hat"],
)
ALIGNED = Prediction("c.jpg", 1, 1, None, {"Smiling": 0.1, "Wearing_Hat": 0.2}, [], [])
FAILED = Failure("line\nbreak.jpg", "no_face", 'no face in "line"')
UNDECODABLE = Failure("caf\udce9.jpg", "unreadable", "caf\udce9.jpg is not an image")
RESULTS = (FACE, ALIGNED, FAILED, UNDECODABLE)
TEXTS = ("jsonl", "json", "csv")


class Stream(io.TextIOWrapper):
    """A strict stream that keeps its bytes."""

    name = "stream"

    def __init__(self, encoding: str = "utf-8") -> None:
        self.raw_bytes = io.BytesIO()
        super().__init__(self.raw_bytes, encoding=encoding, errors="strict")


def write(format: str, results: Sequence[Result] = RESULTS, encoding: str = "utf-8") -> str:
    stream = Stream(encoding)
    with Text(stream, NAMES, format) as out:
        for result in results:
            out.write([result])
        out.finish(Shard())
    return stream.raw_bytes.getvalue().decode("utf-8")


def read(format: str, text: str) -> list[dict[str, object]]:
    """The rows that a reader of the format finds."""
    if format == "jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if format == "json":
        return list(json.loads(text))
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("format", TEXTS)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_format_is_utf_8_and_gives_every_path_back(format: str, encoding: str) -> None:
    rows = read(format, write(format, [*RESULTS, Failure("été.jpg", "no_face", "")], encoding))
    paths = ["a, b.jpg", "c.jpg", "line\nbreak.jpg", r"caf\xe9.jpg", "été.jpg"]
    assert [row["path"] for row in rows] == paths
    assert rows[3]["error"] == r"caf\xe9.jpg is not an image"
    (given,) = [row for row in rows if row["path_bytes"]]
    assert os.fsencode(path_of(given["path"], given["path_bytes"])) == b"caf\xe9.jpg"


@pytest.mark.parametrize("format", TEXTS)
def test_no_results_are_a_valid_file(format: str) -> None:
    assert read(format, write(format, ())) == []


def test_a_stream_on_which_nothing_came_is_valid_json() -> None:
    stream = Stream()
    with pytest.raises(DataError), Text(stream, NAMES, "json"):
        raise DataError("no images")
    assert stream.raw_bytes.getvalue() == b"[]\n"


def test_no_cell_of_csv_excel_is_a_formula() -> None:
    names = ["=cmd|'/C calc'!A0.jpg", "+1.jpg", "-1.jpg", "@SUM(1).jpg", "\t=1.jpg", "'x.jpg"]
    text = write("csv-excel", [FACE, *(Failure(name, "unreadable", name) for name in names)])
    assert text.startswith("\ufeffschema,")
    _, *rows = read("csv", text)
    assert [row["path"] for row in rows] == [f"'{name}" for name in names]


@pytest.mark.parametrize("format", ["jsonl", "json"])
def test_json_is_the_row_of_the_result(format: str) -> None:
    assert read(format, write(format)) == [result.row() for result in RESULTS]


def test_every_row_has_every_key_in_one_order_and_null_where_there_is_nothing() -> None:
    for result in RESULTS:
        assert tuple(result.row()) == KEYS
    assert FACE.row()["schema"] == 2
    nothing = {k for k, value in FAILED.row().items() if value is None}
    assert nothing == set(KEYS) - {"schema", "path", "status", "error", "faces"}
    assert (FAILED.row()["faces"], UNDECODABLE.row()["faces"]) == (0, None)


def test_a_number_that_is_none_never_gets_into_json() -> None:
    odd = Prediction("a.jpg", 1, 1, None, {"Smiling": float("nan"), "Wearing_Hat": 1.0}, [], [])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write("jsonl", [odd])


def test_csv_has_one_flat_row_a_result() -> None:
    rows = read("csv", write("csv"))
    assert list(rows[0]) == [
        *("schema", "path", "path_bytes", "status", "error", "face", "faces", "time", "track"),
        *("left", "top", "right", "bottom", "score", "Smiling", "Wearing_Hat"),
        *("present", "unsure"),
    ]
    assert rows[0]["Smiling"] == "0.9123"
    assert rows[0]["right"] == "30.2"
    assert rows[0]["present"] == "Smiling;Wearing_Hat"
    assert rows[0]["error"] == ""
    assert rows[1]["left"] == rows[1]["score"] == rows[1]["present"] == ""
    assert rows[2]["status"] == "no_face"
    assert rows[2]["error"] == 'no face in "line"'
    assert rows[2]["Smiling"] == rows[2]["face"] == ""


def parts(folder: Path, format: str) -> list[str]:
    """Two files, one of failures alone: what a reader guesses types from has none there."""
    made = []
    for name, results in (("faces", RESULTS), ("none", [FAILED])):
        path = folder / f"{name}.{format}"
        if format == "parquet":
            with path.open("wb") as file:
                parquet.write_rows(file, [result.row() for result in results], NAMES, "{}")
        else:
            path.write_text(write(format, results), "utf-8")
        made.append(str(path))
    return made


@pytest.mark.parametrize("first", [0, 1])
def test_pyarrow_reads_parts_with_and_without_faces_together(tmp_path: Path, first: int) -> None:
    pa = pytest.importorskip("pyarrow")
    for module in ("dataset", "json", "parquet"):
        pytest.importorskip(f"pyarrow.{module}")
    files = parts(tmp_path, "parquet")
    files = files[first:] + files[:first]
    assert pa.parquet.read_schema(files[0]) == pa.parquet.read_schema(files[1])
    assert pa.dataset.dataset(files).to_table().num_rows == 5
    lines = parts(tmp_path, "jsonl")
    tables = [pa.json.read_json(file) for file in lines[first:] + lines[:first]]
    assert tables[0].column_names == tables[1].column_names == list(KEYS)
    joined = pa.concat_tables(tables, promote_options="default")
    assert joined.num_rows == 5
    schema = joined.schema
    assert pa.dataset.dataset(lines, schema, format="json").to_table().num_rows == 5


@pytest.mark.parametrize("first", [0, 1])
def test_polars_reads_parts_with_and_without_faces_together(tmp_path: Path, first: int) -> None:
    pl = pytest.importorskip("polars")
    files = parts(tmp_path, "parquet")
    assert pl.scan_parquet(files[first:] + files[:first]).collect().height == 5
    frames = [pl.read_ndjson(file) for file in parts(tmp_path, "jsonl")]
    frames = frames[first:] + frames[:first]
    assert pl.concat(frames, how="vertical_relaxed").columns == list(KEYS)


@pytest.mark.parametrize("first", [0, 1])
def test_datasets_reads_parts_with_and_without_faces_together(tmp_path: Path, first: int) -> None:
    datasets = pytest.importorskip("datasets")
    options = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    files, lines = parts(tmp_path, "parquet"), parts(tmp_path, "jsonl")
    files, others = files[first:] + files[:first], lines[first:] + lines[:first]
    assert datasets.load_dataset("parquet", data_files=files, **options).num_rows == 5
    features = datasets.load_dataset("json", data_files=lines[0], **options).features
    both = datasets.load_dataset("json", data_files=others, features=features, **options)
    assert both.num_rows == 5


def test_an_attribute_named_like_a_column_is_refused_in_a_table() -> None:
    for name in ("score", "track", "path_bytes"):
        with pytest.raises(UsageError, match=rf"{name}.*jsonl"):
            Text(Stream(), (name, "Smiling"), "csv")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        *(("a.jsonl", "jsonl"), ("a.ndjson", "jsonl"), ("a.b.JSON", "json"), ("a.csv", "csv")),
        *(("a.parquet", "parquet"), ("a.PQ", "parquet")),
    ],
)
def test_the_suffix_tells_the_format(name: str, format: str) -> None:
    assert writers.format_of(name) == format
    assert writers.format_of(name, "csv") == "csv"


def test_an_unknown_suffix_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"rows\.jsnl.*Did you mean \.jsonl.*\.csv"):
        writers.format_of("rows.jsnl")
    with pytest.raises(UsageError, match=r"rows has no suffix.*\.jsonl, .*\.csv"):
        writers.format_of("rows")


def test_an_unknown_format_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean jsonl"):
        writers.format_of("rows.csv", "jsonll")


def test_what_is_written_can_be_read_while_the_output_is_open() -> None:
    stream = Stream()
    with Text(stream, NAMES, "jsonl") as out:
        out.write([FACE])
        assert json.loads(stream.raw_bytes.getvalue()) == FACE.row()
        out.finish(Shard())
    assert not stream.closed
    assert out.counts == {"inputs": 1, "ok": 1}


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    with Text(path, NAMES, "json") as out:
        out.write([FACE])
        assert not path.exists()
        out.finish(Shard())
    assert json.loads(path.read_text()) == [FACE.row()]
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("older")
    with pytest.raises(KeyboardInterrupt), Text(path, NAMES, "json") as out:
        out.write([FACE])
        raise KeyboardInterrupt
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a device of Linux")


@full
@pytest.mark.parametrize("format", TEXTS)
def test_a_full_disk_is_an_error_that_names_the_file_and_the_remedy(format: str) -> None:
    with (
        pytest.raises(DataError, match=r"/dev/full: no space left.*free some space"),
        Text(Path("/dev/full"), NAMES, format) as out,
    ):
        out.write([FACE])
    assert Path("/dev/full").is_char_device()


@full
def test_a_stream_to_a_full_disk_is_an_error() -> None:
    stream = Path("/dev/full").open("w")  # noqa: SIM115
    with pytest.raises(DataError, match="no space left"):
        Text(stream, NAMES, "jsonl").write([FACE])
    with pytest.raises(OSError, match="No space"):
        stream.close()


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a matter of Unix")
def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with (
            pytest.raises(DataError, match=r"cannot write .*rows\.json: file too large"),
            Text(path, NAMES, "json") as out,
        ):
            for _ in range(2000):
                out.write([FACE])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_stays_a_closed_pipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    with pytest.raises(BrokenPipeError):
        Text(stream, NAMES, "jsonl").write([FACE])
    with pytest.raises(BrokenPipeError):
        stream.close()
