"""Accuracy against the number of training images: a table, a picture, what more may bring.

    python benchmarks/scaling.py --data CELEBA [--out docs/scaling.png] RUN...

Each RUN is the folder of a run that differs from the others in `--train-share` (and in epochs, if
so the recipe has it). Errors of the test images are fitted twice, as a power of the number of
images (Hestness et al., "Deep learning scaling is predictable, empirically", 2017) and as a
straight line in its logarithm, and both are extrapolated to CelebA's 162,770 training images. The
intervals come from drawing people anew, the same for all runs; that another seed or recipe would
give other points is not in them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

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


def correct(weights: Path, images: FaceDataset) -> tuple[NDArray[np.float64], float]:
    """The share of right decisions of each image, [N], and the mAP of the split, in %."""
    backend = open_backend(str(weights), device="cpu", precision="float32")
    (p_CNA,) = probabilities([backend], images, batch_size=32, workers=1)
    decided_NA = decisions.present(p_CNA[0], np.array(backend.card.thresholds))
    figures = summary(p_CNA[0], images.targets_NA, decided_NA)
    right_N = (decided_NA == images.targets_NA).mean(axis=1)
    return right_N, 100.0 * (figures.mean_average_precision or 0.0)


def power(images_K: NDArray[np.float64], error_KR: NDArray[np.float64]) -> NDArray[np.float64]:
    """Error at `WHOLE` if its logarithm falls with that of the number of images, [R]."""
    return np.asarray(np.exp(line(images_K, np.log(error_KR))))


def line(images_K: NDArray[np.float64], error_KR: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a straight line in the logarithm of the number of images gives at `WHOLE`, [R]."""
    slope_R, start_R = np.polyfit(np.log(images_K), error_KR, 1)
    return np.asarray(start_R + slope_R * np.log(WHOLE))


def main() -> None:
    """Scores, prints, draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/scaling.png"))
    parser.add_argument("runs", type=Path, nargs="+")
    asked = parser.parse_args()
    data = load_dataset((asked.data,))
    validation, test = data.split("validation"), data.split("test")
    resamples = Resamples.draw(len(test), test.identities_N)
    count_R = resamples.sums(np.ones(len(test)))

    rows, images, errors, samples = [], [], [], []
    for run in asked.runs:
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
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    bounds = [interval(100.0 - each_R) or (np.nan, np.nan) for each_R in error_KR]
    reach = np.abs(np.array(bounds).T - (100.0 - error_K))
    axes.errorbar(images_K, 100.0 - error_K, reach, fmt="o", color="black", capsize=3)
    for name, fit, colour in (("power law", power, "C0"), ("straight line", line, "C1")):
        there = 100.0 - fit(images_K, error_K[:, None])[0]
        low, high = interval(100.0 - fit(images_K, error_KR)) or (np.nan, np.nan)
        print(f"{name}: {there:.2f} [{low:.2f}, {high:.2f}] % at {WHOLE:,}")
        axes.errorbar(
            WHOLE, there, [[there - low], [high - there]], fmt="s", color=colour, capsize=3
        )
        axes.plot(
            [images_K[-1], WHOLE], [100.0 - error_K[-1], there], "--", color=colour, label=name
        )
    axes.set_xscale("log")
    axes.set_xticks([*images_K, WHOLE], [f"{n:,.0f}" for n in (*images_K, WHOLE)])
    axes.minorticks_off()
    axes.set_xlabel("training images")
    axes.set_ylabel("mean attribute accuracy on test, %")
    axes.legend(title="extrapolated by")
    axes.grid(alpha=0.3)
    figure.savefig(asked.out, dpi=150)


if __name__ == "__main__":
    main()
