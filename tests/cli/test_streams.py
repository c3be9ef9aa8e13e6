"""Standard streams that are closed, full, cut off or of another encoding, in real processes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from samples import config
from typer.testing import CliRunner

from celebattr.cli.app import app
from celebattr.cli.train import Terminal
from celebattr.data.synthetic import draw_face
from celebattr.models import bundle
from celebattr.training import loop
from celebattr.training.config import TrainConfig

REDIRECTIONS = {
    "input closed": "<&-",
    "output closed": ">&-",
    "error closed": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "output full": "> /dev/full",
    "error full": "2> /dev/full",
    "both full": "> /dev/full 2>&1",
    "reader gone": "| head -c 1",
    "nothing": "",
}
HOW = [name for name, redirection in REDIRECTIONS.items() if redirection]
FAIL = {"output closed", "all closed", "output full", "both full"}
"""Redirections under which what was asked for cannot be given."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, drawn_celeba: Path, tiny_onnx: Path) -> Path:
    """A folder with everything that the commands below name."""
    import numpy as np

    folder = tmp_path_factory.mktemp("streams")
    for name in ("a.png", "b.png"):
        draw_face({"Smiling"}, np.random.default_rng(0)).save(folder / name)
    (folder / "data").symlink_to(drawn_celeba)
    (folder / "tiny.onnx").symlink_to(tiny_onnx)
    (folder / "tiny.safetensors").symlink_to(tiny_onnx.with_suffix(".safetensors"))
    return folder


PREDICT = "predict a.png b.png -w tiny.onnx --faces none --workers 1"
TRAIN = " ".join(
    f"--{name.replace('_', '-')} {value}"
    for name, value in vars(config(Path("data"), Path("run"))).items()
    if name in ("arch", "backbone_weights", "batch_size", "limit", "image_size", "device")
)
COMMANDS = {  # with the code when all is well, and whether anything is for standard output
    "--version": (0, True),
    "--help": (0, True),
    "info tiny.onnx": (0, True),
    "info nothing": (4, False),
    f"{PREDICT} --format table": (0, True),
    f"{PREDICT} --format jsonl": (0, True),
    f"{PREDICT} --format json": (0, True),
    f"{PREDICT} --format csv": (0, True),
    f"{PREDICT} --output {{}}.jsonl": (0, False),
    "doctor --data data --quick": (0, True),
    "doctor --data data --quick --format json": (0, True),
    "evaluate --data data -w tiny.onnx --limit 4 --format table": (0, True),
    "evaluate --data data -w tiny.onnx --limit 4 --format json": (0, True),
    "export tiny.safetensors --output {}.onnx": (0, True),
    "pack --data data --limit 4 --output {}": (0, True),
    "align a.png --output {}": (0, True),
    "merge nothing --output {}": (3, False),
    f"train --data data --output {{}} --epochs 1 {TRAIN}": (0, True),
}
SHORT = [
    *((command, how) for how in HOW for command in ("--version", list(COMMANDS)[5])),
    *((command, "output full") for command in (*list(COMMANDS)[1:5], *list(COMMANDS)[8:10])),
    *((command, "error closed") for command in (*list(COMMANDS)[3:5], list(COMMANDS)[8])),
]


def carried_out(command: str, how: str, place: Path, name: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command under a redirection."""
    program = f'"{sys.executable}" -m celebattr {command.format(name)}'
    done = subprocess.run(
        ["bash", "-c", f"{program} {REDIRECTIONS[how]}; exit ${{PIPESTATUS[0]}}"],
        cwd=place,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def check(command: str, how: str, place: Path, name: str) -> None:
    code, writes = COMMANDS[command]
    found, out, err = carried_out(command, how, place, name)
    assert "Traceback" not in out + err, err
    if writes and how in FAIL:
        assert found == 3, err
        assert how != "output full" or "no space left on device. The disk is full" in err
        assert how != "output closed" or "cannot write standard output" in err
        return
    assert found == code, err
    assert bool(out) == writes or how == "reader gone"
    if "--output" in command and command.startswith("predict"):
        assert len((place / f"{name}.jsonl").read_text().splitlines()) == 2
    elif "jsonl" in command and how != "reader gone":
        assert [json.loads(line)["status"] for line in out.splitlines()] == ["ok", "ok"]


@pytest.mark.parametrize(("command", "how"), SHORT)
def test_no_stream_ends_in_a_traceback(
    command: str, how: str, place: Path, request: pytest.FixtureRequest
) -> None:
    check(command, how, place, f"{abs(hash(request.node.name))}")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "cp932"])
@pytest.mark.parametrize("command", ["predict --help", "info tiny.onnx --format text", "info"])
def test_a_terminal_of_another_encoding_shows_everything(
    command: str, encoding: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    found, _, err = carried_out(command, "nothing", place, "x")
    assert (found, err) == (0, "")


def test_no_message_carries_codes_for_a_terminal(place: Path, tmp_path: Path) -> None:
    odd = "\x1b[31mred\x1b]0;title\x07"
    (tmp_path / "list.csv").write_text(f"{odd},b\n1,2\n")
    commands = (
        [odd],
        ["predict", f"--{odd}"],
        ["predict", odd, "-w", odd],
        ["predict", "list.csv", "--column", "c"],
        ["doctor", "--data", odd],
        ["evaluate", "--data", ".", "-w", place / "tiny.onnx"],
    )
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", "celebattr", *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode not in (0, 1), done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert "\x07" not in done.stdout + done.stderr


def test_a_card_carries_no_codes_for_a_terminal(tiny_bundle: Path, tmp_path: Path) -> None:
    weights = tmp_path / "odd.safetensors"
    weights.write_bytes(tiny_bundle.read_bytes())
    card = bundle.card_of(weights)
    odd = "\x1b[31mred"
    bundle.rewrite(weights, replace(card, name=odd, trained_on={"data": odd}, created=odd))
    for format in ("text", "markdown", "json"):
        shown = CliRunner().invoke(app, ["info", str(weights), "--format", format]).stdout
        assert "red" in shown
        assert "\x1b[31" not in shown


def test_workers_live_under_a_limit_of_memory_that_is_lower_than_theirs(place: Path) -> None:
    limited = f"ulimit -v 1500000; {sys.executable} -m celebattr {PREDICT} --format jsonl"
    done = subprocess.run(
        ["bash", "-c", limited],
        cwd=place,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"ok"') == 2


def on_a_terminal(command: str, place: Path, out: str, **env: str) -> str:
    """What a command writes to standard error where that is a terminal."""
    parent, child = pty.openpty()
    with (place / "out").open("wb") as file, os.fdopen(parent, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "celebattr", *command.split()],
            cwd=place,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm"} | env,
            stdin=subprocess.DEVNULL,
            stdout=child if out == "terminal" else file,
            stderr=child if out != "log" else file,
        )
        os.close(child)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while data := screen.read(4096):
                shown += data
        assert process.wait() == 0
    return (shown if out != "log" else (place / "out").read_bytes()).decode()


def test_progress_is_live_on_a_terminal_alone(place: Path) -> None:
    live = "0 failed"
    written = f"{PREDICT} --output live"
    assert live in on_a_terminal(f"{written}1.jsonl", place, "terminal")
    assert live in on_a_terminal(f"{PREDICT} --format csv", place, "file")
    assert live not in on_a_terminal(f"{written}2.jsonl --no-progress", place, "terminal")
    assert live not in on_a_terminal(f"{PREDICT} --format csv", place, "terminal")
    logged = on_a_terminal(f"{written}3.jsonl --progress", place, "log", FORCE_COLOR="1")
    assert live not in logged
    assert "\x1b" not in logged
    assert "2 inputs, 2 faces" in logged


@pytest.mark.parametrize("switch", ["", "--quiet"])
def test_train_can_be_quiet(switch: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(config: TrainConfig, terminal: Terminal) -> Path:
        terminal.notice("an \x1b epoch")
        return config.output

    monkeypatch.setattr(loop, "train", run)
    words = ["train", "--data", str(place / "data"), "--output", "run", *switch.split()]
    done = CliRunner().invoke(app, words)
    assert (done.stdout, done.stderr) == ("run\n", "" if switch else "an \\x1b epoch\n")


@pytest.mark.long
@pytest.mark.parametrize("switch", ["", "--no-progress", "--quiet"])
def test_train_has_the_switches_of_predict(switch: str, place: Path) -> None:
    name = f"run{switch}"
    shown = on_a_terminal(
        f"train --data data --output {name} --epochs 1 {TRAIN} {switch}", place, "file"
    )
    assert ("images/s  -" in shown or "left" in shown) == (not switch)
    assert ("validation loss" in shown) == (switch != "--quiet")


def test_completion_is_of_celebattr_and_not_of_python(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celebattr", "--show-completion", "bash"],
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_CELEBATTR_COMPLETE=complete_bash" in done.stdout
    assert "python" not in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_stream_ends_in_a_traceback_with_any_command(
    command: str, how: str, place: Path, request: pytest.FixtureRequest
) -> None:
    if (command, how) not in SHORT:
        check(command, how, place, f"{abs(hash(request.node.name))}")
