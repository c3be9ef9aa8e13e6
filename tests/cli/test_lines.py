"""A list through the whole program, with the shipped bundle: a row a line, and nothing ends it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from celebattr.data import synthetic

LINES = [
    "a.png",
    "file:///dev/zero",
    "FILE:///dev/../dev/zero",
    "reference://k.jpg::file:///etc/passwd",
    "zip://a.jpg::http://127.0.0.1:9/a.zip",
    "foo://x.jpg",
    "github://a:b@c/d.jpg",
    "sftp://user:secret@127.0.0.1/x.jpg",
    "smb://127.0.0.1/x.jpg",
    "hf://x/y/z.jpg",
    "git://x.jpg",
    "data://x",
    "s3://[/x.jpg",
    "/proc/kmsg",
    ".",
    "*",
    "b.jpg::c.jpg",
    "file://HERE/b.jpg::c.jpg",
]


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    for name in ("a.png", "b.jpg::c.jpg"):
        synthetic.draw_face({"Smiling"}, np.random.default_rng(0)).save(tmp_path / name, "PNG")
    os.mkfifo(tmp_path / "a.fifo")
    return [*(line.replace("HERE", str(tmp_path)) for line in LINES), f"file://{tmp_path}/a.fifo"]


def predict(folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celebattr", "predict", *words, "--faces", "none"],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_line_has_its_row_and_the_run_ends_well(lines: list[str], tmp_path: Path) -> None:
    done = predict(tmp_path, "-", stdin="\n".join(lines))
    assert done.returncode == 6, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["path"] for row in rows] == lines
    good = [row["path"] for row in rows if row["status"] == "ok"]
    assert good == ["a.png", "b.jpg::c.jpg", f"file://{tmp_path}/b.jpg::c.jpg"]
    assert {row["status"] for row in rows} == {"ok", "not_found", "unreadable"}
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr + "".join(row["error"] or "" for row in rows)

    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *([line] for line in lines)])
    for words in (["list.csv"], ["list.csv", "--resume"]):
        done = predict(tmp_path, *words, "--output", "rows.jsonl")
        assert done.returncode == 6, done.stderr
        written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
        assert [(row["path"], row["status"]) for row in written] == [
            (row["path"], row["status"]) for row in rows
        ]


def test_a_protocol_is_allowed_by_an_option(tmp_path: Path) -> None:
    line = "memory://nothing/x.jpg"
    for words, error in (
        ([], f"{line}: memory:// is not opened (see --allow-protocol)"),
        (["--allow-protocol", "sftp", "--allow-protocol", "memory"], f"{line}: no such file"),
    ):
        done = predict(tmp_path, "-", *words, stdin=line)
        assert done.returncode == 6, done.stderr
        assert json.loads(done.stdout)["error"] == error
    done = predict(tmp_path, "-", "--allow-protocol", "zip", stdin=line)
    assert done.returncode == 2
    assert "zip" in done.stderr and "never opened" in done.stderr
