from __future__ import annotations

import csv
import io
import json
import os
import resource
import sys
from pathlib import Path

import pytest

from celebattr.errors import DataError, UsageError
from celebattr.inference.output import writers
from celebattr.predictions import FaceBox, Failure, Prediction

NAMES = ("Smiling", "Wearing_Hat")
FACE = Prediction(
    path="a, b.jpg",
    face=1,
    faces=2,
    box=FaceBox(1, 2, 30.25, 40, 0.98),
    probabilities={"Smiling": 0.91234567, "Wearing_Hat": 0.5},
    present=["Smiling", "Wearing_Hat"],
    unsure=["Wearing_Hat"],
)
ALIGNED = Prediction("c.jpg", 0, 1, None, {"Smiling": 0.1, "Wearing_Hat": 0.2}, [], [])
FAILED = Failure("line\nbreak.jpg", "no_face", 'no face in "line"')
UNDECODABLE = Failure("caf\udce9.jpg", "unreadable", "caf\udce9.jpg is not an image")
RESULTS = (FACE, ALIGNED, FAILED, UNDECODABLE)


def write(format: str, results: tuple[Prediction | Failure, ...] = RESULTS) -> str:
    stream = io.StringIO()
    with writers.open_writer(stream, NAMES, format) as writer:
        for result in results:
            writer.write(result)
    return stream.getvalue()


def read(format: str, text: str) -> list[str]:
    """The paths that a reader of the format finds."""
    if format == "jsonl":
        return [json.loads(line)["path"] for line in text.splitlines()]
    if format == "json":
        return [row["path"] for row in json.loads(text)]
    return [row["path"] for row in csv.DictReader(io.StringIO(text, newline=""))]


@pytest.mark.parametrize("format", writers.FORMATS)
def test_every_format_gives_back_every_path_in_order(format: str) -> None:
    paths = read(format, write(format))
    assert paths[:3] == ["a, b.jpg", "c.jpg", "line\nbreak.jpg"]
    assert len(paths) == 4


@pytest.mark.parametrize("format", writers.FORMATS)
def test_no_results_are_a_valid_file(format: str) -> None:
    assert read(format, write(format, ())) == []


@pytest.mark.parametrize("format", ["jsonl", "json"])
def test_json_is_the_row_of_the_result(format: str) -> None:
    text = write(format)
    rows = json.loads(text) if format == "json" else [json.loads(x) for x in text.splitlines()]
    assert rows == [result.row() for result in RESULTS]


@pytest.mark.parametrize("format", ["jsonl", "json"])
def test_json_is_ascii_and_gives_back_the_bytes_of_a_name(format: str) -> None:
    text = write(format)
    assert text.isascii()
    assert os.fsencode(read(format, text)[3]) == b"caf\xe9.jpg"


def test_csv_has_one_flat_row_a_result() -> None:
    rows = list(csv.DictReader(io.StringIO(write("csv"), newline="")))
    assert list(rows[0]) == [
        *("schema", "path", "status", "error", "face", "faces"),
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


def test_a_csv_file_is_valid_utf8_whatever_the_names(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    with writers.open_writer(out, NAMES) as writer:
        writer.write(UNDECODABLE)
        writer.write(Failure("été.jpg", "no_face", ""))
    paths = read("csv", out.read_text("utf-8"))
    assert paths == [r"caf\udce9.jpg", "été.jpg"]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_strict_stream_takes_every_name(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    with writers.open_writer(stream, NAMES, "csv") as writer:
        writer.write(UNDECODABLE)
        writer.write(Failure("été.jpg", "no_face", ""))
    text = raw.getvalue().decode(encoding)
    assert r"caf\udce9.jpg" in text
    assert (r"\xe9t\xe9.jpg" if encoding == "ascii" else "été.jpg") in text


def test_an_attribute_named_like_a_column_is_refused_in_a_table() -> None:
    with pytest.raises(UsageError, match=r"score.*jsonl"):
        writers.open_writer(io.StringIO(), ("score", "Smiling"), "csv")


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.jsonl", "jsonl"), ("a.ndjson", "jsonl"), ("a.b.JSON", "json"), ("a.csv", "csv")],
)
def test_the_suffix_tells_the_format(name: str, format: str) -> None:
    assert writers.format_of(name) == format


def test_an_unknown_suffix_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"rows\.jsnl.*Did you mean \.jsonl.*\.csv"):
        writers.format_of("rows.jsnl")
    with pytest.raises(UsageError, match=r"rows has no suffix.*\.jsonl, .*\.csv"):
        writers.format_of("rows")


def test_an_unknown_format_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean jsonl"):
        writers.open_writer(io.StringIO(), NAMES, "jsonll")


def test_what_is_flushed_can_be_read_while_the_writer_is_open() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    writer = writers.open_writer(stream, NAMES)
    writer.write(FACE)
    writer.flush()
    assert json.loads(raw.getvalue()) == FACE.row()
    writer.close()
    assert not stream.closed


def test_a_file_appears_when_the_writer_is_closed(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    with writers.open_writer(out, NAMES) as writer:
        writer.write(FACE)
        writer.flush()
        assert not out.exists()
    assert json.loads(out.read_text()) == FACE.row()
    assert list(tmp_path.iterdir()) == [out]


def test_an_exception_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    out.write_text("older")
    with pytest.raises(KeyboardInterrupt), writers.open_writer(out, NAMES) as writer:
        writer.write(FACE)
        raise KeyboardInterrupt
    assert out.read_text() == "older"
    assert list(tmp_path.iterdir()) == [out]


def test_a_second_close_does_nothing(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    with writers.open_writer(out, NAMES) as writer:
        writer.write(FACE)
        writer.close()
    assert len(json.loads(out.read_text())) == 1


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a device of Linux")


@full
@pytest.mark.parametrize("format", writers.FORMATS)
def test_a_full_disk_is_an_error_that_names_the_file_and_the_remedy(format: str) -> None:
    with (
        pytest.raises(DataError, match=r"/dev/full: no space left.*free some space"),
        writers.open_writer("/dev/full", NAMES, format) as writer,
    ):
        writer.write(FACE)
    assert Path("/dev/full").is_char_device()


@full
def test_a_stream_to_a_full_disk_is_an_error() -> None:
    stream = Path("/dev/full").open("w")  # noqa: SIM115
    writer = writers.open_writer(stream, NAMES)
    writer.write(FACE)
    with pytest.raises(DataError, match="no space left"):
        writer.flush()
    with pytest.raises(OSError, match="No space"):
        stream.close()


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a matter of Unix")
def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with (
            pytest.raises(DataError, match=r"cannot write .*rows\.jsonl: file too large"),
            writers.open_writer(out, NAMES) as writer,
        ):
            for _ in range(2000):
                writer.write(FACE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_stays_a_closed_pipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    writer = writers.open_writer(stream, NAMES)
    writer.write(FACE)
    with pytest.raises(BrokenPipeError):
        writer.flush()
    with pytest.raises(BrokenPipeError):
        stream.close()
