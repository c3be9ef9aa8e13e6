from __future__ import annotations

import json
from pathlib import Path

import pytest
from layouts import write_celeba
from typer.testing import CliRunner, Result

from celebattr.cli.app import app


def run(*arguments: str | Path, columns: int = 100, env: dict[str, str] | None = None) -> Result:
    environment = {"COLUMNS": str(columns), "NO_COLOR": "1", "CELEBATTR_DATA": ""} | (env or {})
    return CliRunner(env=environment).invoke(app, ["doctor", *map(str, arguments)])


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write_celeba(tmp_path / "whole", train=6, validation=3, test=3)


def test_a_whole_data_set_ends_with_0(whole: Path) -> None:
    result = run("--data", whole, columns=300)
    assert result.exit_code == 0, result.output
    assert "CelebA official, zipped" in result.stdout
    assert "  train             6 images" in result.stdout
    assert "ok      all 12 images that were opened can be read" in result.stdout
    assert "Training would start: " in result.stdout
    assert "; 12 images opened." in result.stdout


def test_a_data_set_that_cannot_be_trained_on_ends_with_3(whole: Path) -> None:
    (whole / "Img/img_align_celeba.zip").write_text("<!DOCTYPE html>quota")
    result = run("--data", whole)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert lines[0] == f"{whole}  cannot be read"
    assert "problem img_align_celeba.zip is a web page" in lines[1]
    assert any("→ Delete it, and download it tomorrow" in line for line in lines)
    assert lines[-1].startswith("Training would fail: 1 problem")
    assert result.stderr == ""


def test_the_gravest_findings_come_first(whole: Path) -> None:
    path = whole / "Anno/list_attr_celeba.txt"
    path.write_text("\n".join(["99", *path.read_text().splitlines()[1:]]))
    words = [line.split()[0] for line in run("--data", whole).stdout.splitlines() if line.strip()]
    marks = [word for word in words if word in ("ok", "note", "warning")]
    assert marks == sorted(marks, key=("warning", "note", "ok").index)
    assert marks[0] == "warning"


def test_json_holds_every_finding(whole: Path) -> None:
    result = run("--data", whole, "--format", "json", "--limit", "4")
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (report["schema"], report["trains"], report["images_opened"]) == (1, True, 4)
    assert [s["images"] for s in report["folders"][0]["splits"]] == [6, 3, 3]
    assert set(report["findings"][0]) == {
        *("severity", "check", "where", "what", "remedy", "examples")
    }
    assert 0 <= report["folders"][0]["splits"][0]["prevalence"]["Smiling"] <= 1
    broken = run("--data", whole / "nowhere", "--format", "json")
    assert broken.exit_code == 3
    assert json.loads(broken.stdout)["folders"][0]["layout"] is None


def test_quick_opens_no_image(whole: Path) -> None:
    report = json.loads(run("--data", whole, "--quick", "--format", "json").stdout)
    assert report["images_opened"] == 0
    assert "unreadable images" not in {f["check"] for f in report["findings"]}


def test_folders_are_looked_at_together_too(whole: Path, tmp_path: Path) -> None:
    other = write_celeba(tmp_path / "other", train=6, validation=3, test=3)
    result = run("--data", whole, "--data", other)
    assert "all folders together" in result.stdout
    assert "12 images in two folders" in result.stdout


def test_the_folder_may_come_from_the_environment(whole: Path) -> None:
    assert run("--quick", env={"CELEBATTR_DATA": str(whole)}).exit_code == 0
    result = run()
    assert result.exit_code == 2
    assert "give --data DIR or set CELEBATTR_DATA" in result.stderr


def test_drawn_faces_are_whole() -> None:
    result = run("--data", "drawn", "--limit", "30")
    assert result.exit_code == 0
    assert "all 30 images that were opened can be read" in result.stdout


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_no_line_is_wider_than_the_terminal(whole: Path, columns: int) -> None:
    (whole / "Img/img_align_celeba.zip").write_text("<!DOCTYPE html>quota")
    for line in run("--data", whole, columns=columns).stdout.splitlines()[1:]:
        assert len(line.rstrip()) <= columns


def test_names_send_no_codes_to_the_terminal(whole: Path) -> None:
    path = whole / "Eval/list_eval_partition.txt"
    path.write_text(path.read_text() + "\x1b[31m.jpg 0\n")
    (whole / "bad\x1b[31m.zip").write_text("<html>")
    assert "\x1b" not in run("--data", whole).stdout
