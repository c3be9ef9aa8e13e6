"""The constants of docs/scale.md: processor time per photo and core, step by step.

    python benchmarks/constants.py ALIGNED PHOTOS [LARGE]

Folders of aligned 178x218 JPEGs, of un-cropped photos, and of large ones. Processor time of this
process alone, with one thread per library (OMP_NUM_THREADS=1); other work of the machine is left
out.
"""

from __future__ import annotations

import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from celebattr.attributes import CELEBA
from celebattr.inference.config import PredictConfig
from celebattr.inference.faces import Prepared, Preparer
from celebattr.inference.inputs.expand import expand
from celebattr.inference.inputs.source import Input
from celebattr.inference.output import parquet
from celebattr.inference.predictor import Predictor
from celebattr.inference.ray import plan
from celebattr.io.folder import folder_at

LIMIT = 500  # photos of a folder


def cpu(what: Callable[[], object], count: int) -> float:
    """Return milliseconds of processor time per item."""
    start = time.process_time()
    what()
    return 1000 * (time.process_time() - start) / count


def photos(folder: str) -> list[Input]:
    """Return up to `LIMIT` photos of a folder, their bytes in memory."""
    found = itertools.islice(expand([folder]), LIMIT)
    return [Input(item.path, data=Path(item.path).read_bytes()) for item in found]


def varied(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return `count` different rows, since repeated ones would compress away."""
    chance = np.random.default_rng(0)
    made = []
    for number, row in zip(range(count), itertools.cycle(rows), strict=False):
        chances = {}
        for name, p in (row["probabilities"] or {}).items():
            logit = np.log((p + 1e-4) / (1 - p + 1e-4)) + chance.normal(0, 0.5)
            chances[name] = round(float(1 / (1 + np.exp(-logit))), 4)
        path = f"/photos/2026/{number:09}.jpg"
        made.append(row | {"path": path, "probabilities": chances or None})
    return made


def main() -> None:
    """Print the constants."""
    predictor = Predictor(PredictConfig())
    preparer = Preparer("largest")
    aligned: list[Prepared] = []
    for folder in sys.argv[1:]:
        items = photos(folder)
        preparer(items[0])
        size = np.mean([len(item.data or b"") for item in items])
        done: list[Prepared] = []

        def prepare(items: Iterable[Input] = items, done: list[Prepared] = done) -> None:
            done.extend(preparer(item) for item in items)

        spent = cpu(prepare, len(items))
        aligned = aligned or done
        print(f"{folder}: n {len(items)}, {size:,.0f} bytes, decode, find and align {spent:.2f} ms")

    predictor.finish(aligned[:16])
    batches = [aligned[at : at + 16] for at in range(0, len(aligned), 16)]
    results = []
    spent = cpu(lambda: results.extend(predictor.finish(b) for b in batches), len(aligned))
    print(f"network and decisions: {spent:.2f} ms a face")
    rows = [result.row() for batch in results for found in batch for result in found]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.parquet")
        many = varied(rows, 10_240)
        for name, some in (("1,024", many[:1024]), ("10,240", many)):

            def write(some: list[object] = some) -> None:  # type: ignore[assignment]
                parquet.write(file, some, CELEBA, "{}")  # type: ignore[arg-type]

            write(some[:10])  # imports pyarrow
            spent = cpu(write, len(some))
            size = file.stat().st_size / len(some)
            print(f"Parquet, parts of {name} rows: {spent:.3f} ms and {size:.0f} bytes a row")
        text = [json.dumps(row) for row in rows]
        print(f"JSON lines: {np.mean([len(line) + 1 for line in text]):.0f} bytes a row")
        names = (f"/photos/{number:09}.jpg" for number in range(200_000))
        place = folder_at(folder)
        spent = cpu(lambda: plan.write(place, map(Input, names), 1024), 200_000)
        size = sum(file.stat().st_size for file in Path(folder, "plan").iterdir()) / 200_000
        print(f"plan: {1000 * spent:.1f} us and {size:.0f} bytes an input")
        listing = io.StringIO("path\n" + "".join(f"/p/{n:09}.jpg\n" for n in range(200_000)))
        Path(folder, "list.csv").write_text(listing.getvalue())
        csv = [str(Path(folder, "list.csv"))]
        spent = cpu(lambda: sum(1 for _ in expand(csv)), 200_000)
        print(f"reading a list: {1000 * spent:.1f} us an input")


if __name__ == "__main__":
    main()
