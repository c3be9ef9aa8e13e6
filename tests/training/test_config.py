"""`train --config`: settings of a file, where the command line gives none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from layouts import write_celeba
from typer.testing import CliRunner, Result

import celebattr
from celebattr.cli.app import app
from celebattr.options import from_keywords
from celebattr.training.config import TrainConfig, read_config

ROOT = Path(__file__).parents[2]


def train(*arguments: str | Path, data: str = "") -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "CELEBATTR_DATA": data}
    return CliRunner(env=environment).invoke(app, ["train", *map(str, arguments)])


@pytest.mark.usefixtures("no_pictures")
def test_a_run_is_repeated_and_the_command_line_wins(tmp_path: Path) -> None:
    data = write_celeba(tmp_path / "data", train=8, validation=4, test=4)
    first = tmp_path / "first"
    words = ("--arch", "linear", "--epochs", "2", "--lr", "0.01", "--device", "cpu", "--ema", "0")
    words = (*words, "--seed", "3", "--attributes", "Male,Young", "--leave-out-repeats")
    done = train("--data", data, *words, "--no-thumbnails", "--output", first)
    assert done.exit_code == 0, done.output
    file, second = first / "config.json", tmp_path / "second"
    # What the file says goes before the environment too.
    done = train("--config", file, "--output", second, "--epochs", "1", data="nowhere")
    assert done.exit_code == 0, done.output
    was, now = (json.loads((run / "config.json").read_text()) for run in (first, second))
    changed = {name for name in was if was[name] != now[name]}
    assert changed == {"epochs", "output"}
    assert (was["seed"], was["thumbnails"], was["lr"]) == (3, False, 0.01)
    # The folder is the file's, so that a run is resumed by its own settings.
    assert "already holds a run" in train("--config", first).stderr
    again = train("--config", file, "--resume")
    assert again.exit_code == 0, again.output
    assert "finished" in again.stderr
    best = celebattr.train(config=file, output=tmp_path / "third", epochs=1, freeze_stages=0)
    assert json.loads((tmp_path / "third/config.json").read_text())["seed"] == 3
    assert best == tmp_path / "third/best.safetensors"


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ('{"epoch": 3}', 2, "unknown option 'epoch'. Did you mean epochs?"),
        ('{"epochs": "3"}', 2, "--epochs '3' is not a whole number"),
        ('{"epochs": 2.5}', 2, "--epochs 2.5 is not a whole number"),
        ('{"freeze_backbone": 1}', 2, "--freeze-backbone 1 is not true or false"),
        ('{"arch": null}', 2, "--arch None is not text"),
        ('{"data": [3]}', 2, "--data 3 is not a path"),
        ('{"lr": -1}', 2, "--lr -1.0 is outside 0 to 100"),
        ("[]", 3, "is not the config.json of a run: no object"),
        ("{", 3, "is not the config.json of a run: "),
        (None, 3, "is not the config.json of a run: no such file or directory"),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_a_sentence(
    tmp_path: Path, text: str | None, code: int, told: str
) -> None:
    file = tmp_path / "mine.json"
    if text is not None:
        file.write_text(text)
    done = train("--config", file, "--data", "drawn", "--output", tmp_path / "run")
    assert done.exit_code == code
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"celebattr: {file}")
    assert told in line
    assert not (tmp_path / "run").exists()


def test_settings_of_an_earlier_version_are_read() -> None:
    values = read_config(ROOT / "tests/data/v0_1_0/run")
    assert from_keywords(TrainConfig, values).arch == values["arch"]
    assert "resume" not in values
    assert values["output"] == "run"  # it was called out
