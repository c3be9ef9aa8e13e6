"""The scoring worker: rows for paths, URLs and bytes; its processes outlive a call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celebattr.config import PredictConfig
from celebattr.data import drawn
from celebattr.data.inputs import Input
from celebattr.inference.scorer import Scorer


@pytest.fixture(scope="module")
def scorer(tiny_onnx: Path) -> Scorer:
    with Scorer(PredictConfig(weights=str(tiny_onnx), faces="none"), cores=1) as worker:
        yield worker


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    drawn.draw_face({"Smiling"}, np.random.default_rng(0)).save(path)
    return path


def test_each_photo_gives_its_rows_in_order(scorer: Scorer, photo: Path) -> None:
    photos = [str(photo), photo.read_bytes(), "missing.jpg", b"no image", "https://a.b/c.jpg"]
    found = list(scorer.rows(photos))
    assert [[row["status"] for row in rows] for rows in found] == [
        ["ok"],
        ["ok"],
        ["not_found"],
        ["unreadable"],
        ["not_found"],
    ]
    assert found[0][0]["path"] == str(photo)
    assert found[0][0]["probabilities"] == found[1][0]["probabilities"]


def test_batch_after_batch_is_opened_by_the_same_processes(scorer: Scorer, photo: Path) -> None:
    list(scorer.rows([str(photo)]))
    before = {worker._process.pid for worker in scorer._prepare._all}
    for _ in range(5):
        list(scorer.rows([str(photo)] * 3))
    assert {worker._process.pid for worker in scorer._prepare._all} == before
    assert len(before) == 1


def test_what_is_fetched_is_fetched_ahead_and_in_order(scorer: Scorer, photo: Path) -> None:
    data = photo.read_bytes()
    items = [Input(f"{n}", read=lambda n=n: Input(f"{n}", data=data)) for n in range(40)]
    assert [item.path for item, _ in scorer.stream(items)] == [str(n) for n in range(40)]
