from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from celebattr.errors import MissingExtraError
from celebattr.training.curves import curves

ROW: dict[str, Any] = {
    "epoch": 1,
    "step": 270,
    "train_loss": 0.31,
    "validation_loss": 0.25,
    "validation_mean_attribute_accuracy": 0.89,
    "validation_mean_average_precision": 0.71,
    "lr": 0.0003,
}


def test_the_picture_has_its_size_and_something_in_it(tmp_path: Path) -> None:
    curves([ROW, {**ROW, "epoch": 2, "train_loss": 0.2}], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1200, 800)
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    assert len(colours) > 20


def test_missing_and_undefined_values_leave_a_gap(tmp_path: Path) -> None:
    rows = [
        ROW,
        {"epoch": 2, "train_loss": float("nan"), "validation_mean_average_precision": None},
    ]
    curves(rows, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").exists()


def test_an_empty_history_gives_no_picture(tmp_path: Path) -> None:
    curves([], tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib.*celebattr\[train\]"):
        curves([ROW], tmp_path / "curves.png")


def test_reports_import_neither_matplotlib_nor_pillow_nor_torch() -> None:
    code = (
        "import sys, celebattr.training.curves, celebattr.inference.draw.annotate, "
        "celebattr.inference.output.writers, celebattr.evaluation.writers; "
        "print({'matplotlib', 'PIL', 'torch', 'numpy', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
