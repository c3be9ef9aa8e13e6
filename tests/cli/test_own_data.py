"""Photos and a spreadsheet of one's own, from the command line to a bundle and its figures."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from celebattr.cli.app import app
from celebattr.data import synthetic
from celebattr.data.layouts.load import load_dataset

COUNT = 40


def run(*arguments: str | Path) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "CELEBATTR_DATA": ""}
    return CliRunner(env=environment).invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of 20 people; Smiling is known of all, Eyeglasses of half, Happy is nobody's."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "images").mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "image", "person", "Smiling", "Eyeglasses", "Happy", "notes"])
        for i in range(COUNT):
            shown = {"Smiling"} if i % 2 else set()
            picture = synthetic.draw_face(shown, np.random.default_rng(i))
            picture.save(folder / "images" / f"{i}.png")
            glasses = "" if i < COUNT // 2 else i % 3 // 2
            table.writerow([1000 + i, f"{i}.png", f"p{i // 2}", i % 2, glasses, i % 2, "hm"])
    return folder


@pytest.mark.parametrize("loss", ["bce", "mse", "focal", "asymmetric --pos-weight auto"])
def test_train_holds_out_a_tenth_and_learns_from_what_is_known(
    mine: Path, tmp_path: Path, loss: str
) -> None:
    found = run(
        *("train", "--data", mine, "--output", tmp_path / "run", "--arch", "linear"),
        *("--epochs", "2", "--batch-size", "8", "--loss", *loss.split()),
        *("--attributes", "eyeglasses,Smiling", "--device", "cpu"),
    )
    assert found.exit_code == 0, found.output
    (line,) = [line for line in found.stderr.splitlines() if "held out" in line]
    assert line == "validation 4 of 40 train images held out, of other people than train, by seed 0"
    assert "the same in every training image" not in found.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all(np.isfinite(row[f"{part}_loss"]) for row in rows for part in ("train", "validation"))
    weights = run("evaluate", "--data", mine, "--weights", tmp_path / "run", "--split", "all")
    assert weights.exit_code == 0, weights.output
    report = json.loads(weights.stdout)
    assert report["images"] == COUNT
    assert report["people"] == COUNT // 2
    known = {row["attribute"]: row["images"] for row in report["attributes"]}
    assert known == {"Eyeglasses": COUNT // 2, "Smiling": COUNT}


@pytest.mark.parametrize("names", ["Smiling", "Smiling,Eyeglasses"])
def test_tables_say_how_many_labels_are_known_where_some_are_not(
    mine: Path, tiny_onnx: Path, tmp_path: Path, names: str
) -> None:
    page = tmp_path / "page.html"
    words = ("evaluate", "--data", mine, "--weights", tiny_onnx, "--split", "all")
    words = (*words, "--attributes", names)
    text = run(*words, "--format", "csv", "--report", page).stdout
    rows = {row["attribute"]: row for row in csv.DictReader(text.splitlines())}
    table = run(*words, "--format", "table").stdout
    (head,) = [line.split()[:3] for line in table.splitlines() if line.startswith("attribute ")]
    markdown = run(*words, "--format", "markdown").stdout
    html = page.read_text()
    if names == "Smiling":
        assert "images" not in rows["Smiling"]
        assert head == ["attribute", "positives", "accuracy"]
        assert "| known |" not in markdown
        assert ">known<" not in html
        return
    assert (rows["Smiling"]["images"], rows["Eyeglasses"]["images"]) == ("40", "20")
    assert rows["mean"]["images"] == ""
    assert head == ["attribute", "known", "positives"]
    assert ["Eyeglasses", "20", "7"] in [line.split()[:3] for line in table.splitlines()]
    assert "| Eyeglasses | 20 | 7 |" in markdown
    assert '<td data-value="20">20</td>\n<td data-value="7">7</td>' in re.sub(r"\n+", "\n", html)
    assert "7 of 20 images show it" in html


def test_evaluate_scores_what_data_and_bundle_share(
    mine: Path, tiny_onnx: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = (
        "evaluate",
        "--data",
        mine,
        "--weights",
        tiny_onnx,
        "--consistent",
        "--corrupt",
        "grey",
    )
    found = run(*words, "--split", "all", "--slices", "Smiling", "--curves")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert [row["attribute"] for row in report["attributes"]] == ["Eyeglasses", "Smiling"]
    told = " / ".join(record.getMessage() for record in caplog.records)
    assert (
        "no labels in the data: 5_o_Clock_Shadow, Arched_Eyebrows, Attractive and 35 more" in told
    )
    assert "not predicted by tiny.onnx: Happy" in told
    one = json.loads(run(*words, "--split", "all", "--attributes", "Smiling").stdout)
    assert one["attributes"][0]["accuracy"] == report["attributes"][1]["accuracy"]
    assert len(one["attributes"]) == 1
    empty = run(*words)
    assert empty.exit_code == 3
    assert "Give --split all" in empty.stderr
    none = run(*words, "--split", "all", "--attributes", "Happy")
    assert none.exit_code == 3
    assert "labels for none of the attributes that tiny.onnx predicts" in none.stderr


def test_a_constant_attribute_is_warned_of(mine: Path, tmp_path: Path) -> None:
    text = (mine / "labels.csv").read_text().splitlines()
    lines = [line + (",Alive,Dead" if i == 0 else ",1,0") for i, line in enumerate(text)]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    (tmp_path / "images").symlink_to(mine / "images")
    found = run(
        *("train", "--data", tmp_path, "--output", tmp_path / "run", "--arch", "linear"),
        *("--epochs", "1", "--attributes", "Smiling,Alive,Dead", "--device", "cpu"),
    )
    assert found.exit_code == 0, found.output
    line = "warning    the same in every training image, so not to be learnt: Alive, Dead"
    assert line in found.stderr.splitlines()


def test_pack_keeps_what_is_unknown_and_who_is_shown(mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    found = run("pack", "--data", mine, "--output", out, "--attributes", "Smiling,Eyeglasses")
    assert found.exit_code == 0, found.output
    before, after = load_dataset([mine], attributes="Smiling,Eyeglasses"), load_dataset([out])
    for name in ("manifest.json", "train-000000.index.json"):
        (out / name).rename(tmp_path / name)
    scanned = load_dataset([out])
    for dataset in (after, scanned):
        assert dataset.attributes == ("Smiling", "Eyeglasses")
        np.testing.assert_array_equal(dataset.targets_NA, before.targets_NA)
        np.testing.assert_array_equal(dataset.identities_N, before.identities_N)


def test_doctor_counts_what_is_unknown(mine: Path) -> None:
    found = run("doctor", "--data", mine, "--format", "json")
    assert found.exit_code == 0, found.output
    findings = {one["check"]: one for one in json.loads(found.stdout)["findings"]}
    assert findings["unknown labels"]["examples"] == ["Eyeglasses 20"]
    assert "20 labels of 120 are unknown" in findings["unknown labels"]["what"]
