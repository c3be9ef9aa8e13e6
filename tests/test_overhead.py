"""What celebattr adds around the network, counted in calls: no clock, so no noise.

Counted are calls of celebattr's own functions and the calls out of them, which do not depend on
the versions of libraries. A figure that changes by more than a fifth fails, in either direction:
where it fell, write the lower one here, so that it stays.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celebattr.data.synthetic import draw_face
from celebattr.inference.faces import Preparer
from celebattr.inference.inputs.source import Input

CALLS_AN_IMAGE_SCORED = 121
"""In the main process of `celebattr predict FOLDER --output FILE`: listing, sending, rows."""

CALLS_AN_IMAGE_OPENED = 95
"""In the process that opens photos, an aligned JPEG."""

CALLS_AT_START = 31
"""Of `celebattr --version`."""

MODULES_AT_START = 4
"""Modules of celebattr that `celebattr --version` loads."""

COUNT = """
import os, sys, threading
import celebattr
root = os.path.dirname(celebattr.__file__)
count = 0
comprehensions = ("<listcomp>", "<dictcomp>", "<setcomp>")  # no calls from Python 3.12 on
def profile(frame, event, argument):
    global count
    code = frame.f_code
    if not code.co_filename.startswith(root):
        return
    count += event == "c_call" or (event == "call" and code.co_name not in comprehensions)
threading.setprofile(profile)
sys.setprofile(profile)
from celebattr.cli.app import main
sys.argv[0] = "celebattr"
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
sys.setprofile(None)
print(count, sum(name.startswith("celebattr") for name in sys.modules), file=sys.stderr)
"""


def calls(*arguments: str | Path) -> tuple[int, int]:
    """Calls in a run of the command line, and the modules of celebattr that it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, modules = done.stderr.splitlines()[-1].split()
    return int(count), int(modules)


def faces(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        draw_face({"Smiling"}, rng).save(folder / f"{i:03}.jpg")
    return folder


def test_starting_takes_no_more_calls_and_modules_than_it_did() -> None:
    count, modules = calls("--version")
    assert count == pytest.approx(CALLS_AT_START, rel=0.2)
    assert modules == pytest.approx(MODULES_AT_START, rel=0.2)


def test_an_image_scored_takes_no_more_calls_than_it_did(tmp_path: Path, tiny_onnx: Path) -> None:
    few, many = faces(tmp_path / "few", 32), faces(tmp_path / "many", 96)
    options = ("--weights", tiny_onnx, "--batch-size", "16", "--workers", "2", "--output")
    counts = [calls("predict", f, *options, f.with_suffix(".jsonl"))[0] for f in (few, many)]
    assert (counts[1] - counts[0]) / 64 == pytest.approx(CALLS_AN_IMAGE_SCORED, rel=0.2)


def test_an_image_opened_takes_no_more_calls_than_it_did(tmp_path: Path) -> None:
    photos = sorted(faces(tmp_path / "photos", 9).iterdir())
    preparer = Preparer("largest")
    scope: dict[str, Any] = {}
    exec(COUNT.split("threading.setprofile")[0], scope)
    preparer(Input(str(photos[0])))  # what the first one loads
    before = sys.getprofile()
    sys.setprofile(scope["profile"])
    try:
        for photo in photos[1:]:
            preparer(Input(str(photo)))
    finally:
        sys.setprofile(before)
    assert scope["count"] / 8 == pytest.approx(CALLS_AN_IMAGE_OPENED, rel=0.2)
