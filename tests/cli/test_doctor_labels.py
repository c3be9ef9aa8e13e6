from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from celebattr.cli.app import app
from celebattr.diagnosis.labels.report import COLUMNS


def run(*arguments: str | Path, columns: int = 200) -> Result:
    environment = {"COLUMNS": str(columns), "NO_COLOR": "1", "CELEBATTR_DATA": ""}
    return CliRunner(env=environment).invoke(app, ["doctor", *map(str, arguments)])


@pytest.fixture(scope="module")
def probabilities(drawn_celeba: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows every label but two, of which it is as sure as of the others."""
    from celebattr.data.layouts.load import load_dataset

    dataset = load_dataset([drawn_celeba])
    path = tmp_path_factory.mktemp("p") / "p.csv"
    targets = dataset.targets_NA.astype(bool)
    male = dataset.attributes.index("Male")
    targets[[3, 70], male] ^= True
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *dataset.attributes])
        for name, row in zip(dataset.names, targets, strict=True):
            writer.writerow([name, *(0.98 if yes else 0.02 for yes in row)])
    return path


def test_labels_that_are_wrong_are_shown_and_written(
    drawn_celeba: Path, probabilities: Path, tmp_path: Path
) -> None:
    table, sheet = tmp_path / "s.csv", tmp_path / "s.html"
    arguments = ("--labels", "--data", drawn_celeba, "--probabilities", probabilities)
    result = run(*arguments, "--output", table, "--report", sheet)
    assert result.exit_code == 0, result.stderr
    assert "64 train, 24 validation, 24 test" in result.stdout
    assert "they should come from networks that were not trained" in result.stdout
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    network = [row for row in rows if row["reasons"].startswith("the network")]
    assert {(row["image"], row["attribute"]) for row in network} == {
        ("000004.jpg", "Male"),
        ("000071.jpg", "Male"),
    }
    assert network[0]["image"] in result.stdout
    text = sheet.read_text()
    assert text.count("<img ") == sum(int(row["rank"]) <= 12 for row in rows)
    assert 'src="data:image/jpeg;base64,' in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_bundle_is_asked_and_one_split_may_be_chosen(
    drawn_celeba: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    arguments = ("--labels", "--data", drawn_celeba, "--weights", tiny_onnx)
    result = run(*arguments, "--split", "test", "--limit", "6", "--format", "json")
    values = json.loads(result.stdout)
    assert values["images"] == {"test": 6}
    assert values["source"] == "tiny.onnx"
    assert len(values["estimates"]) == 40


def test_a_narrow_terminal_shows_rates_without_intervals(
    drawn_celeba: Path, probabilities: Path
) -> None:
    arguments = ("--labels", "--data", drawn_celeba, "--probabilities", probabilities)
    wide, narrow = (run(*arguments, columns=columns).stdout for columns in (120, 60))
    line = next(line for line in wide.splitlines() if line.startswith("Male"))
    assert line.count("[") == 3
    line = next(line for line in narrow.splitlines() if line.startswith("Male"))
    assert "[" not in line
    assert max(map(len, narrow.splitlines())) <= 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weights", "x"), "--weights is part of --labels: add --labels"),
        (("--split", "test"), "add --labels"),
        (("--output", "x.csv"), "add --labels"),
        (("--report", "x.html"), "add --labels"),
        (("--labels", "--quick"), "give one of them"),
        (("--labels", "--weights", "x", "--probabilities", "y"), "exclude each other"),
        (("--labels", "--output", "x.txt"), "no format has the suffix .txt"),
    ],
)
def test_what_does_not_go_together_is_refused(
    drawn_celeba: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run("--data", drawn_celeba, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_without_jinja2_a_sheet_says_how_to_install_it(
    drawn_celeba: Path, probabilities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "celebattr.reports.page", raising=False)
    arguments = ("--labels", "--data", drawn_celeba, "--probabilities", probabilities)
    result = run(*arguments, "--report", tmp_path / "s.html")
    assert result.exit_code == 5
    assert "pip install 'celebattr[train]'" in result.stderr
    assert run(*arguments).exit_code == 0
