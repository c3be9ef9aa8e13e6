"""`celebattr evaluate` and `predict` with --consistent, and `evaluate --corrupt`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from celebattr.attributes import CELEBA, RULES
from celebattr.cli.app import app
from celebattr.data import synthetic
from celebattr.models import bundle
from celebattr.models.decisions import contradictions


def run(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"}).invoke(app, [*map(str, arguments)])


def evaluated(*arguments: str | Path) -> dict[str, Any]:
    result = run("evaluate", *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.fixture(scope="module")
def careless(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with low thresholds: it calls much present, and so contradicts itself."""
    path = tmp_path_factory.mktemp("careless") / "careless.safetensors"
    path.write_bytes(tiny_bundle.read_bytes())
    bundle.rewrite(path, dataclasses.replace(bundle.card_of(path), thresholds=(0.45,) * 40))
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(6):
        synthetic.draw_face({"Smiling"} if i % 2 else {"Male"}, rng).save(folder / f"{i}.png")
    return folder


def test_contradictions_and_published_figures_are_always_reported(
    drawn_celeba: Path, tiny_onnx: Path
) -> None:
    report = evaluated("--data", drawn_celeba, "--weights", tiny_onnx)
    assert [one["rule"] for one in report["logic"]["rules"]] == [rule.name for rule in RULES]
    assert report["consistent"] is False
    assert report["corruptions"] == []
    assert len(report["published"]) > 10
    text = run("evaluate", "--data", drawn_celeba, "--weights", tiny_onnx, "--format", "table")
    assert "any contradiction" in text.stdout
    assert "this bundle" in text.stdout


def test_consistent_figures_are_those_that_the_plain_report_foretells(
    drawn_celeba: Path, careless: Path
) -> None:
    words = ("--data", drawn_celeba, "--weights", careless)
    plain, consistent = evaluated(*words), evaluated(*words, "--consistent")
    assert plain["logic"]["predicted"] > 0.5
    assert consistent["consistent"] is True
    assert consistent["logic"] == plain["logic"]
    foretold = plain["logic"]["consistent_accuracy"]
    assert consistent["mean_attribute_accuracy"] == pytest.approx(foretold, abs=2e-6)
    difference = consistent["mean_attribute_accuracy"] - plain["mean_attribute_accuracy"]
    assert plain["logic"]["difference"] == pytest.approx(difference, abs=2e-6)
    assert plain["mean_average_precision"] == consistent["mean_average_precision"]


def test_predictions_without_contradictions_have_the_same_rows_but_for_present(
    images: Path, careless: Path
) -> None:
    def rows(*options: str) -> list[dict[str, Any]]:
        result = run("predict", images, "--weights", careless, "--faces", "none", *options)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def broken(found: list[dict[str, Any]]) -> int:
        present = np.array([[name in row["present"] for name in CELEBA] for row in found])
        return int(contradictions(present, CELEBA, RULES).any(axis=1).sum())

    plain, consistent = rows(), rows("--consistent")
    assert broken(plain) > 0
    assert broken(consistent) == 0
    for before, after in zip(plain, consistent, strict=True):
        assert {k: v for k, v in before.items() if k not in ("present", "unsure")} == {
            k: v for k, v in after.items() if k not in ("present", "unsure")
        }
    # The attributes that are not shown decide with the others.
    some = rows("--consistent", "--attributes", "Bangs,Smiling")
    assert [row["present"] for row in some] == [
        [name for name in ("Bangs", "Smiling") if name in row["present"]] for row in consistent
    ]


def test_a_run_is_not_gone_on_with_by_other_decisions(
    images: Path, careless: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rows.jsonl"
    words = ("predict", images, "--weights", careless, "--faces", "none", "--output", output)
    assert run(*words).exit_code == 0
    about = output.with_name("rows.jsonl.run.json")
    before = json.loads(about.read_text())
    del before["options"]["consistent"]  # as runs older than the option were written
    about.write_text(json.dumps(before))
    assert run(*words, "--resume").exit_code == 0
    result = run(*words, "--resume", "--consistent")
    assert result.exit_code == 2
    assert "consistent False and True" in result.stderr


def test_spoiled_images_have_a_row_a_level_and_the_rest_stays(
    drawn_celeba: Path, tiny_onnx: Path
) -> None:
    words = ("--data", drawn_celeba, "--weights", tiny_onnx)
    clean = evaluated(*words)
    report = evaluated(*words, "--corrupt", "dark,small", "--batch-size", "7")
    assert [(one["corruption"], one["level"]) for one in report["corruptions"]] == [
        ("dark", "times 0.5"),
        ("dark", "times 0.2"),
        ("small", "64 px high"),
        ("small", "32 px high"),
    ]
    assert report["images_per_second"] is None
    for name in ("mean_attribute_accuracy", "mean_average_precision", "logic", "attributes"):
        assert report[name] == clean[name]
    for one in report["corruptions"]:
        difference = one["mean_attribute_accuracy"] - clean["mean_attribute_accuracy"]
        assert one["difference"] == pytest.approx(difference, abs=2e-6)
        assert one["interval"][0] <= one["difference"] <= one["interval"][1]
    text = run("evaluate", *words, "--corrupt", "grey", "--format", "markdown").stdout
    assert "| grey, no colour |" in text


def test_an_unknown_corruption_is_refused_before_any_work(tmp_path: Path) -> None:
    result = run("evaluate", "--data", tmp_path, "--corrupt", "jpg")
    assert result.exit_code == 2
    assert "Did you mean jpeg?" in result.stderr


def test_a_card_keeps_contradictions_but_not_what_others_published(
    drawn_celeba: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(tiny_bundle.read_bytes())
    evaluated("--data", drawn_celeba, "--weights", own, "--write-card")
    written = bundle.card_of(own).metrics["test"]
    assert "published" not in written
    assert set(written["logic"]) >= {"predicted", "labelled", "difference", "interval"}
