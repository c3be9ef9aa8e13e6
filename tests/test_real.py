"""What the shipped bundle does on real photos, from the command line."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from celebattr.cli.app import app

pytestmark = pytest.mark.celeba

FLOOR = 0.7975  # always answering what most training images have


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def evaluated(real_data: Path, *options: str) -> dict[str, Any]:
    """The default bundle on the aligned test split."""
    result = run("evaluate", "--data", real_data / "celeba", "--split", "test", *options)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.fixture(scope="module")
def aligned(real_data: Path) -> dict[str, Any]:
    return evaluated(real_data)


@pytest.fixture(scope="module")
def rows(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of every photo in `photos` and `wild`."""
    output = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    result = run("predict", real_data / "photos", real_data / "wild", "--output", output)
    assert result.exit_code == 6  # some photos have no face
    assert "Traceback" not in result.output
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_the_default_bundle_is_about_as_right_on_some_images(real_data: Path) -> None:
    some = evaluated(real_data, "--limit", "400")
    assert some["images"] == 400
    assert some["mean_attribute_accuracy"] >= 0.89


@pytest.mark.long
def test_the_default_bundle_is_right_in_90_percent(aligned: dict[str, Any]) -> None:
    assert aligned["images"] == 4_548
    assert aligned["mean_attribute_accuracy"] >= 0.90
    assert aligned["mean_attribute_accuracy"] > FLOOR + 0.1
    assert aligned["mean_average_precision"] > 0.7


@pytest.mark.long
def test_the_fast_bundle_is_at_most_a_point_less_accurate(
    aligned: dict[str, Any], real_data: Path
) -> None:
    fast = evaluated(real_data, "--weights", "fast")["mean_attribute_accuracy"]
    assert fast > aligned["mean_attribute_accuracy"] - 0.01


def test_every_photo_gives_one_row(rows: list[dict[str, Any]], real_data: Path) -> None:
    suffixes = {".jpg", ".jpeg", ".png"}
    photos = [
        str(p)
        for folder in ("photos", "wild")
        for p in (real_data / folder).rglob("*")
        if p.suffix.lower() in suffixes
    ]
    assert Counter(row["path"] for row in rows) == Counter(photos)
    assert {row["status"] for row in rows} == {"ok", "no_face"}


def test_a_face_is_found_in_photos_of_people_and_hardly_elsewhere(
    rows: list[dict[str, Any]],
) -> None:
    status: dict[str, Counter[str]] = {}
    for row in rows:
        status.setdefault(Path(row["path"]).parent.name, Counter())[row["status"]] += 1
    assert status["wild"]["ok"] >= 0.98 * 240
    assert status["single"]["no_face"] == 0
    assert status["groups"]["no_face"] == 0
    assert status["no_face"]["no_face"] >= 5  # of 6; one dog looks like somebody


@pytest.mark.long
def test_photos_lose_little_against_aligned_images(
    rows: list[dict[str, Any]], aligned: dict[str, Any], real_data: Path
) -> None:
    with (real_data / "wild/labels.csv").open(newline="") as file:
        truth = {row.pop("image_id"): row for row in csv.DictReader(file)}
    right = total = 0
    for row in rows:
        labels = truth.get(Path(row["path"]).name)
        if labels is None or row["status"] != "ok":
            continue
        right += sum((name in row["present"]) == (labels[name] == "1") for name in labels)
        total += len(labels)
    assert total >= 40 * 0.98 * 240
    assert right / total >= aligned["mean_attribute_accuracy"] - 0.015
