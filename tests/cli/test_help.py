"""Help pages: compact, grouped, with examples that are commands; earlier names of options."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from layouts import write_celeba
from typer.testing import CliRunner, Result

import celebattr
from celebattr.cli.app import COMMANDS, Commands, app
from celebattr.errors import UsageError
from celebattr.training.config import TrainConfig

PANELS = {
    "predict": ("Input", "Output", "Model and decisions", "Performance", "Cluster"),
    "merge": ("Output",),
    "align": ("Output",),
    "train": (
        *("Data", "Model", "Optimisation", "Augmentation", "Distillation", "Runtime", "Output"),
    ),
    "calibrate": ("Data", "Model and decisions", "Output", "Performance"),
    "evaluate": ("Data", "Model and decisions", "Further measurements", "Output", "Performance"),
    "export": ("Output", "int8"),
    "download": ("Output", "Data"),
    "pack": ("Data", "Output", "Performance"),
    "doctor": ("Data", "Wrong labels", "Performance", "Output"),
    "info": ("Output",),
    "demo": ("Output",),
}
ROOT = Path(__file__).parents[2]
MOST_LINES = {"predict": 110, "train": 150, "evaluate": 90}


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    environment = {"COLUMNS": "80", "NO_COLOR": "1", "CELEBATTR_DATA": ""} | (env or {})
    return CliRunner(env=environment).invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_page_groups_every_option_and_is_short(command: str) -> None:
    page = run(command, "--help").stdout
    shown = re.findall(r"^╭─ (.*?) ─+╮$", page, re.MULTILINE)
    assert tuple(name for name in shown if name != "Arguments") == PANELS[command]
    assert "<bool>" not in page
    assert "…" not in page
    assert len(page.splitlines()) < MOST_LINES.get(command, 80)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_an_option_is_a_line(command: str) -> None:
    for parameter in Commands().get_command(None, command).params:
        if parameter.param_type_name == "option":
            assert parameter.help.endswith((".", ")")), parameter.name
            assert len(parameter.help) <= 80, parameter.name


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_a_help_page_are_commands(command: str) -> None:
    page = run(command, "--help", env={"COLUMNS": "200"}).stdout
    examples = re.findall(r"^ \$ (.*)$", page.partition(" Examples:")[2], re.MULTILINE)
    assert examples
    for line in examples:
        words = shlex.split(line.rpartition("celebattr ")[2])
        assert words[0] == command
        # An unknown option is an error before --help is looked at.
        assert run(*words, "--help").exit_code == 0, line


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
)
def test_the_commands_of_the_docs_have_options_that_there_are(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^    (?:.* -m )?celebattr ([a-z]+ [^#|\n]*)", text, re.MULTILINE):
        assert run(*shlex.split(line), "--help").exit_code == 0, line


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--loss", "hinge"),
        ("predict", "x.jpg", "--speed", "quick"),
        ("doctor", "--format", "yaml"),
        ("pack", "--data", "drawn", "--output", "x", "--format", "zip"),
    ],
    ids=lambda words: words[0],
)
def test_a_value_that_is_no_choice_is_answered_with_the_choices(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert f"{words[-2]} {words[-1]!r} is not one of" in result.stderr


def test_earlier_names_of_options_still_work(tmp_path: Path) -> None:
    data = write_celeba(tmp_path / "data", train=8, validation=4, test=4)
    for name in ("--out", "--output"):
        folder = tmp_path / f"shards{name}"
        result = run("pack", "--data", data, name, folder)
        assert (result.exit_code, result.stdout) == (0, f"{folder}\n"), result.output
    findings = [run("doctor", "--data", data, *w) for w in (("--json",), ("--format", "json"))]
    assert findings[0].stdout == findings[1].stdout
    assert json.loads(findings[0].stdout)["trains"]
    page = run("train", "--help").stdout + run("doctor", "--help").stdout
    assert not {"--out", "--json", "--sheet"} & set(re.findall(r"--[a-z-]+", page))


def test_a_run_folder_of_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    data, folder = write_celeba(tmp_path / "data", train=8, validation=4, test=4), tmp_path / "run"
    recipe = ("--arch", "linear", "--image-size", "32x32", "--device", "cpu", "--data", data)
    assert run("train", *recipe, "--epochs", "2", "--out", folder).exit_code == 0
    config = json.loads((folder / "config.json").read_text())
    config["out"] = config.pop("output")
    (folder / "config.json").write_text(json.dumps(config))
    # Without --epochs it takes them, and what else was open, from config.json.
    result = run("train", *recipe[:2], *recipe[4:], "--resume", "--output", folder)
    assert result.exit_code == 0, result.output
    assert len((folder / "history.jsonl").read_text().splitlines()) == 2


def test_python_takes_the_same_names_old_and_new(tmp_path: Path) -> None:
    data = write_celeba(tmp_path / "data", train=8, validation=4, test=4)
    assert celebattr.pack(data, out=str(tmp_path / "a")) == tmp_path / "a"
    assert celebattr.pack(data, output=tmp_path / "b") == tmp_path / "b"
    assert TrainConfig(output=Path("x")).output == Path("x")
    with pytest.raises(UsageError, match="--report is part of --labels"):
        celebattr.doctor(data, report="page.html")


def test_a_search_for_wrong_labels_writes_the_same_files_from_python(
    drawn_celeba: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    words = ("--labels", "--data", drawn_celeba, "--weights", tiny_onnx, "--split", "test")
    result = run("doctor", *words, "--output", tmp_path / "a.csv", "--sheet", tmp_path / "a.html")
    assert result.exit_code == 0, result.output
    celebattr.doctor(
        drawn_celeba,
        labels=True,
        weights=tiny_onnx,
        split="test",
        output=tmp_path / "b.csv",
        report=tmp_path / "b.html",
    )
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    for name in ("a.html", "b.html"):
        assert "data:image/jpeg;base64," in (tmp_path / name).read_text("utf-8")
