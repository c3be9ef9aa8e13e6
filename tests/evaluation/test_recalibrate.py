"""`celebattr calibrate`: scales and thresholds of a bundle from other labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load
from typer.testing import CliRunner, Result

import celebattr
from celebattr.cli.app import app
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import DataError, UsageError
from celebattr.evaluation.calibration import fit_scale
from celebattr.models import bundle, decisions
from celebattr.models.backends import open_backend


def run(*arguments: str | Path) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "CELEBATTR_DATA": ""}
    return CliRunner(env=environment).invoke(app, ["calibrate", *map(str, arguments)])


@pytest.mark.parametrize("which", ["tiny_bundle", "tiny_onnx"])
def test_scales_and_thresholds_are_those_of_the_labels(
    which: str, drawn_celeba: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = tmp_path / request.getfixturevalue(which).name
    source.write_bytes(request.getfixturevalue(which).read_bytes())
    old = dataclasses.replace(
        bundle.card_of(source), scale=(2.0,) * 40, bias=(0.5,) * 40, thresholds=(0.99,) * 40
    )
    bundle.rewrite(source, old)
    untouched = source.read_bytes()
    target = tmp_path / f"new{source.suffix}"
    words = ("--data", drawn_celeba, "--split", "all", "--limit", "30", "--device", "cpu")
    found = run(source, *words, "--output", target)
    assert found.exit_code == 0, found.output
    assert found.stdout == f"{target}\n"
    assert source.read_bytes() == untouched

    images = load_dataset([drawn_celeba]).split("all", 30)
    crops = images.read_batch(range(len(images)))
    backend = open_backend(str(target), device="cpu")  # checks the seal
    card, logits = backend.card, backend.logits(crops)
    positives = images.targets_NA.sum(axis=0)
    fitted = np.flatnonzero((positives >= 10) & (len(images) - positives >= 10))
    kept = np.setdiff1d(np.arange(40), fitted)
    assert len(fitted)
    assert len(kept)
    names = ", ".join(card.attributes[i] for i in kept)
    assert f"kept       {len(kept)} as before, too few labels: {names}\n" in found.stderr
    for field in ("scale", "bias", "thresholds"):
        assert (np.array(getattr(card, field))[kept] == getattr(old, field)[0]).all()
    targets = images.targets_NA[:, fitted]
    scale = fit_scale(logits[:, fitted] + 0.25, targets)
    np.testing.assert_allclose(np.array(card.scale)[fitted], scale, atol=0.02)
    np.testing.assert_allclose(np.array(card.bias), np.array(card.scale) / 4)
    p = decisions.probabilities(logits, np.array(card.scale), np.array(card.bias))
    tally = decisions.counts(p[:, fitted], targets)
    f1 = decisions.thresholds(tally, "f1")
    np.testing.assert_allclose(np.array(card.thresholds)[fitted], f1, atol=0.011)
    assert card.metrics == {}
    assert card.calibrated_on.startswith(f"{len(images)} images of ")
    if target.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(target))
        (inside,) = session.run(["probabilities"], {session.get_inputs()[0].name: crops})
        np.testing.assert_allclose(inside, p, atol=1e-5)
        said = session.get_modelmeta().custom_metadata_map["thresholds"]
        assert said == ",".join(map(str, card.thresholds))
    else:
        before, after = (load(path.read_bytes()) for path in (source, target))
        assert before.keys() == after.keys()
        assert all((before[name] == after[name]).all() for name in before)

    done = celebattr.calibrate(source, drawn_celeba, split="all", limit=30, device="cpu")
    assert done.path == source
    assert bundle.card_of(source) == dataclasses.replace(card, sha256=bundle.card_of(source).sha256)
    assert done.kept == tuple(card.attributes[i] for i in kept)
    assert done.calibrated == tuple(card.attributes[i] for i in fitted)
    assert done.after.mean_f1 is not None
    assert done.before.mean_f1 is not None
    assert done.after.mean_f1 > done.before.mean_f1


def test_the_operating_point_is_chosen(drawn_celeba: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    def thresholds(point: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        done = celebattr.calibrate(
            *(tiny_onnx, drawn_celeba),
            output=tmp_path / "x.onnx",
            operating_point=point,
            overwrite=True,
        )
        # Without --split it is validation's 24 images.
        assert done.after.images == 24
        return np.array(bundle.card_of(done.path).thresholds)

    assert (thresholds("default") == 0.5).all()
    never = thresholds("precision=1")
    assert never.max() == 1.01
    assert (thresholds("recall=1") <= 0.5).any()


def test_what_cannot_be_calibrated_is_refused(
    drawn_celeba: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="came with this installation: name another"):
        celebattr.calibrate("accurate", drawn_celeba)
    with pytest.raises(UsageError, match=r"the bundle is tiny\.onnx, so give \.onnx"):
        celebattr.calibrate(tiny_onnx, drawn_celeba, output=tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="no attribute has 10 images where it is present"):
        celebattr.calibrate(tiny_onnx, drawn_celeba, output=tmp_path / "x.onnx", limit=12)
    assert not list(tmp_path.iterdir())
    assert run(tiny_onnx).exit_code == 2
