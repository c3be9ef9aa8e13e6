"""The scoring worker: rows for paths, URLs and bytes; its processes outlive a call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut
from typer.testing import CliRunner

import celebattr
from celebattr.cli.app import app
from celebattr.data import synthetic
from celebattr.errors import UsageError, WeightsError
from celebattr.inference.config import PredictConfig
from celebattr.inference.export import export
from celebattr.inference.faces import Preparer
from celebattr.inference.inputs.source import Input
from celebattr.inference.pool import protocol
from celebattr.inference.pool.pool import Worker
from celebattr.inference.predictor import Predictor
from celebattr.inference.scorer import Scorer
from celebattr.models.backends import OnnxBackend


@pytest.fixture(scope="module")
def scorer(tiny_onnx: Path) -> Scorer:
    with Scorer(PredictConfig(weights=str(tiny_onnx), faces="none"), cores=1) as worker:
        yield worker


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    synthetic.draw_face({"Smiling"}, np.random.default_rng(0)).save(path)
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


def test_processes_that_score_say_what_this_one_would_to_the_last_digit(
    tiny_onnx: Path, tmp_path: Path
) -> None:
    crowd = tmp_path / "two.png"
    face = Image.fromarray(astronaut())
    both = Image.new("RGB", (2 * face.width, face.height))
    both.paste(face, (0, 0))
    both.paste(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (face.width, 0))
    both.save(crowd)
    config = PredictConfig(weights=str(tiny_onnx), faces="all", attributes="Smiling,Bald")
    items = [Input(str(crowd)), Input("memory", data=crowd.read_bytes()), Input("missing.jpg")]
    here = Predictor(config).finish([Preparer("all")(item) for item in items])
    with Scorer(config) as there:
        assert [results for _, results in there.stream(items)] == here
        assert there.facts == Predictor(config).facts
    assert [len(results) for results in here] == [2, 2, 1]
    assert [result.row()["face"] for results in here for result in results] == [1, 2, 1, 2, None]


def test_a_torch_bundle_gives_the_rows_of_its_frames_scored_here(
    tiny_bundle: Path, photo: Path
) -> None:
    config = PredictConfig(weights=str(tiny_bundle), device="cpu")
    with Scorer(config) as scorer:
        found = [results for _, results in scorer.stream([Input(str(photo))] * 3)]
        assert scorer.facts == Predictor(config).facts
    expected = Predictor(config).finish([Preparer("largest")(Input(str(photo)))] * 3)
    assert found == expected


@pytest.fixture(scope="module")
def overflowing(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle with weights in its head that overflow: a sum of both infinities."""
    import torch

    from celebattr.models import bundle

    card, network = bundle.load(tiny_bundle)
    tensors = network.state_dict()
    with torch.no_grad():
        (weight,) = [t for name, t in tensors.items() if name.startswith("head") and t.ndim > 1]
        weight[0] = torch.where(torch.arange(weight.shape[1]) % 2 == 0, 1e38, -1e38)
        for name, values in tensors.items():  # of norms, and so what the head gets
            if values.ndim == 1 and name.endswith("weight"):
                values *= 1e10
    path = tmp_path_factory.mktemp("overflow") / "overflow.safetensors"
    bundle.save(path, card, tensors)
    return path


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_an_output_that_is_not_finite_is_a_failure_here_and_in_the_pool(
    kind: str, overflowing: Path, photo: Path, tmp_path: Path
) -> None:
    weights = overflowing
    if kind == "onnx":
        weights = tmp_path / "overflow.onnx"
        export(overflowing, weights)
    output = tmp_path / "rows.jsonl"
    done = celebattr.score([photo, photo], output, weights=weights, device="cpu")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["status"] for row in rows] == ["not_finite"] * 2
    assert rows[0]["error"] == f"{photo}: the network's output is not finite (tiny)"
    assert (done.failed, rows[0]["probabilities"], rows[0]["face"]) == (2, None, None)
    config = PredictConfig(weights=str(weights), device="cpu", consistent=True)
    ((here,),) = Predictor(config).finish([Preparer("largest")(Input(str(photo)))])
    assert here.row() == rows[0]
    with pytest.raises(WeightsError, match="not finite"):
        celebattr.load(weights, device="cpu")(photo)
    result = CliRunner().invoke(app, ["predict", str(photo), "-w", str(weights), "--device=cpu"])
    assert result.exit_code == 6
    assert "1 failed (1 not_finite)" in result.stderr


def test_a_logit_that_overflows_is_no_certainty(tiny_onnx: Path, photo: Path) -> None:
    predictor = Predictor(PredictConfig(weights=str(tiny_onnx)))
    prepared = [Preparer("largest")(Input(str(photo)))] * 3
    logits = predictor.backend.logits(np.stack([one.frames[0] for one in prepared]))
    expected = predictor.finish(prepared)
    for value in (np.inf, -np.inf, np.nan):
        logits[1, 7] = value
        predictor.backend.logits = lambda frames: logits  # type: ignore[method-assign]
        first, (failure,), last = predictor.finish(prepared)
        assert failure.status == "not_finite"
        assert [first, last] == expected[:1] + expected[2:]


def test_what_the_processes_cannot_do_is_the_error_it_would_be_here(
    tiny_onnx: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"'Smilling'\. Did you mean Smiling\?"):
        Scorer(PredictConfig(weights=str(tiny_onnx), attributes="Smilling"))
    data, broken = tiny_onnx.read_bytes(), tmp_path / "broken.onnx"
    middle = len(data) // 2
    for at, length in ((middle, 1), (99, 99)):  # of a weight, and what onnxruntime does not take
        broken.write_bytes(
            data[:at] + bytes(b ^ 1 for b in data[at : at + length]) + data[at + length :]
        )
        with pytest.raises(WeightsError, match=r"broken\.onnx (is damaged|has changed since)"):
            Scorer(PredictConfig(weights=str(broken)))


def test_a_refusal_is_heard_by_who_asks_late(tmp_path: Path, tiny_onnx: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(tiny_onnx.read_bytes()[:-1] + b"x")
    with protocol.start("none", str(broken)) as process:
        assert process.stdout is not None
        while not process.stdout.peek():  # type: ignore[attr-defined]
            time.sleep(0.05)
        time.sleep(1.0)
        assert process.poll() is None  # what it said would be lost on a closed pipe
        worker = Worker("none", broken, process)
        with pytest.raises(WeightsError, match=r"broken\.onnx"):
            worker.ready(PredictConfig(faces="none"))
        worker.close()


def test_a_bundle_that_cannot_be_opened_is_an_error_of_the_weights(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *given: Any, **named: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"cannot read .*: Permission denied"):
        Scorer(PredictConfig(weights=str(tiny_onnx)))


def test_a_bundle_whose_name_onnxruntime_does_not_take(tiny_onnx: Path) -> None:
    data, frame_1HWC = tiny_onnx.read_bytes(), np.zeros((1, 218, 178, 3), np.uint8)
    # No file: not every system has such names.
    odd = OnnxBackend(Path("weights\udcff", "tiny.onnx"), data)
    plain = OnnxBackend(tiny_onnx, data)
    np.testing.assert_array_equal(odd.logits(frame_1HWC), plain.logits(frame_1HWC))


def test_a_process_that_was_started_ahead_is_taken_where_it_fits_and_ended_where_not(
    photo: Path, tiny_onnx: Path
) -> None:
    protocol.begin([str(photo), "--threshold", "0.4"])
    begun = protocol._started
    assert begun is not None
    with Scorer(PredictConfig(threshold=0.4)) as scorer:
        assert scorer._processes._all[0]._process is begun
        assert next(scorer.rows([str(photo)]))[0]["status"] == "ok"
    protocol.begin([str(photo)])
    begun = protocol._started
    assert begun is not None
    with Scorer(PredictConfig(weights=str(tiny_onnx))) as scorer:
        assert scorer._processes._all[0]._process is not begun
    assert begun.returncode != 0


@pytest.mark.parametrize("option", ["--faces=none", "-wother.onnx", "--weights", "--help"])
def test_nothing_is_started_ahead_where_something_else_is_asked_for(option: str) -> None:
    protocol.begin(["photo.jpg", option, "x"])
    assert protocol._started is None


def test_batch_after_batch_is_opened_by_the_same_processes(scorer: Scorer, photo: Path) -> None:
    list(scorer.rows([str(photo)]))
    before = {worker._process.pid for worker in scorer._processes._all}
    for _ in range(5):
        list(scorer.rows([str(photo)] * 3))
    assert {worker._process.pid for worker in scorer._processes._all} == before
    assert len(before) == 1


def test_what_is_fetched_is_fetched_ahead_and_in_order(scorer: Scorer, photo: Path) -> None:
    data = photo.read_bytes()
    items = [Input(f"{n}", read=lambda n=n: Input(f"{n}", data=data)) for n in range(40)]
    assert [item.path for item, _ in scorer.stream(items)] == [str(n) for n in range(40)]
