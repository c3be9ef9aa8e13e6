from __future__ import annotations

import io
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from celebattr.attributes import CELEBA
from celebattr.data import synthetic
from celebattr.errors import UsageError
from celebattr.inference import scorer
from celebattr.inference.config import PredictConfig
from celebattr.inference.faces import Prepared, Preparer
from celebattr.inference.inputs.source import Input
from celebattr.inference.predictor import Predictor
from celebattr.inference.scorer import together
from celebattr.predictions import Failure, Prediction, Result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Aligned drawn faces, and among them what cannot be read."""
    place = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(12):
        synthetic.draw_face({"Smiling"}, rng).save(place / f"{number:02}.png")
    (place / "03.png").write_bytes(b"no image")
    (place / "07.png").unlink()
    return place


@pytest.fixture(scope="module")
def inputs(folder: Path) -> list[Input]:
    return [Input(str(folder / f"{number:02}.png")) for number in range(12)]


@pytest.fixture(scope="module")
def predictor(tiny_onnx: Path) -> Predictor:
    return Predictor(PredictConfig(weights=str(tiny_onnx)))


def rows(
    inputs: Iterable[Input],
    predictor: Predictor,
    *,
    prepare: Preparer | None = None,
    batch_size: int = 1,
    workers: int = 1,
) -> list[Result]:
    prepare = prepare or Preparer(predictor.config.faces)
    opened = prepare
    scored = together(
        inputs, lambda some: [*map(opened, some)], predictor, batch_size=batch_size, workers=workers
    )
    return [result for _, results in scored for result in results]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (3, 2), (5, 4), (64, 3)])
def test_each_input_gives_its_row_in_order_for_any_batches_and_workers(
    predictor: Predictor, inputs: list[Input], batch_size: int, workers: int
) -> None:
    found = rows(inputs, predictor, batch_size=batch_size, workers=workers)
    assert [r.path for r in found] == [i.path for i in inputs]
    assert [r.row()["status"] for r in found if isinstance(r, Failure)] == [
        "unreadable",
        "not_found",
    ]
    alone = rows([inputs[5]], predictor)[0]
    assert isinstance(alone, Prediction)
    batched = found[5]
    assert isinstance(batched, Prediction)
    assert alone.probabilities == pytest.approx(batched.probabilities, abs=1e-4)


def test_an_aligned_image_has_no_box_and_needs_no_detector(
    predictor: Predictor, inputs: list[Input]
) -> None:
    preparer = Preparer("largest")
    found = rows(inputs[:1], predictor, prepare=preparer, batch_size=4)[0]
    assert isinstance(found, Prediction)
    assert (found.box, found.face, found.faces) == (None, 1, 1)
    assert list(found.probabilities) == list(predictor.backend.card.attributes)
    assert found.present == [a for a, p in found.probabilities.items() if p >= 0.5]
    assert preparer._detector is None


def test_no_inputs_give_no_rows(predictor: Predictor) -> None:
    assert rows([], predictor, batch_size=4, workers=2) == []


def test_a_photo_without_a_face_is_a_failure_unless_faces_are_none(tiny_onnx: Path) -> None:
    data = io.BytesIO()
    Image.new("RGB", (320, 240), "navy").save(data, "PNG")
    item = Input("blue.png", data=data.getvalue())
    config = PredictConfig(weights=str(tiny_onnx))
    failure = rows([item], Predictor(config))[0]
    assert isinstance(failure, Failure)
    assert failure.status == "no_face"
    forced = Predictor(PredictConfig(weights=str(tiny_onnx), faces="none"))
    assert isinstance(rows([item], forced)[0], Prediction)


def test_attributes_and_threshold_can_be_chosen(tiny_onnx: Path, inputs: list[Input]) -> None:
    config = PredictConfig(weights=str(tiny_onnx), attributes="smiling, Bald", threshold=0.0)
    found = rows(inputs[:1], Predictor(config))[0]
    assert isinstance(found, Prediction)
    assert list(found.probabilities) == ["Smiling", "Bald"]
    assert found.present == ["Smiling", "Bald"]


def test_thresholds_of_some_attributes_leave_the_others(
    tiny_onnx: Path, inputs: list[Input]
) -> None:
    def present(threshold: str | None) -> set[str]:
        config = PredictConfig(weights=str(tiny_onnx), threshold=threshold)
        found = rows(inputs[:1], Predictor(config))[0]
        assert isinstance(found, Prediction)
        return set(found.present)

    plain = present(None)
    yes = next(name for name in CELEBA if name in plain)
    no = next(name for name in CELEBA if name not in plain)
    assert present(f"{yes}=1,{no.replace('_', ' ').upper()}=0") == plain - {yes} | {no}
    for wrong in ("Smile=0.3", "Smiling=1,smiling=0"):
        with pytest.raises(UsageError, match="Smiling"):
            present(wrong)


def test_names_that_differ_in_spelling_only_run_alike_in_a_manifest() -> None:
    one, other, both = (
        PredictConfig(threshold=text).thresholds
        for text in ('"Wearing Hat"=0.3', "wearing_hat=0.30", "a b=0.3,a-b=0.4")
    )
    assert one == other
    assert both == {"a b": 0.3, "a-b": 0.4}


def test_an_unknown_attribute_is_refused_with_a_suggestion(tiny_onnx: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown attribute 'Smilling'\. Did you mean Smiling\?"):
        Predictor(PredictConfig(weights=str(tiny_onnx), attributes="Smilling"))


def test_processes_get_one_input_each_and_then_a_few_and_all_come_back_in_order() -> None:
    groups: list[int] = []

    def score(some: Sequence[Input]) -> list[list[Result]]:
        groups.append(len(some))
        return [[Failure(item.path, "no_face", item.path)] for item in some]

    items = [Input(str(n), data=b"x") for n in range(400)]
    found = list(scorer.apart(iter(items), score, workers=2, keep_data=False))
    assert [results[0].path for _, results in found] == [item.path for item in items]
    assert {item.data for item, _ in found} == {None}
    assert sorted(groups) == [1] * 32 + [2] * 16 + [4] * 16 + [8] * 16 + [scorer.GROUP] * 9
    assert list(scorer.apart(iter(()), score, workers=2)) == []


def test_a_few_large_files_do_not_wait_for_more() -> None:
    groups: list[int] = []

    def score(some: Sequence[Input]) -> list[list[Result]]:
        groups.append(len(some))
        return [[] for _ in some]

    data = bytes(3 << 20)
    list(scorer.apart((Input(str(n), data=data) for n in range(60)), score, workers=1))
    assert sorted(groups) == [1] * 17 + [2] * 8 + [3] * 9


@pytest.mark.parametrize(
    ("opening", "network", "limit"),
    [(0.0, 0.05, "bottleneck: the model"), (0.05, 0.0, "bottleneck: decoding")],
)
def test_the_log_says_what_takes_long(
    predictor: Predictor,
    inputs: list[Input],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    opening: float,
    network: float,
    limit: str,
) -> None:
    finish = predictor.finish

    def slowly(batch: Sequence[Prepared]) -> list[list[Result]]:
        time.sleep(network * len(batch))
        return finish(batch)

    def prepare(items: Sequence[Input]) -> list[Prepared]:
        time.sleep(opening * len(items))
        return [Prepared(item, failure=Failure(item.path, "no_face", "none")) for item in items]

    monkeypatch.setattr(predictor, "finish", slowly)
    with caplog.at_level("INFO", "celebattr.inference.scorer"):
        list(together(inputs, prepare, predictor, batch_size=2, workers=1, at_once=1))
    assert f"{limit}" in caplog.messages[-1]
    assert "model busy" in caplog.messages[-1]
