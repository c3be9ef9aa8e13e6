"""More parts than may be open at once join into what one run would have written."""

from __future__ import annotations

import dataclasses
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from celebattr.errors import DataError
from celebattr.inference.inputs.source import Input
from celebattr.inference.output import manifest
from celebattr.inference.output import merge as module
from celebattr.inference.output.journal import Growing
from celebattr.inference.output.manifest import Run, Shard
from celebattr.inference.output.merge import merge
from celebattr.predictions import Failure, Prediction, Result

NAMES = ("Eyeglasses", "Smiling")


def results(item: Input, every_face: bool) -> list[Result]:
    """An input's: one face, several, or none."""
    number = int(item.path.split('"')[1])
    if number % 5 == 4:
        return [Failure(item.path, "no_face", "none")]
    faces = 1 + number % 3 if every_face else 1
    values = {name: round(number % 97 / 97, 4) for name in NAMES}
    return [Prediction(item.path, n, faces, None, values, [], []) for n in range(1, faces + 1)]


def write(
    path: Path, format: str, inputs: int, faces: str = "all", shard: tuple[int, int] = (1, 1)
) -> None:
    """A shard of so many inputs."""
    options = {"faces": faces, "attributes": list(NAMES)}
    mine = Shard(*shard)
    every = (Input(f'photo "{number}",\n.jpg') for number in range(inputs))
    with Growing(path, Run({"name": "x", "sha256": "0"}, options, format, shard)) as output:
        for item in output.todo(mine.take(every), mine):
            output.write(results(item, faces == "all"))
        output.finish(mine)


def shards(folder: Path, format: str, inputs: int, count: int, faces: str = "all") -> list[Path]:
    folder.mkdir()
    end = format.removesuffix("-excel")
    parts = [folder / f"{index}.{end}" for index in range(1, count + 1)]
    for index, part in enumerate(parts, 1):
        write(part, format, inputs, faces, (index, count))
    return parts


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
    write(tmp_path / f"whole.{end}", format, inputs)
    folder = tmp_path / "parts"
    parts = shards(folder, format, inputs, count)
    joined = folder / f"joined.{end}"
    for _ in range(2):  # the second time it lies in the folder itself
        whole = merge([folder], joined, overwrite=True)
        assert whole.counts["inputs"] == inputs
        assert joined.read_bytes() == (tmp_path / f"whole.{end}").read_bytes()
    assert not list(folder.glob(f".{joined.name}*"))
    about = manifest.about(parts[0])
    about.write_text(about.read_text().replace('"schema": 2', '"schema": 1'))
    with pytest.raises(DataError, match=rf"1\.{end}\.run\.json has schema 1, .*again, or use"):
        merge([folder], joined, overwrite=True)
    about.unlink()
    with pytest.raises(DataError, match=f"1 of {count} shards are missing: 1/{count}"):
        merge([folder], joined, overwrite=True)


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[list[Path]], None]:
    """A tampering with the lines of the second of three parts."""

    def tamper(parts: list[Path]) -> None:
        found = parts[1].read_bytes().splitlines(keepends=True)
        parts[1].write_bytes(b"".join(change(found)))

    return tamper


def copied(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[0].read_bytes())


TAMPERED: dict[str, tuple[Callable[[list[Path]], None], str]] = {
    "the rows of another part": (copied, "its rows are of other inputs (the first is photo"),
    "cut off": (lines(lambda rows: rows[:-1]), "it holds whole rows of 9 inputs, 10 were written"),
    "cut within a row": (
        lines(lambda rows: [*rows[:-1], rows[-1][:50]]),
        "it holds whole rows of 9 inputs, 10 were written",
    ),
    "an extra row": (
        lines(lambda rows: [*rows, rows[-1]]),
        "it holds whole rows of 11 inputs, 10 were written",
    ),
    "a changed probability": (
        lines(lambda rows: [rows[0].replace(b'"Smiling": 0.0', b'"Smiling": 0.9'), *rows[1:]]),
        "the inputs are the same, what the rows say is not",
    ),
    "no probabilities": (
        lines(lambda rows: [re.sub(rb'"probabilities": {[^}]*}', b"null", rows[0]), *rows[1:]]),
        "whole rows of 0 inputs",
    ),
    "another status": (
        lines(lambda rows: [row.replace(b'"no_face"', b'"timeout"') for row in rows]),
        "rows are no_face",
    ),
    "another name": (
        lines(lambda rows: [rows[0].replace(b"photo", b"p"), *rows[1:]]),
        "(the first",
    ),
    "rubbish after it": (lines(lambda rows: [*rows, b"\0" * 99]), "what the rows say is not"),
    "empty": (lines(lambda rows: []), "whole rows of 0 inputs, 10 were written"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_part_that_was_changed_is_refused_with_what_differs(what: str, tmp_path: Path) -> None:
    parts = shards(tmp_path / "parts", "jsonl", 30, 3, faces="largest")
    tamper, said = TAMPERED[what]
    tamper(parts)
    told = rf"parts/2\.jsonl was changed since it was finished: .*{re.escape(said)}"
    with pytest.raises(DataError, match=told):
        merge(parts, tmp_path / "all.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def test_a_parquet_part_that_was_changed_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    parts = shards(tmp_path / "parts", "parquet", 30, 3)
    for data, said in (
        (parts[0].read_bytes(), "its rows are of other inputs"),
        (parts[1].read_bytes()[:2000], "its rows cannot be read"),
    ):
        parts[1].write_bytes(data)
        with pytest.raises(DataError, match=rf"2\.parquet was changed .*: {said}"):
            merge(parts, tmp_path / "all.parquet")


def test_parts_whose_manifests_agree_and_whose_inputs_do_not_are_refused(tmp_path: Path) -> None:
    parts = shards(tmp_path / "parts", "jsonl", 30, 3)
    said = dataclasses.replace(manifest.read(parts[0]), shard=(2, 3))
    parts[1].write_bytes(parts[0].read_bytes())
    manifest.write(parts[1], said)
    with pytest.raises(DataError, match="rows of 30 inputs, which are not the 30 that all shards"):
        merge(parts, tmp_path / "all.jsonl")
    assert not (tmp_path / "all.jsonl").exists()


def test_other_versions_are_told_and_kept(tmp_path: Path) -> None:
    parts = shards(tmp_path / "parts", "jsonl", 9, 3)
    for part, version in zip(parts, ("4.10.0", "5.0.0", "5.0.0"), strict=True):
        versions = {"celebattr": ["0.2.0"], "opencv": [version]}
        manifest.write(part, dataclasses.replace(manifest.read(part), versions=versions))
    told: list[str] = []
    merge(parts, tmp_path / "all.jsonl", notice=told.append)
    assert len(told) == 2
    assert "opencv 4.10.0 and 5.0.0" in told[0]
    found = manifest.read(tmp_path / "all.jsonl")
    assert found.versions == {"celebattr": ["0.2.0"], "opencv": ["4.10.0", "5.0.0"]}


@pytest.mark.long
def test_memory_does_not_grow_with_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda file: None)  # most of the time of small files
    peaks = []
    for count in (220, 600):
        shards(tmp_path / str(count), "jsonl", count, count, "largest")
        tracemalloc.start()
        merge([tmp_path / str(count)], tmp_path / f"{count}.jsonl")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 380 * 2_000, peaks  # of a part there is its name, and no more
