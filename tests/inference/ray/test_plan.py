"""A plan is the inputs, cut: read back it gives each once, in order, wherever it is read."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from celebattr.data import synthetic
from celebattr.errors import DataError
from celebattr.inference.inputs.expand import expand
from celebattr.inference.inputs.source import Input
from celebattr.inference.output import parquet
from celebattr.inference.output.manifest import Run
from celebattr.inference.ray import parts, plan
from celebattr.io.folder import folder_at
from celebattr.predictions import Failure, Prediction, Result

RUN = Run({"name": "x", "sha256": "0"}, {"faces": "largest", "attributes": ["Smiling"]}, "parquet")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Relative names, archives, a name that is not UTF-8, what is not there."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    face = synthetic.draw_face({"Smiling"}, np.random.default_rng(0))
    for number in range(7):
        face.save(folder / f"{number}.png")
    face.save(folder / os.fsdecode(b"\xff.png"))
    with zipfile.ZipFile("a.zip", "w") as archive:
        for number in range(10):
            archive.write(folder / "0.png", f"{number}.png")
    with tarfile.open("b.tar.gz", "w:gz") as tar:
        for number in range(5):
            tar.add(folder / "0.png", f"{number}.png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "list.csv").write_text("path\n../in/0.png\n\nhttp://a.b/c.png\n")
    return ["in", "a.zip", "nothing.png", "b.tar.gz", "sub/list.csv", "in/3.png"]


def seen(items: Iterable[Input]) -> list[tuple[str, object]]:
    """What each input says, opened."""
    found = []
    for item in items:
        item = item.ready()
        found.append((item.path, item.failure or item.data or Path(item.source).exists()))
    return found


@pytest.mark.parametrize("size", [1, 3, 4, 1000])
def test_pieces_hold_each_input_once_and_in_order(
    paths: list[str], tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = seen(expand(paths))
    folder = folder_at(Path("out").absolute())
    made = plan.write(folder, expand(paths, archive=plan.archive), size)
    assert made == plan.read(folder)
    assert plan.of(expand(paths, archive=plan.archive)) == (made.inputs, made.sha256)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    plan._lines.cache_clear()
    pieces = [seen(plan.piece(folder, number)[1]) for number in range(made.pieces)]
    assert [item for piece in pieces for item in piece] == expected
    tars = [piece for piece in pieces if piece[0][0].startswith("b.tar.gz")]
    assert [len(piece) for piece in tars] == [5]  # a tar is not cut
    assert max(len(piece) for piece in pieces if piece not in tars) <= size


def test_an_image_on_standard_input_is_part_of_the_plan(tmp_path: Path) -> None:
    image = io.BytesIO()
    synthetic.draw_face({"Smiling"}, np.random.default_rng(0)).save(image, "PNG")
    folder = folder_at(tmp_path / "out")
    image.seek(0)
    plan.write(folder, expand(["-"], stdin=image), 4)
    plan._lines.cache_clear()
    (item,) = plan.piece(folder, 0)[1]
    assert (item.path, item.data) == ("-", image.getvalue())


def test_a_plan_that_was_cut_off_is_none(paths: list[str]) -> None:
    folder = folder_at(Path("out").absolute())
    assert plan.read(folder) is None
    plan.write(folder, expand(paths), 4)
    folder.remove(plan.ABOUT)
    assert plan.read(folder) is None


def fake(items: Iterable[Input]) -> Iterator[tuple[Input, list[Result]]]:
    for at, item in enumerate(items):
        if at % 3 == 2:
            yield item, [Failure(item.path, "no_face", "none")]
        else:
            yield item, [Prediction(item.path, 1, 1, None, {"Smiling": 0.5}, [], [])]


def test_a_part_is_made_once_and_found_with_its_counts(paths: list[str]) -> None:
    folder = folder_at(Path("out").absolute())
    plan.write(folder, expand(paths), 8)
    first = parts.make(folder, 0, RUN, fake)
    assert first == Counter(inputs=8, ok=6, no_face=2)
    content = folder.read(parts.name(0))

    def refuse(_: object) -> Iterator[tuple[Input, list[Result]]]:
        raise AssertionError("scored again")

    assert parts.make(folder, 0, RUN, refuse) == first
    assert folder.read(parts.name(0)) == content


def test_a_worker_that_dies_leaves_nothing_in_the_name_of_a_part(paths: list[str]) -> None:
    folder = folder_at(Path("out").absolute())
    plan.write(folder, expand(paths), 8)

    def dies(items: Iterable[Input]) -> Iterator[tuple[Input, list[Result]]]:
        yield from list(fake(items))[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parts.make(folder, 0, RUN, dies)
    assert set(folder.names("")) == {"plan"}


def test_a_part_of_other_inputs_is_refused(paths: list[str]) -> None:
    folder = folder_at(Path("out").absolute())
    plan.write(folder, expand(paths), 8)
    parts.make(folder, 0, RUN, fake)
    plan.write(folder, expand(paths[1:]), 8)
    plan._lines.cache_clear()
    with pytest.raises(DataError, match="different inputs"):
        parts.make(folder, 0, RUN, fake)
    with folder.create(parts.name(0)) as file:
        parquet.write_rows(file, [], ["Smiling"], '{"piece": "x", "weights": {}, "options": {}}')
    with pytest.raises(
        DataError, match=r"part-0000000\.parquet has schema 1, .*: score the photos"
    ):
        parts.make(folder, 0, RUN, fake)
    folder.write(parts.name(0), b"PAR1")
    with pytest.raises(DataError, match="delete it"):
        parts.make(folder, 0, RUN, fake)
