"""Accuracy against the number of training images: a table, a chart and two extrapolations.

    python benchmarks/scaling.py --data CELEBA RUN...
    python benchmarks/scaling.py

Writes docs/scaling.csv and draws it as docs/scaling.png; the second command only draws. Each RUN
is the folder of a run that differs from the others in `--train-share` (and in epochs, if so the
recipe has it). Errors of the test images are fitted twice, as a power of the number of images
(Hestness et al., "Deep learning scaling is predictable, empirically", 2017) and as a straight line
in its logarithm, and both are extrapolated to CelebA's 162,770 training images. The intervals come
from resampling people, the same for all runs; that another seed or recipe would give other points
is not in them. Rows of the kind "bundle" are written by hand: what other recipes came to.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray

from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.evaluation.bootstrap import Resamples, interval
from celebattr.evaluation.metrics import summary
from celebattr.evaluation.predict_split import probabilities
from celebattr.models import bundle, decisions
from celebattr.models.backends import open_backend

WHOLE = 162_770
"""Training images of CelebA."""

TABLE = Path(__file__).parent.parent / "docs/scaling.csv"


class Point(NamedTuple):
    """A number of training images and the test accuracy with its interval, in %."""

    kind: str
    name: str
    images: int
    accuracy: float
    low: float
    high: float


def correct(weights: Path, images: FaceDataset) -> tuple[NDArray[np.float64], float]:
    """Return the share of right decisions per image, [N], and the mAP of the split in %."""
    backend = open_backend(str(weights), device="cpu", precision="float32")
    (p_CNA,) = probabilities([backend], images, batch_size=32, workers=1)
    decided_NA = decisions.present(p_CNA[0], np.array(backend.card.thresholds))
    figures = summary(p_CNA[0], images.targets_NA, decided_NA)
    right_N = (decided_NA == images.targets_NA).mean(axis=1)
    return right_N, 100.0 * (figures.mean_average_precision or 0.0)


def power(images_K: NDArray[np.float64], error_KR: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the error at `WHOLE` by a power law of the number of images, [R]."""
    return np.asarray(np.exp(line(images_K, np.log(error_KR))))


def line(images_K: NDArray[np.float64], error_KR: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the error at `WHOLE` by a line in the logarithm of the number of images, [R]."""
    slope_R, start_R = np.polyfit(np.log(images_K), error_KR, 1)
    return np.asarray(start_R + slope_R * np.log(WHOLE))


def score(folder: Path, runs: Sequence[Path]) -> list[Point]:
    """Score runs, print their table and extrapolate."""
    data = load_dataset((folder,))
    validation, test = data.split("validation"), data.split("test")
    resamples = Resamples.draw(len(test), test.identities_N)
    count_R = resamples.sums(np.ones(len(test)))

    rows, images, errors, samples = [], [], [], []
    for run in runs:
        card = bundle.card_of(run / "best.safetensors")
        epochs = json.loads((run / "config.json").read_text())["epochs"]
        number = int(card.trained_on["images"])
        on_validation, ap_validation = correct(run, validation)
        right_N, ap = correct(run, test)
        drawn_R = 100.0 * (1.0 - resamples.sums(right_N) / count_R)
        low, high = interval(100.0 - drawn_R) or (np.nan, np.nan)
        images.append(float(number))
        errors.append(100.0 * (1.0 - right_N.mean()))
        samples.append(drawn_R)
        rows.append(
            f"| {number:,} | {epochs} | {100 * on_validation.mean():.2f} | {ap_validation:.2f} | "
            f"{100 - errors[-1]:.2f} [{low:.2f}, {high:.2f}] | {ap:.2f} |"
        )
        print(rows[-1], flush=True)
    print("\n| training images | epochs | validation accuracy | mAP | test accuracy | mAP |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    print("\n".join(rows), "\n")

    images_K, error_K, error_KR = np.array(images), np.array(errors), np.array(samples)
    points = [
        Point(
            "run",
            "one recipe, 80x64",
            int(n),
            100.0 - e,
            *(interval(100.0 - e_R) or (np.nan, np.nan)),
        )
        for n, e, e_R in zip(images_K, error_K, error_KR, strict=True)
    ]
    for name, fit in (("power law", power), ("straight line", line)):
        there = 100.0 - fit(images_K, error_K[:, None])[0]
        low, high = interval(100.0 - fit(images_K, error_KR)) or (np.nan, np.nan)
        print(f"{name}: {there:.2f} [{low:.2f}, {high:.2f}] % at {WHOLE:,}")
        points.append(Point("extrapolation", name, WHOLE, there, low, high))
    return points


def read_points() -> list[Point]:
    """Return the points of docs/scaling.csv."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [
            Point(row[0], row[1], int(row[2]), *map(float, row[3:]))
            for row in list(csv.reader(file))[1:]
        ]


def draw(points: Sequence[Point]) -> None:
    """Draw accuracy against the number of images as docs/scaling.png."""
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    last = max((p for p in points if p.kind == "run"), key=lambda p: p.images)
    colours = iter(("C0", "C1", "C2", "C3"))
    shown: set[str] = set()
    for point in points:
        colour = "black" if point.kind == "run" else next(colours)
        axes.errorbar(
            point.images,
            point.accuracy,
            [[point.accuracy - point.low], [point.high - point.accuracy]],
            fmt={"run": "o", "extrapolation": "s", "bundle": "D"}[point.kind],
            color=colour,
            capsize=3,
            label=None if point.name in shown else point.name,
        )
        shown.add(point.name)
        if point.kind == "extrapolation":
            ends = [last.images, point.images], [last.accuracy, point.accuracy]
            axes.plot(*ends, "--", color=colour)
    axes.set_xscale("log")
    ticks = sorted({point.images for point in points})
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks], rotation=20)
    axes.minorticks_off()
    axes.set_xlabel("training images")
    axes.set_ylabel("mean attribute accuracy on test, %")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(TABLE.with_suffix(".png"), dpi=150)


def main() -> None:
    """Score the given runs, if any, and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("runs", type=Path, nargs="*")
    asked = parser.parse_args()
    points = read_points()
    if asked.runs:
        points = score(asked.data, asked.runs) + [p for p in points if p.kind == "bundle"]
        with TABLE.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Point._fields)
            writer.writerows((*p[:3], *(f"{v:.2f}" for v in p[3:])) for p in points)
    draw(points)


if __name__ == "__main__":
    main()
