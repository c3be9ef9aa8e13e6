"""More parts than may be open at once join into what one run would have written."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path

import pytest

from celebattr.errors import DataError
from celebattr.inference.output import manifest
from celebattr.inference.output import merge as module
from celebattr.inference.output.journal import Growing
from celebattr.inference.output.manifest import Run, Shard
from celebattr.inference.output.merge import merge
from celebattr.predictions import Failure, Prediction, Result

NAMES = ("Eyeglasses", "Smiling")


def results(number: int, every_face: bool) -> list[Result]:
    """An input's: one face, several, or none."""
    path = f'photo "{number}",\n.jpg'
    if number % 5 == 4:
        return [Failure(path, "no_face", "none")]
    faces = 1 + number % 3 if every_face else 1
    values = {name: round(number % 97 / 97, 4) for name in NAMES}
    return [Prediction(path, face, faces, None, values, [], []) for face in range(1, faces + 1)]


def write(path: Path, format: str, numbers: range, shard: tuple[int, int], faces: str) -> None:
    options = {"faces": faces, "attributes": list(NAMES)}
    run = Run({"name": "x", "sha256": "0"}, options, format, shard)
    with Growing(path, run, resume=False) as output:
        output.skip(iter(()))
        for number in numbers:
            output.write(results(number, faces == "all"))
        output.finish(Shard())


@pytest.mark.parametrize("format", ["jsonl", "csv", "csv-excel", "parquet"])
@pytest.mark.parametrize(("inputs", "count"), [(100, 28), (100, 27), (13, 10), (5, 10), (64, 10)])
def test_bundles_give_the_order_back(
    format: str, inputs: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(module, "OPEN_FILES", 3)
    monkeypatch.setattr(module, "OPEN_PARQUET", 3)
    end = format.removesuffix("-excel")
    write(tmp_path / f"whole.{end}", format, range(inputs), (1, 1), "all")
    parts = tmp_path / "parts"
    parts.mkdir()
    for index in range(count):
        shard = (index + 1, count)
        write(parts / f"{index}.{end}", format, range(index, inputs, count), shard, "all")
        # What a shard says is of all inputs, whichever of them are its own.
        file = manifest.about(parts / f"{index}.{end}")
        said = dataclasses.replace(manifest.read(parts / f"{index}.{end}"), inputs=inputs)
        file.write_text(said.to_json())
    joined = parts / f"joined.{end}"
    for _ in range(2):  # the second time it lies in the folder itself
        whole = merge([parts], joined)
        assert whole.counts["inputs"] == inputs
        if format == "parquet":
            pq = pytest.importorskip("pyarrow.parquet")
            assert pq.read_table(joined).equals(pq.read_table(tmp_path / "whole.parquet"))
        else:
            assert joined.read_bytes() == (tmp_path / f"whole.{end}").read_bytes()
    assert not list(parts.glob(f".{joined.name}*"))
    data = parts / f"0.{end}"
    if format == "jsonl" and inputs > count:
        data.write_bytes(b"".join(data.read_bytes().splitlines(keepends=True)[:1]))
        with pytest.raises(DataError, match="fewer rows"):
            merge([parts], joined)
    about = manifest.about(parts / f"0.{end}")
    about.write_text(about.read_text().replace('"schema": 2', '"schema": 1'))
    with pytest.raises(DataError, match=rf"0\.{end}\.run\.json has schema 1, .*again, or use"):
        merge([parts], joined)
    about.unlink()
    with pytest.raises(DataError, match=f"1 of {count} shards are missing: 1/{count}"):
        merge([parts], joined)


def test_memory_does_not_grow_with_the_parts(tmp_path: Path) -> None:
    peaks = []
    for count in (250, 1000):
        parts = tmp_path / str(count)
        parts.mkdir()
        for index in range(count):
            shard = (index + 1, count)
            write(parts / f"{index}.jsonl", "jsonl", range(index, index + 1), shard, "largest")
            said = dataclasses.replace(manifest.read(parts / f"{index}.jsonl"), inputs=count)
            manifest.about(parts / f"{index}.jsonl").write_text(said.to_json())
        tracemalloc.start()
        merge([parts], tmp_path / f"{count}.jsonl")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 750 * 2_000, peaks  # of a part there is its name, and no more
