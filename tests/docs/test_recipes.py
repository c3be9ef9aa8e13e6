"""docs/recipes.md: its examples read what celebattr writes."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import celebattr

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
EXAMPLES = {
    title: re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for title, section in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
}
NEEDS = {
    "pandas": ("pandas", "pyarrow"),
    "polars": ("polars",),
    "DuckDB": ("duckdb",),
    "SQLite": ("pandas",),
    "Excel": ("pandas", "openpyxl"),
    "Hugging Face datasets": ("datasets",),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Path) -> Path:
    """A folder with the results of three photos, one of which is none, in three formats."""
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("rows")
    photos = folder / "photos"
    photos.mkdir()
    for name, grey in (("NA.png", 60), ("José.png", 200)):
        Image.fromarray(np.full((218, 178, 3), grey, np.uint8)).save(photos / name)
    (photos / "broken.png").write_text("no picture")
    for suffix in ("csv", "jsonl", "parquet"):
        celebattr.score(
            photos, output=folder / f"rows.{suffix}", weights=tiny_onnx, faces="none", workers=1
        )
    return folder


def test_every_tool_of_the_table_has_examples() -> None:
    assert set(EXAMPLES) == set(NEEDS)
    assert all(EXAMPLES.values())


@pytest.mark.long
@pytest.mark.parametrize("tool", NEEDS)
def test_the_examples_of_a_tool_run(tool: str, rows: Path, tmp_path: Path) -> None:
    for module in NEEDS[tool]:
        pytest.importorskip(module)
    for file in rows.glob("rows.*"):
        shutil.copy(file, tmp_path)
    for example in EXAMPLES[tool]:
        done = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    if tool == "SQLite":
        with contextlib.closing(sqlite3.connect(tmp_path / "faces.db")) as database:
            query = "SELECT count(*), count(DISTINCT path), typeof(max(Smiling)) FROM rows"
            assert database.execute(query).fetchall() == [(3, 3, "real")]
    if tool == "Excel":
        import openpyxl

        sheet = openpyxl.load_workbook(tmp_path / "rows.xlsx").active
        assert sheet.max_row == 4
        assert any("José" in str(cell.value) for row in sheet.iter_rows() for cell in row)


@pytest.mark.long
def test_pandas_takes_no_photo_for_a_missing_value(rows: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(rows / "rows.csv", keep_default_na=False, na_values=[""])
    parquet = pandas.read_parquet(rows / "rows.parquet")
    assert list(table["path"]) == list(parquet["path"])
    assert table["Smiling"].dtype == float
    assert table["status"].tolist().count("ok") == 2
