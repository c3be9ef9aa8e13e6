"""The notebooks of docs run from beginning to end, and hold what they made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COURSE = ROOT / "docs/course/notebook.ipynb"
PHOTOS = ROOT / "docs/notebooks/photos.ipynb"
SECONDS = 300
"""Time of a processor that a notebook may take, its kernel included."""

RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=1800).execute()
nbformat.write(notebook, sys.argv[2])
"""


def run(notebook: Path, folder: Path) -> list[dict[str, Any]]:
    """The cells of a notebook after it ran in `folder`, in a kernel of its own."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    out = folder / "out.ipynb"
    before = os.times()
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(notebook), str(out)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    after = os.times()
    used = after.children_user + after.children_system
    assert used - before.children_user - before.children_system < SECONDS
    cells: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))["cells"]
    return cells


def printed(cells: list[dict[str, Any]]) -> str:
    """All text of the outputs."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    return "\n".join("".join(text) for text in texts)


@pytest.mark.long
def test_the_courses_notebook_teaches_what_it_says(tmp_path: Path) -> None:
    shutil.copy(COURSE.with_name("equations.py"), tmp_path)
    cells = run(COURSE, tmp_path)
    text = printed(cells)
    for loss in ("0.0004", "0.0031", "0.3758", "0.1870"):  # the lecture's four
        assert f"loss {loss}" in text
    titles = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert titles.count("### Solution") == 3


@pytest.mark.long
def test_the_journalists_notebook_makes_a_table_and_charts(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    cells = run(PHOTOS, tmp_path)
    text = printed(cells)
    assert "broken.jpg" in text
    assert "unreadable" in text
    pictures = [o for c in cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 4
    excel = (tmp_path / "for-excel.csv").read_bytes()
    assert excel.startswith(b"\xef\xbb\xbfphoto,present,unsure,")
    assert len(excel.splitlines()) == 6  # the header, and the five faces that are in the pictures


@pytest.mark.parametrize("notebook", [COURSE, PHOTOS], ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_its_outputs_and_no_trace_of_a_machine(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    text = printed(cells)
    assert text
    assert not [
        word for word in ("Traceback", "Error", "/tmp/", "/home/", "/root/") if word in text
    ]
