"""Standard streams that are closed, full, cut off or of another encoding, in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from samples import config

from celebattr.data.synthetic import draw_face

REDIRECTIONS = {
    "input closed": "<&-",
    "output closed": ">&-",
    "error closed": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "output full": "> /dev/full",
    "error full": "2> /dev/full",
    "both full": "> /dev/full 2>&1",
    "reader gone": "| head -c 1",
}
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
    *((command, how) for how in REDIRECTIONS for command in ("--version", list(COMMANDS)[5])),
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


@pytest.mark.long
@pytest.mark.parametrize("how", REDIRECTIONS)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_stream_ends_in_a_traceback_with_any_command(
    command: str, how: str, place: Path, request: pytest.FixtureRequest
) -> None:
    if (command, how) not in SHORT:
        check(command, how, place, f"{abs(hash(request.node.name))}")
