"""A growing output: whatever end it meets, going on gives what one run would have given."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from celebattr.errors import DataError, UsageError
from celebattr.inference.inputs.source import Input
from celebattr.inference.output import manifest, parquet, proof
from celebattr.inference.output.journal import Growing
from celebattr.inference.output.manifest import Run, Shard, part_of
from celebattr.inference.output.writers import FORMATS
from celebattr.predictions import FaceBox, Failure, Prediction, Result, path_of

ATTRIBUTES = ("Bald", "Smiling")
NAMES = [
    "plain.jpg",
    "two\nlines.jpg",
    'quo"te".jpg',
    "com,ma.jpg",
    "carriage\rreturn.jpg\r",
    "nul\0.jpg",
    "b\udcffyte.jpg",
    r"b\xffyte.jpg",
    "",
    "été.jpg",
    "=1+1.jpg",
    "'quoted'.jpg",
    "-",
]


def results(name: str) -> list[Result]:
    if name == "-":
        return [Failure(name, "unreadable", 'not "an" image,\nsurely')]
    box = FaceBox(1.0, 2.0, 3.0, 4.0, 0.9)
    probabilities = {"Bald": 0.25, "Smiling": 0.75}
    faces = 1 + len(name) % 3
    return [
        Prediction(name, face, faces, box, probabilities, ["Smiling"], [])
        for face in range(1, faces + 1)
    ]


def opened(
    path: Path, format: str = "jsonl", attributes: Sequence[str] = ATTRIBUTES, **options: Any
) -> Growing:
    made = {"faces": "all", "attributes": list(attributes)}
    run = Run({"name": "x", "sha256": "0"}, made, format)
    return Growing(path, run, **{"how": "resume"} | options)


def begin(output: Growing, names: Iterable[str]) -> tuple[Iterator[Input], Shard]:
    """What is to be scored of the names, and the shard that counts them."""
    shard = Shard()
    return output.todo(shard.take(iter([Input(name) for name in names])), shard), shard


def run(path: Path, format: str, *, how: str = "new", stop: int | None = None) -> int:
    """Writes all names, or those before `stop`; returns how many were there already."""
    with opened(path, format, how=how) as output:
        todo, shard = begin(output, NAMES)
        done = output.counts["inputs"]
        for item in itertools.islice(todo, None if stop is None else max(0, stop - done)):
            output.write(results(item.path))
        if stop is None:
            output.finish(shard)
    return done


def places(path: Path, format: str) -> set[int]:
    """The ends of all rows with the bytes beside them, and fifty other places."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = len(file.readline()) if format.startswith("csv") else 0
        lengths = [len(row.data) for row in proof.rows(file, FORMATS[format].text(ATTRIBUTES))]
    ends = itertools.accumulate([header, *lengths], initial=0)
    near = {end + step for end in ends for step in (-1, 0, 1)} & {*range(size + 1)}
    return near | {*random.Random(0).sample(range(size), 50)}


@pytest.mark.parametrize("format", ["jsonl", "csv", "csv-excel"])
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
        part_of(path).write_bytes(expected[:cut])
        manifest.about(part_of(path)).write_bytes(manifest.about(whole).read_bytes())
        seen.add(run(path, format, how="resume"))
        assert path.read_bytes() == expected, cut
        assert not part_of(path).exists()
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
        with part_of(path).open("ab") as file:
            file.write(rubbish)
        assert run(path, format, how="resume") == 3
        assert path.read_bytes() == expected
        path.unlink()


def test_the_rows_of_a_csv_and_of_jsonl_tell_the_same(tmp_path: Path) -> None:
    found = {}
    for format in ("jsonl", "csv"):
        run(tmp_path / format, format)
        with (tmp_path / format).open("rb") as file:
            file.readline() if format == "csv" else None
            text = FORMATS[format].text(ATTRIBUTES)
            found[format] = [
                (path_of(*r.name), r.status, r.face, r.faces) for r in proof.rows(file, text)
            ]
    assert found["csv"] == found["jsonl"]
    assert list(dict.fromkeys(path for path, *_ in found["csv"])) == NAMES


def test_an_unfinished_run_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    run(path, "jsonl", stop=2)
    with pytest.raises(DataError, match=r"unfinished run: give --resume"):
        run(path, "jsonl")
    assert run(path, "jsonl", how="resume") == 2


def test_other_inputs_than_before_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    run(path, "jsonl", stop=3)
    before = part_of(path).read_bytes()
    told = r"input 2 there is two\nlines.jpg, now it is new.jpg"
    with pytest.raises(DataError, match=told), opened(path) as output:
        begin(output, [NAMES[0], "new.jpg", *NAMES[1:]])
    with pytest.raises(DataError, match=r"input 3 .* now it is no more"), opened(path) as output:
        begin(output, NAMES[:2])
    assert part_of(path).read_bytes() == before


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_a_name_that_only_reads_the_same_is_another_input(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{format}"
    bytes_, text = os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg"
    with opened(path, format, how="new") as output:
        begin(output, ())
        output.write(results(bytes_))
    with pytest.raises(DataError, match="other inputs"), opened(path, format) as output:
        begin(output, [text])
    with opened(path, format) as output:
        _, shard = begin(output, [bytes_, text])
        assert output.counts["inputs"] == 1
        output.write(results(text))
        output.finish(shard)
    if format == "parquet":
        found = [row.name for row in parquet.read(path)]
    else:
        with path.open("rb") as file:
            file.readline() if format == "csv" else None
            found = [row.name for row in proof.rows(file, FORMATS[format].text(ATTRIBUTES))]
    assert list(dict.fromkeys(path_of(*name) for name in found)) == [bytes_, text]
    assert {name[0] for name in found} == {text}


def test_other_attributes_than_before_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    run(path, "csv", stop=3)
    with pytest.raises(UsageError, match="different settings: attributes"):
        opened(path, "csv", ("Bald", "Young"))
    part = part_of(path)
    part.write_bytes(part.read_bytes().replace(b"Smiling,present", b"Grinned,present", 1))
    with pytest.raises(DataError, match="other columns"), opened(path, "csv") as output:
        begin(output, NAMES)


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_what_schema_1_left_is_refused_with_its_remedy(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{format}"
    told = r" has schema 1, this version reads schema 2: score the photos again, or use celebattr 0"
    run(path, format, stop=3)
    about = manifest.about(part_of(path))
    about.write_text(about.read_text().replace('"schema": 2', '"schema": 1'))
    with pytest.raises(DataError, match=r"x\.\w+\.part\.run\.json" + told):
        opened(path, format)
    part_of(path).unlink()
    run(path, format)
    about = manifest.about(path)
    about.write_text(about.read_text().replace('"schema": 2', '"schema": 1'))
    with pytest.raises(DataError, match=r"x\.\w+\.run\.json" + told):
        opened(path, format)
    about.write_text(about.read_text().replace('"schema": 1', '"schema": 3'))
    with pytest.raises(DataError, match=r"schema 3, .* schema 2: update celebattr"):
        manifest.read(path)


def test_rows_of_schema_1_are_refused_whatever_the_manifest_says(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    run(path, "jsonl", stop=3)
    old = {"schema": 1, "path": "plain.jpg", "status": "ok", "face": 0, "faces": 1}
    part_of(path).write_text(json.dumps(old) + "\n")
    with pytest.raises(DataError, match=r"x\.jsonl\.part has schema 1"), opened(path) as output:
        begin(output, NAMES)


def test_counts_include_the_rows_that_were_there(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    run(path, "csv", stop=4)
    told: list[str] = []
    with opened(path, "csv", notice=told.append) as output:
        todo, shard = begin(output, NAMES)
        for item in todo:
            output.write(results(item.path))
        output.finish(shard)
    assert told == [f"{path}: continuing after 4 inputs"]
    rows = [row for name in NAMES for row in results(name)]
    assert output.counts == {
        "inputs": len(NAMES),
        "ok": sum(isinstance(row, Prediction) for row in rows),
        "unreadable": 1,
    }


def test_parquet_is_read_straight_by_pandas_like_readers(tmp_path: Path) -> None:
    import pyarrow.parquet

    path = tmp_path / "x.parquet"
    run(path, "parquet")
    table = pyarrow.parquet.read_table(path)
    about = json.loads(table.schema.metadata[b"celebattr"])
    beside = json.loads(manifest.about(path).read_text())
    assert beside["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert about == beside | {"sha256": "", "began": []}  # the same whenever the rows are
    rows = table.to_pylist()
    assert len(rows) == sum(len(results(name)) for name in NAMES)
    first, last = rows[0], rows[-1]
    assert (first["path"], first["status"], first["Smiling"]) == ("plain.jpg", "ok", 0.75)
    assert (first["left"], first["present"], first["unsure"]) == (1.0, ["Smiling"], [])
    assert (last["status"], last["Smiling"], last["present"]) == ("unreadable", None, None)
    assert (last["path_bytes"], last["face"], last["track"], last["time"]) == (None,) * 4
    assert [row.name[0] for row in parquet.read(path)] == [row["path"] for row in rows]
    assert not part_of(path).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks there")
def test_two_runs_do_not_write_one_part(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    told = "being written by another run"
    with opened(path, how="new"), pytest.raises(DataError, match=told):
        opened(path)
    with opened(path):
        pass
