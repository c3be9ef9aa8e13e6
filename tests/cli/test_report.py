"""`evaluate --report` as a user sees it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from celebattr.cli.app import app


def run(*arguments: str | Path) -> Result:
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["evaluate", *map(str, arguments)])


def test_a_page_is_written_beside_the_figures(
    drawn_celeba: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    result = run("--data", drawn_celeba, "--weights", tiny_onnx, "--report", page)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    text = page.read_text("utf-8")
    assert f"{100 * report['mean_attribute_accuracy']:.2f}" in text
    assert text.count("data:image/jpeg") == 24  # 12 hardest, 12 most surely wrong
    assert 'id="curves"' in text
    assert 'id="calibration"' in text
    assert "tiny.onnx" in text
    assert str(drawn_celeba.parent) not in text  # no path of this machine
    assert page.stat().st_size < 5_000_000


def test_pictures_can_be_left_out_and_examples_too(
    drawn_celeba: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    words = ("--data", drawn_celeba, "--weights", tiny_onnx, "--report", tmp_path / "a.html")
    assert run(*words, "--no-thumbnails", "--examples", "2").exit_code == 0
    text = (tmp_path / "a.html").read_text("utf-8")
    assert "data:image" not in text
    assert text.count('class="name"') == 4
    assert run(*words, "--examples", "0").exit_code == 3  # the page exists
    assert run(*words, "--examples", "0", "--overwrite").exit_code == 0
    assert 'id="examples"' not in (tmp_path / "a.html").read_text("utf-8")


def test_another_suffix_is_refused_before_any_work(drawn_celeba: Path, tmp_path: Path) -> None:
    result = run("--data", drawn_celeba, "--report", tmp_path / "report.pdf")
    assert result.exit_code == 2
    assert "name it FILE.html" in result.stderr


def test_without_jinja_the_error_says_what_to_install(
    drawn_celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("celebattr.evaluation.html", "celebattr.reports.page"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = run("--data", drawn_celeba, "--report", tmp_path / "report.html")
    assert result.exit_code == 5
    assert "celebattr[train]" in result.stderr
