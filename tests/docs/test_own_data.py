"""docs/own-data.md: its commands make a bundle of whole photos and the page's own spreadsheet."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import pytest
import samples
from typer.testing import CliRunner

from celebattr.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs/own-data.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for line in re.findall(r"^    celebattr (.+)$", PAGE.partition("\n## ")[0], re.MULTILINE)
]
SHEET = re.findall(r"^    (\S+)$", PAGE.partition("## The spreadsheet")[2], re.MULTILINE)
TINY = ("--arch", "cnn", "--epochs", "1", "--batch-size", "8", "--device", "cpu")
COUNT = 24


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's spreadsheet, continued, its photos in `images/`; and a photo in `new/`."""
    first = list(csv.DictReader(SHEET))
    photos = tmp_path / "mine" / "images"
    photos.mkdir(parents=True)
    with (tmp_path / "mine" / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(first[0]))
        table.writeheader()
        for i in range(COUNT):
            # Every second row is one of the page's, of another person each time.
            row = first[i // 2 % len(first)] | {"person": f"p{i}"}
            row["image"] = f"IMG_{i + 1:03}.jpg"
            if i % 2:
                row |= {"Smiling": "0", "Eyeglasses": "0" if row["Eyeglasses"] == "1" else ""}
            table.writerow(row)
            shown = {name for name in ("Smiling", "Eyeglasses") if row[name] == "1"}
            samples.scene(shown, i).save(photos / row["image"], quality=92)
    (tmp_path / "new").mkdir()
    samples.scene({"Smiling"}, COUNT).save(tmp_path / "new" / "a.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_page_lead_from_photos_to_figures(here: Path) -> None:
    assert [words[0] for words in COMMANDS] == ["doctor", "train", "evaluate", "predict"]
    told = {}
    for words in COMMANDS:
        more = TINY if words[0] == "train" else ("--device", "cpu")
        done = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [*words, *more])
        assert done.exit_code == 0, done.output
        told[words[0]] = done
    assert "photos, not aligned crops: the eyes of 0 of " in told["doctor"].stdout
    assert "stretched" not in told["doctor"].stdout
    assert "aligned as in predict: the eyes of 0 of " in told["train"].stderr
    report = json.loads(told["evaluate"].stdout)
    assert (report["images"], report["no_face"], report["faces"]) == (COUNT // 4, 0, "largest")
    assert {row["attribute"] for row in report["attributes"]} == {"Smiling", "Eyeglasses"}
    page = (here / "mine.html").read_text(encoding="utf-8")
    assert "<h1>cnn-mine</h1>" in page  # architecture and run: every bundle is best.safetensors
    assert "best.safetensors" not in re.sub(r"<[^>]*>", "", page)
    (row,) = csv.DictReader((here / "new.csv").read_text(encoding="utf-8").splitlines())
    assert (row["status"], row["faces"]) == ("ok", "1")
    assert 0 < float(row["Smiling"]) < 1
