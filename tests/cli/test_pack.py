"""`celebattr pack`, and what train and evaluate make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from celebattr.cli.app import app
from celebattr.data.image_stores import Zip


def run(*arguments: str | Path) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "CELEBATTR_DATA": ""}
    return CliRunner(env=environment).invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--output", "x"], "no data: give --data DIR or set CELEBATTR_DATA"),
        (["--data", "drawn"], "give --output, a folder or URL"),
        (["--data", "drawn", "--format", "cache", "--output", "s3://b/x"], "it must be on a disk"),
        (["--data", "drawn", "--output", "x", "--shard-size", "0"], "--shard-size 0 is outside"),
    ],
)
def test_what_is_missing_is_a_usage_error(words: list[str], why: str) -> None:
    result = run("pack", *words)
    assert result.exit_code == 2
    assert why in result.stderr


def test_a_folder_that_cannot_be_made_is_a_data_error(drawn_celeba: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for format in ("webdataset", "cache"):
        result = run(
            *("pack", "--data", drawn_celeba, "--format", format),
            *("--output", tmp_path / "file" / "out"),
        )
        assert result.exit_code == 3
        assert "cannot write" in result.stderr


def test_packed_pixels_are_what_train_and_evaluate_read(
    drawn_celeba: Path,
    tiny_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "cache"
    data = ("--data", drawn_celeba)
    monkeypatch.setenv("CELEBATTR_CACHE", str(folder))
    result = run("pack", *data, "--format", "cache")
    assert (result.exit_code, result.stdout) == (0, f"{folder}\n")
    assert "112 images, 13.0 MB" in result.stderr
    assert (folder / "CACHEDIR.TAG").is_file()
    words = ("evaluate", *data, "--weights", tiny_onnx, "--format", "json", "--cache", "disk")
    words = (*words, "--faces", "none")  # auto would look at some
    (tmp_path / "file").write_text("")
    plain = run(*words, "--cache-folder", tmp_path / "file" / "c")
    assert "cache off: cannot write" in caplog.text

    def refuse(self: Zip, name: str) -> Any:
        raise AssertionError(f"{name} is read")

    monkeypatch.setattr(Zip, "read", refuse)
    result = run(*words, "--cache-folder", folder)
    assert result.exit_code == 0, result.output
    ours, theirs = (json.loads(one.stdout) | {"images_per_second": 0} for one in (result, plain))
    assert ours == theirs
    result = CliRunner(env={"NO_COLOR": "1"}).invoke(
        app,
        [
            *("train", *map(str, data), "--output", str(tmp_path / "run"), "--arch", "linear"),
            *("--epochs", "1", "--image-size", "32x32", "--device", "cpu", "--faces", "none"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert f"cache      disk, {folder}, 112 images are there" in result.stderr.replace("\n", " ")
