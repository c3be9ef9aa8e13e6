"""What a command loads and starts: modules by room and processes by number, so no clock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from celebattr.data.synthetic import draw_face

RUN = """
import json, subprocess, sys

count = 0
start = subprocess.Popen.__init__

def counted(self, *arguments, **options):
    global count
    count += 1
    start(self, *arguments, **options)

subprocess.Popen.__init__ = counted
sys.argv[0] = "celebattr"
from celebattr import __main__ as program

program._leave = lambda end: None
program.main()
modules = [name for name in sys.modules if name.startswith("celebattr.")]
print(json.dumps([count, modules]), file=sys.stderr)
"""


def run(*arguments: str | Path) -> tuple[int, set[str]]:
    """Processes that a command starts, and the modules of celebattr that it loads itself."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, modules = json.loads(done.stderr.splitlines()[-1])
    return count, {name.removeprefix("celebattr.") for name in modules}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for i in range(24):
        draw_face({"Smiling"}, rng).save(folder / f"{i:02}.jpg")
    return folder


def test_the_version_takes_five_modules_and_no_process() -> None:
    modules = {"__main__", "cli", "cli.app", "cli.streams", "constants", "errors"}
    assert run("--version") == (0, modules)


def test_one_photo_takes_one_process_which_starts_before_the_options_are_read(faces: Path) -> None:
    count, modules = run("predict", faces / "00.jpg")
    assert count == 1
    assert len(modules) <= 36


def test_a_folder_takes_a_process_per_worker(faces: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    count, modules = run(
        "predict", faces, "--weights", tiny_onnx, "--workers", "2", "--output", output
    )
    assert 1 <= count <= 2
    assert len(output.read_text().splitlines()) == 24
    modules -= {"models", "models.device", "models.weights"}  # which import nothing heavy
    rooms = {name.partition(".")[0] for name in modules}
    assert not rooms & {
        "data",
        "diagnosis",
        "evaluation",
        "images",
        "models",
        "reports",
        "training",
    }
