"""A growing output: whatever end it meets, going on gives what one run would have given."""

from __future__ import annotations

import itertools
import json
import random
import sys
from pathlib import Path

import pytest

from celebattr.errors import DataError
from celebattr.inference.output import journal, parquet
from celebattr.inference.output.journal import Journal
from celebattr.predictions import FaceBox, Failure, Prediction, Result

ATTRIBUTES = ("Bald", "Smiling")
NAMES = [
    "plain.jpg",
    "two\nlines.jpg",
    'quo"te".jpg',
    "com,ma.jpg",
    "carriage\rreturn.jpg\r",
    "nul\0.jpg",
    "b\udcffyte.jpg",
    "été.jpg",
    "-",
]


def results(name: str) -> list[Result]:
    if name == "-":
        return [Failure(name, "unreadable", 'not "an" image,\nsurely')]
    box = FaceBox(1.0, 2.0, 3.0, 4.0, 0.9)
    probabilities = {"Bald": 0.25, "Smiling": 0.75}
    faces = 1 + len(name) % 3
    return [
        Prediction(name, face, faces, box, probabilities, ["Smiling"], []) for face in range(faces)
    ]


def run(path: Path, format: str, *, resume: bool = False, stop: int | None = None) -> int:
    """Writes all names, or those before `stop`; returns how many were there already."""
    output = Journal(path, format, ATTRIBUTES, every_face=True, resume=resume)
    names = iter(NAMES)
    done = output.skip(names)
    for name in itertools.islice(names, None if stop is None else max(0, stop - done)):
        output.write(results(name))
        output.flush()
    if stop is None:
        output.finish()
    else:
        output.close()
    return done


def places(path: Path, format: str) -> set[int]:
    """The ends of all rows with the bytes beside them, and fifty other places."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = len(file.readline()) if format == "csv" else 0
        lengths = [len(row.data) for row in journal.rows(file, format)]
    ends = itertools.accumulate([header, *lengths], initial=0)
    near = {end + step for end in ends for step in (-1, 0, 1)} & {*range(size + 1)}
    return near | {*random.Random(0).sample(range(size), 50)}


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
def test_cut_off_after_any_byte_it_ends_as_if_it_had_not_been(
    format: str, every: bool, tmp_path: Path
) -> None:
    whole = tmp_path / f"whole.{format}"
    assert run(whole, format) == 0
    expected = whole.read_bytes()
    seen = set()
    for cut in range(len(expected) + 1) if every else sorted(places(whole, format)):
        path = tmp_path / f"cut.{format}"
        journal.part_of(path).write_bytes(expected[:cut])
        seen.add(run(path, format, resume=True))
        assert path.read_bytes() == expected, cut
        assert not journal.part_of(path).exists()
        path.unlink()
    assert seen == set(range(len(NAMES) + 1))


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_what_a_power_failure_leaves_behind_the_last_row_is_cut_off(
    format: str, tmp_path: Path
) -> None:
    run(tmp_path / f"whole.{format}", format)
    expected = (tmp_path / f"whole.{format}").read_bytes()
    path = tmp_path / f"torn.{format}"
    for rubbish in (
        b"\0" * 4096,
        b"\0" * 100 + b"\n" + expected,
        b"\xff\xfe\n",
        b'{"path"\n',
        b'"',
    ):
        run(path, format, stop=3)
        with journal.part_of(path).open("ab") as file:
            file.write(rubbish)
        assert run(path, format, resume=True) == 3
        assert path.read_bytes() == expected
        path.unlink()


def test_the_rows_of_a_csv_and_of_jsonl_tell_the_same(tmp_path: Path) -> None:
    found = {}
    for format in ("jsonl", "csv"):
        run(tmp_path / "x", format)
        with (tmp_path / "x").open("rb") as file:
            file.readline() if format == "csv" else None
            found[format] = [
                (r.path.encode("utf-8", "backslashreplace"), r.status, r.face, r.faces)
                for r in journal.rows(file, format)
            ]
    assert found["csv"] == found["jsonl"]


def test_an_unfinished_run_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    run(path, "jsonl", stop=2)
    with pytest.raises(DataError, match=r"unfinished run: give --resume"):
        run(path, "jsonl")
    assert run(path, "jsonl", resume=True) == 2


def test_other_inputs_than_before_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    run(path, "jsonl", stop=3)
    before = journal.part_of(path).read_bytes()
    output = Journal(path, "jsonl", ATTRIBUTES, every_face=True, resume=True)
    with pytest.raises(DataError, match=r"input 2 there is two\nlines.jpg, now it is new.jpg"):
        output.skip(iter([NAMES[0], "new.jpg", *NAMES[1:]]))
    output.close()
    output = Journal(path, "jsonl", ATTRIBUTES, every_face=True, resume=True)
    with pytest.raises(DataError, match=r"input 3 .* now it is no more"):
        output.skip(iter(NAMES[:2]))
    output.close()
    assert journal.part_of(path).read_bytes() == before


def test_other_attributes_than_before_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    run(path, "csv", stop=3)
    output = Journal(path, "csv", ("Bald", "Young"), every_face=True, resume=True)
    with pytest.raises(DataError, match="other columns"):
        output.skip(iter(NAMES))
    output.close()


def test_counts_include_the_rows_that_were_there(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    run(path, "csv", stop=4)
    output = Journal(path, "csv", ATTRIBUTES, every_face=True, resume=True)
    names = iter(NAMES)
    output.skip(names)
    for name in names:
        output.write(results(name))
    output.finish()
    rows = [row for name in NAMES for row in results(name)]
    assert output.counts == {
        "inputs": len(NAMES),
        "ok": sum(isinstance(row, Prediction) for row in rows),
        "unreadable": 1,
    }


def test_parquet_is_read_straight_by_pandas_like_readers(tmp_path: Path) -> None:
    import pyarrow.parquet

    path = tmp_path / "x.parquet"
    output = Journal(path, "parquet", ATTRIBUTES, every_face=True, resume=False)
    output.skip(iter(()))
    for name in NAMES:
        output.write(results(name))
    output.finish(lambda rows: parquet.write(path, rows, ATTRIBUTES, '{"made": "here"}'))
    table = pyarrow.parquet.read_table(path)
    assert json.loads(table.schema.metadata[b"celebattr"]) == {"made": "here"}
    rows = table.to_pylist()
    assert len(rows) == sum(len(results(name)) for name in NAMES)
    first, last = rows[0], rows[-1]
    assert (first["path"], first["status"], first["Smiling"]) == ("plain.jpg", "ok", 0.75)
    assert (first["left"], first["present"], first["unsure"]) == (1.0, ["Smiling"], [])
    assert (last["status"], last["Smiling"], last["present"]) == ("unreadable", None, None)
    assert [row.path for row in parquet.read(path)] == [row["path"] for row in rows]
    assert not journal.part_of(path).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks there")
def test_two_runs_do_not_write_one_part(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    first = Journal(path, "jsonl", ATTRIBUTES, every_face=True, resume=False)
    with pytest.raises(DataError, match="being written by another run"):
        Journal(path, "jsonl", ATTRIBUTES, every_face=True, resume=True)
    first.close()
    Journal(path, "jsonl", ATTRIBUTES, every_face=True, resume=True).close()
