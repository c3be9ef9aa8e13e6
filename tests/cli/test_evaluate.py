"""`celebattr evaluate` with another bundle, curves and slices, on drawn faces."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from celebattr.cli.app import app
from celebattr.data.dataset import FaceDataset
from celebattr.models import bundle


def run(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(
        app, ["evaluate", *(str(a) for a in arguments)]
    )


def report(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def rewritten(source: Path, target: Path, **card: Any) -> Path:
    """The same network with another card."""
    target.write_bytes(source.read_bytes())
    bundle.rewrite(target, dataclasses.replace(bundle.card_of(source), **card))
    return target


@pytest.fixture(scope="module")
def words(drawn_celeba: Path, tiny_onnx: Path, tiny_bundle: Path) -> tuple[str | Path, ...]:
    """Everything that is computed from images, at once."""
    return (
        *("--data", drawn_celeba, "--weights", tiny_onnx, "--against", tiny_bundle),
        *("--precision", "float32", "--curves", "--slices", "Male"),
    )


@pytest.fixture(scope="module")
def one_by_one(words: tuple[str | Path, ...]) -> dict[str, Any]:
    return report(*words, "--batch-size", "1", "--workers", "1")


PAIRS = [(1, 3), (7, 1), (32, 1), (32, 3)]


@pytest.mark.parametrize(
    ("batch_size", "workers"),
    [(7, 3), *(pytest.param(*pair, marks=pytest.mark.long) for pair in PAIRS)],
    ids=str,
)
def test_the_figures_do_not_depend_on_batch_size_or_workers(
    words: tuple[str | Path, ...], one_by_one: dict[str, Any], batch_size: int, workers: int
) -> None:
    found = report(*words, "--batch-size", str(batch_size), "--workers", str(workers))
    assert found["images"] == 24
    assert sum(each["decisions"] for each in found["reliability"]) == 24 * 40
    assert _rounded(found) == _rounded(one_by_one)


def _rounded(value: Any) -> Any:
    """Another batch size may change the last bit of a probability."""
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def test_a_bundle_against_itself_gives_zero_and_noise(drawn_celeba: Path, tiny_onnx: Path) -> None:
    found = report("--data", drawn_celeba, "--weights", tiny_onnx, "--against", tiny_onnx)
    assert found["against"]["weights"] == "tiny.onnx"
    assert len(found["against"]["differences"]) == 8 + 2 * 40
    for row in found["against"]["differences"]:
        assert row["ours"] == row["theirs"]
        assert row["noise"]
        assert row["interval"] == ([0.0, 0.0] if row["ours"] is not None else None)
    assert found["images_per_second"] is None  # the time was not this bundle's alone


def test_each_bundle_has_its_own_thresholds_and_calibration(
    drawn_celeba: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    # Never present: accuracy is the share of negatives. And surer: only calibration changes.
    never = rewritten(tiny_bundle, tmp_path / "never.safetensors", thresholds=(1.0,) * 40)
    surer = rewritten(tiny_bundle, tmp_path / "surer.safetensors", scale=(3.0,) * 40)
    words = ("--data", drawn_celeba, "--precision", "float32", "--weights")
    alone = report(*words, never)
    found = report(*words, tiny_bundle, "--against", never)["against"]["differences"]
    theirs = {(row["metric"], row["attribute"]): row["theirs"] for row in found}
    assert theirs["mean_attribute_accuracy", None] == alone["mean_attribute_accuracy"]
    for row in alone["attributes"]:
        assert theirs["accuracy", row["attribute"]] == row["accuracy"]
        assert row["accuracy"] == pytest.approx(1.0 - row["positives"] / 24, abs=1e-6)
    found = report(*words, tiny_bundle, "--against", surer)["against"]["differences"]
    by_metric = {row["metric"]: row for row in found if row["attribute"] is None}
    assert by_metric["mean_attribute_accuracy"]["interval"] == [0.0, 0.0]
    assert by_metric["mean_brier_score"]["ours"] != by_metric["mean_brier_score"]["theirs"]


def test_both_bundles_see_images_that_are_decoded_once(
    drawn_celeba: Path, tiny_onnx: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    plain = FaceDataset.read

    def counted(self: FaceDataset, index: int) -> Any:
        read.append(index)
        return plain(self, index)

    monkeypatch.setattr(FaceDataset, "read", counted)
    report("--data", drawn_celeba, "--weights", tiny_onnx, "--against", tiny_bundle)
    assert sorted(read) == list(range(24))


def subset(
    source: Path,
    target: Path,
    names: tuple[str, ...],
    called: dict[str, str],
    thresholds: tuple[float, ...] = (),
) -> Path:
    """A bundle of the same network with some of its outputs only, in another order."""
    import torch

    card, network = bundle.load(source)
    rows = torch.tensor([card.attributes.index(name) for name in names])
    tensors = network.state_dict()
    last = len(network.head) - 1
    for name in (f"head.{last}.weight", f"head.{last}.bias"):
        tensors[name] = tensors[name][rows]
    attributes = tuple(called.get(name, name) for name in names)
    own = dataclasses.replace(card, attributes=attributes, scale=(), bias=(), thresholds=thresholds)
    bundle.save(target, own, tensors)
    return target


def test_bundles_of_different_attributes_are_compared_in_those_they_share(
    drawn_celeba: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    names, called = ("Smiling", "Bald", "Male"), {"Bald": "Not_of_CelebA"}
    other = subset(tiny_bundle, tmp_path / "other.safetensors", names, called)
    edges = (1.0, 1.0, 0.0)  # never smiling, always male
    extreme = subset(tiny_bundle, tmp_path / "extreme.safetensors", names, called, edges)
    words = ("--data", drawn_celeba, "--precision", "float32", "--weights", tiny_bundle)
    found = report(*words, "--against", other)
    assert len(found["attributes"]) == 40
    rows = found["against"]["differences"]
    assert {row["attribute"] for row in rows} == {None, "Smiling", "Male"}
    own = {row["attribute"]: row["accuracy"] for row in found["attributes"]}
    mean = next(row for row in rows if row["metric"] == "mean_attribute_accuracy")
    assert mean["ours"] == pytest.approx(np.mean([own["Smiling"], own["Male"]]), abs=1e-6)
    assert mean["theirs"] == pytest.approx(mean["ours"], abs=1e-6)  # the same outputs
    positives = {row["attribute"]: row["positives"] for row in found["attributes"]}
    rows = report(*words, "--against", extreme)["against"]["differences"]
    theirs = {row["attribute"]: row["theirs"] for row in rows if row["metric"] == "accuracy"}
    assert theirs["Smiling"] == pytest.approx(1.0 - positives["Smiling"] / 24, abs=1e-6)
    assert theirs["Male"] == pytest.approx(positives["Male"] / 24, abs=1e-6)
    text = run(*words, "--against", other, "--format", "table").stdout
    assert "over the 2 that both predict" in text


def test_bundles_without_a_common_attribute_are_refused(
    drawn_celeba: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    other = subset(tiny_bundle, tmp_path / "o.safetensors", ("Bald",), {"Bald": "Other"})
    result = run("--data", drawn_celeba, "--weights", tiny_bundle, "--against", other)
    assert result.exit_code == 2
    assert "predicts none of the attributes of tiny.safetensors" in result.stderr


def test_a_bundle_that_is_not_there_is_a_weights_error(drawn_celeba: Path, tiny_onnx: Path) -> None:
    result = run("--data", drawn_celeba, "--weights", tiny_onnx, "--against", "nothing")
    assert result.exit_code == 4
    assert "no bundle nothing" in result.stderr


def test_bundles_of_one_name_are_told_apart_by_their_paths(
    drawn_celeba: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    other = tmp_path / tiny_onnx.name
    other.write_bytes(tiny_onnx.read_bytes())
    found = report("--data", drawn_celeba, "--weights", tiny_onnx, "--against", other)
    assert (found["weights"], found["against"]["weights"]) == ("tiny.onnx", str(other))


def test_the_point_to_compare_at_needs_counts_in_both_cards(
    drawn_celeba: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    counts = np.ones((2, 40, 100), int).tolist()
    counted = rewritten(tiny_bundle, tmp_path / "counted.safetensors", counts=counts)
    words = ("--data", drawn_celeba, "--weights", counted, "--operating-point", "recall=0.9")
    assert run(*words, "--against", counted).exit_code == 0
    result = run(*words, "--against", tiny_bundle)
    assert result.exit_code == 2
    assert "tiny holds no counts" in result.stderr


def test_curves_come_with_each_attribute_and_only_when_asked_for(
    drawn_celeba: Path, tiny_onnx: Path
) -> None:
    words = ("--data", drawn_celeba, "--weights", tiny_onnx)
    plain = report(*words)
    assert (plain["reliability"], plain["attributes"][0]["curves"]) == ([], None)
    found = report(*words, "--curves")
    for row in found["attributes"]:
        curves = row["curves"]
        assert [at["threshold"] for at in curves["thresholds"]][:3] == [0.05, 0.1, 0.15]
        half = curves["thresholds"][9]
        assert (half["threshold"], half["accuracy"]) == (0.5, row["accuracy"])
        assert half["f1"] == row["f1"]
        if row["roc_auc"] is None:
            assert curves["roc"] == []
        else:
            assert (curves["roc"][0], curves["roc"][-1]) == ([0.0, 0.0], [1.0, 1.0])
        assert sum(one["decisions"] for one in curves["reliability"]) == 24


@pytest.mark.parametrize("format", ["csv", "markdown", "table"])
def test_every_format_shows_differences_and_gaps(
    drawn_celeba: Path, tiny_onnx: Path, tiny_bundle: Path, format: str
) -> None:
    result = run(
        *("--data", drawn_celeba, "--split", "train", "--weights", tiny_onnx, "--format", format),
        *("--against", tiny_bundle, "--slices", "Male,Young", "--curves"),
    )
    assert result.exit_code == 0, result.output
    if format == "csv":
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        assert rows[-1]["accuracy_against"] and rows[-1]["accuracy_difference"]
        assert any(row["recall_gap"] for row in rows)
    else:
        assert "against tiny.safetensors" in result.stdout
        assert "recall by slice" in result.stdout
        assert "warning: fewer than 30" in result.stdout
        assert "lowest mean attribute accuracy" in result.stdout


def test_the_card_keeps_slices_and_gaps_and_neither_curves_nor_the_other_bundle(
    drawn_celeba: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    own = rewritten(tiny_bundle, tmp_path / "own.safetensors")
    found = report(
        *("--data", drawn_celeba, "--weights", own, "--against", tiny_bundle, "--write-card"),
        *("--slices", "Male", "--curves"),
    )
    written = bundle.card_of(own).metrics["test"]
    assert written["gaps"] == found["gaps"]
    assert written["worst_slice"] == found["worst_slice"]
    assert written["mean_brier_score"] == found["mean_brier_score"]
    assert not {"against", "reliability"} & set(written)
    assert "curves" not in written["attributes"][0]
