"""The wheel: everything that prediction needs is inside, and it runs from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from celebattr.data import synthetic

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as pip lays it out."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(ROOT)]
    subprocess.run([*pip, *build], check=True, timeout=600)
    (wheel,) = place.glob("celebattr-*.whl")
    site = place / "site"
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, timeout=600
    )
    return site


def test_a_photo_is_predicted_from_any_folder_with_the_weights_inside(
    installed: Path, tmp_path: Path
) -> None:
    synthetic.draw_face({"Smiling"}, np.random.default_rng(0)).save(tmp_path / "photo.png")
    result = subprocess.run(
        [sys.executable, "-m", "celebattr", "predict", "photo.png"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)
    assert (row["path"], row["status"], len(row["probabilities"])) == ("photo.png", "ok", 40)


def test_detector_licences_and_templates_are_inside(installed: Path) -> None:
    names = {p.name for p in installed.rglob("*") if p.is_file()}
    assert {
        "celebattr-resnet50.safetensors",
        "celebattr-resnet50-int8.onnx",
        "celebattr-resnet50slim.safetensors",
        "celebattr-resnet50slim-int8.onnx",
        "face_detection_yunet_2023mar.onnx",
        "face_detection_yunet_2023mar.LICENSE",
        "LICENSE",
        "base.html",
        "evaluation.html",
        "training.html",
        "parts.html",
        "page.css",
        "page.js",
    } <= names
    (metadata,) = installed.glob("celebattr-*.dist-info/METADATA")
    terms = "License-Expression: MIT AND LicenseRef-CelebA-NonCommercial\n"
    assert terms in metadata.read_text(
        encoding="utf-8"
    )  # the weights are not under the MIT licence


def test_the_wheel_may_be_uploaded_to_pypi(installed: Path) -> None:
    (wheel,) = installed.parent.glob("celebattr-*.whl")
    assert wheel.stat().st_size < 100 * 1024**2


def test_the_demo_needs_no_file(installed: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "celebattr", "demo"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Smiling" in result.stdout
    assert (tmp_path / "demo/annotated.jpg").is_file()
