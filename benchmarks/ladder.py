"""Accuracy against speed: a table for docs/speed.md, and its picture.

    python benchmarks/ladder.py --data CELEBA [--split test] [--out docs/ladder.png] BUNDLE...

Each BUNDLE is ONNX, or safetensors, which is exported to ONNX in float32. The network runs alone
in onnxruntime, crops in memory (peers/model_only.py), all bundles in turn; the first is what the
others are compared with. Intervals are over people.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import ScalarFormatter
from scaling import correct
from speed import HERE, machine, peer, put, run, table

from celebattr.data.layouts.load import load_dataset
from celebattr.evaluation.bootstrap import Resamples, interval
from celebattr.inference.export import export
from celebattr.models import bundle, weights

FRAMES = 512
"""Crops per run, for every bundle: some seconds of the slowest."""


def graph(given: str, place: Path) -> Path:
    """Return the ONNX file of a bundle, exporting it where it is safetensors."""
    source = weights.bundle_file(given)
    if source.suffix == ".onnx":
        return source
    card = bundle.card_of(source)
    target = place / f"{len(list(place.iterdir()))}-{card.name}.onnx"
    export(source, target)
    return target


def main() -> None:
    """Measure the bundles, print the table and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "ladder.png")
    parser.add_argument("bundles", nargs="+")
    asked = parser.parse_args()
    images = load_dataset((asked.data,)).split(asked.split)
    resamples = Resamples.draw(len(images), images.identities_N)
    count_R = resamples.sums(np.ones(len(images)))

    with tempfile.TemporaryDirectory() as temporary:
        files = [graph(given, Path(temporary)) for given in asked.bundles]
        rates: list[list[float]] = [[] for _ in files]
        for _ in range(asked.runs):
            for file, taken in zip(files, rates, strict=True):
                command = [*peer("model_only"), "onnxruntime", str(file), str(FRAMES)]
                taken.append(float(run(command)[1]))
        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        rows = []
        for file, taken in zip(files, rates, strict=True):
            print(f"{file.name}: {' '.join(f'{rate:.0f}' for rate in taken)}/s", file=sys.stderr)
            card, rate = bundle.card_of(file), statistics.median(taken)
            right_N, ap = correct(file, images)
            accuracy = 100.0 * right_N.mean()
            samples_R = 100.0 * resamples.sums(right_N) / count_R
            low, high = interval(samples_R) or (np.nan, np.nan)
            size = "x".join(map(str, card.preprocess["size"]))
            faster = rate / statistics.median(rates[0])
            rows.append(
                f"| {card.arch}, {size}, {card.precision} | {accuracy:.2f} [{low:.2f}, {high:.2f}] "
                f"| {ap:.2f} | {rate:.0f} | {faster:.2f} |"
            )
            axes.errorbar(
                rate,
                accuracy,
                [[accuracy - low], [high - accuracy]],
                fmt="s" if card.precision == "int8" else "o",
                capsize=3,
                label=f"{card.arch}, {size}, {card.precision}",
            )
    head = [f"network alone, {len(images):,} images", "accuracy, %", "mAP, %", "images/s", "faster"]
    text = f"{machine()}; medians of {asked.runs}.\n\n{table(head, rows)}"
    print(text)
    put(HERE.parent / "docs" / "speed.md", "ladder", text)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(ScalarFormatter())
    axes.set_xlabel("images/s")
    axes.set_ylabel(f"mean attribute accuracy on {asked.split}, %")
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.savefig(asked.out, dpi=150)


if __name__ == "__main__":
    main()
