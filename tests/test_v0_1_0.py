"""What 0.1.0 wrote still opens and means the same; data/v0_1_0/README.md says how it was made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples

import celebattr
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import UsageError
from celebattr.models import bundle, decisions
from celebattr.models.backends import open_backend
from celebattr.training import loop
from celebattr.training.config import TrainConfig

OLD = Path(__file__).parent / "data" / "v0_1_0"
THEN = json.loads((OLD / "then.json").read_text())


# Sums of whole numbers in int8 are the same on every processor, those of fractions hardly differ.
@pytest.mark.parametrize("name", ["run/best.safetensors", "int8.onnx"])
def test_a_bundle_gives_the_probabilities_it_gave(name: str) -> None:
    images = load_dataset([OLD / "pack"]).split("test")
    backend = open_backend(str(OLD / name), device="cpu", precision="float32")
    logits = backend.logits(images.read_batch(range(len(images))))
    scale, bias = np.array(backend.card.scale), np.array(backend.card.bias)
    found = decisions.probabilities(logits, scale, bias)
    assert np.ptp(found, axis=0).max() > 0.01
    np.testing.assert_allclose(found, THEN[name], atol=1e-5)


@pytest.mark.parametrize("name", ["run", "int8.onnx"])
def test_a_photo_is_scored_with_a_bundle(name: str) -> None:
    crop = load_dataset([OLD / "pack"]).split("test").read(0)
    (face,) = celebattr.load(OLD / name, device="cpu", precision="float32")(crop)
    expected = THEN["run/best.safetensors" if name == "run" else name][0]
    assert list(face.probabilities.values()) == pytest.approx(expected, abs=1e-4)


def test_a_pack_trains_and_evaluates(tmp_path: Path) -> None:
    settings = samples.config(OLD / "pack", tmp_path / "run", batch_size=3, epochs=1, limit=None)
    best = loop.train(settings)
    assert bundle.card_of(best).trained_on["images"] == 6
    assert celebattr.evaluate(best, OLD / "pack", device="cpu").images == 3


def test_a_run_folder_evaluates_to_the_figures_of_then() -> None:
    report = celebattr.evaluate(OLD / "run", OLD / "pack", device="cpu", precision="float32")
    for name, value in THEN["evaluation"].items():
        assert getattr(report, name) == pytest.approx(value, abs=1e-5), name


def resumed(out: Path, **changes: Any) -> TrainConfig:
    shutil.copytree(OLD / "run", out)
    same = {"batch_size": 3, "limit": None, "ema": 0.0, "workers": 1}
    return samples.config(OLD / "pack", out, resume=True, **same | changes)


def test_a_run_that_was_not_finished_is_refused_with_a_way_on(tmp_path: Path) -> None:
    """The draws of the augmentation are others since: a resumed run would be neither's."""
    with pytest.raises(UsageError, match=r"augmentation of another version.*--backbone-weights"):
        loop.train(resumed(tmp_path / "run"))
