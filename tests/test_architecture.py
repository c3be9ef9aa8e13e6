"""Imports go down the table of ARCHITECTURE.md, and heavy ones wait until they are used.

The contracts stand in pyproject.toml under `tool.importlinter`. They see every import, those
inside functions too; what a module imports at once is seen here, in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from celebattr.data.synthetic import draw_face

ROOT = Path(__file__).parents[1]
HEAVY = {"PIL", "cv2", "matplotlib", "numpy", "onnxruntime", "safetensors", "torch", "torchvision"}
TORCH = {"torch", "torchmetrics", "torchvision"}


def loaded(code: str) -> set[str]:
    """Top-level packages that a fresh Python has loaded after running `code`."""
    report = "\nimport sys; print('\\nLOADED', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED ")[2].split())


def test_imports_go_down_the_table_only() -> None:
    code = (
        "from importlinter.cli import lint_imports as lint; raise SystemExit(lint(no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "attributes",
        "constants",
        "errors",
        "options",
        "predictions",
        "diagnosis.config",
        "evaluation.config",
        "evaluation.report",
        "inference.config",
        "inference.inputs.source",
        "inference.output.manifest",
        "inference.pool.pool",
        "io.storage",
        "models.device",
        "models.weights",
        "training.config",
    ],
)
def test_what_a_command_line_needs_loads_the_standard_library_only(module: str) -> None:
    assert not loaded(f"import celebattr.{module}") & HEAVY


@pytest.mark.parametrize(
    "module",
    [
        "data.layouts.load",
        "data.loader",
        "diagnosis.examine",
        "diagnosis.labels.search",
        "evaluation.calibration",
        "evaluation.consistency",
        "evaluation.corruptions",
        "evaluation.examples",
        "evaluation.model_card",
        "inference.draw.annotate",
        "inference.output.writers",
        "inference.predictor",
        "inference.scorer",
        "models.bundle",
        "models.decisions",
        "models.registry",
        "training.curves",
    ],
)
def test_torch_and_cv2_wait_until_they_are_used(module: str) -> None:
    assert not loaded(f"import celebattr.{module}") & (TORCH | {"cv2", "matplotlib"})


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["predict", "--help"], ["train", "--help"]], ids=" ".join
)
def test_help_loads_nothing_heavy(argv: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['celebattr', *{argv!r}]\n"
        "from celebattr.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    )
    assert not loaded(code) & HEAVY


def test_a_process_that_has_its_photos_scored_in_others_needs_nothing_heavy(
    tmp_path: Path, tiny_onnx: Path
) -> None:
    photo = tmp_path / "photo.png"
    draw_face({"Smiling"}, np.random.default_rng(0)).save(photo)
    argv = ["celebattr", "predict", "--weights", str(tiny_onnx), str(photo)]
    code = (
        f"import sys; sys.argv = {argv!r}\n"
        "from celebattr.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    )
    assert not loaded(code) & HEAVY
