"""The snippets of docs/scale.md for other engines, run as they stand there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from celebattr.data import synthetic
from celebattr.inference.scorer import Scorer

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("engine", ["dask", "spark"])
def test_a_snippet_gives_the_rows_of_one_machine(engine: str, tmp_path: Path) -> None:
    package = {"dask": "dask", "spark": "pyspark"}[engine]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if engine == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    page = (ROOT / "docs" / "scale.md").read_text()
    (code,) = re.findall(rf"```python\n(# {engine}: .*?)```", page, re.DOTALL)
    (tmp_path / "snippet.py").write_text(code)
    rng = np.random.default_rng(0)
    names = [str(tmp_path / f"{number}.png") for number in range(5)]
    for name in names[:3]:
        synthetic.draw_face({"Smiling"}, rng).save(name)
    Path(names[3]).write_bytes(b"no image")
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in names))
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [sys.executable, "snippet.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    files = sorted(file for file in (tmp_path / "rows").iterdir() if file.name[0] not in "._")
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    with Scorer() as scorer:
        expected = [row for found in scorer.rows(names) for row in found]
    assert sorted(rows, key=lambda row: row["path"]) == expected
    assert [row["status"] for row in expected] == ["ok", "ok", "ok", "unreadable", "not_found"]
