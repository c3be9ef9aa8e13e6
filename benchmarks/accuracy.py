"""The tables of docs/accuracy.md: each attribute on test, int8 against float, and thresholds.

    python benchmarks/accuracy.py --data CELEBA --weights BUNDLE.safetensors --int8 BUNDLE.onnx

Thresholds are tuned for accuracy on the validation images and compared with 0.5 on the test
images, to show what such tuning does where the splits differ in how frequent attributes are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebattr.data import loader
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.evaluation import bootstrap, metrics
from celebattr.evaluation.published import PUBLISHED
from celebattr.models import decisions
from celebattr.models.backends import Backend, open_backend

SHIFTED = (
    "Big_Lips",
    "Narrow_Eyes",
    "Wavy_Hair",
    "Wearing_Lipstick",
    "Black_Hair",
    "Brown_Hair",
)
"""Attributes whose share of positives differs most between CelebA's validation and test splits."""


def probabilities(backend: Backend, images: FaceDataset) -> NDArray[np.float32]:
    """Return calibrated probabilities [N, A] of a split."""
    parts = [
        backend.logits(batch.crops_BHWC)
        for batch in loader.batches(images, np.arange(len(images)), batch_size=32, workers=2)
    ]
    card = backend.card
    return decisions.probabilities(np.concatenate(parts), np.array(card.scale), np.array(card.bias))


def tuned(p_NA: NDArray[np.float32], targets_NA: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the threshold of highest accuracy of each attribute, [A]."""
    grid = np.arange(0.2, 0.81, 0.01)
    accuracy_TA = np.stack([((p_NA >= t) == targets_NA).mean(axis=0) for t in grid])
    return np.asarray(grid[accuracy_TA.argmax(axis=0)])


def amplified(backend: Backend, crops_NHWC: NDArray[np.uint8]) -> tuple[float, int]:
    """Change 1 % of the values of each crop by one grey value, up or down.

    Returns:
        The largest change of a probability, and how many decisions change.
    """
    random = np.random.default_rng(0)
    step = random.choice([-1, 0, 1], crops_NHWC.shape, p=[0.005, 0.99, 0.005])
    noisy_NHWC = np.clip(crops_NHWC.astype(np.int16) + step, 0, 255).astype(np.uint8)
    card = backend.card
    before, after = (
        decisions.probabilities(
            np.concatenate([backend.logits(f[i : i + 32]) for i in range(0, len(f), 32)]),
            np.array(card.scale),
            np.array(card.bias),
        )
        for f in (crops_NHWC, noisy_NHWC)
    )
    return float(np.abs(after - before).max()), int(((before >= 0.5) != (after >= 0.5)).sum())


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True, help="a safetensors bundle")
    parser.add_argument("--int8", required=True, help="the same as int8 ONNX")
    arguments = parser.parse_args()
    dataset = load_dataset((arguments.data,))
    validation, test = dataset.split("validation"), dataset.split("test")
    whole = open_backend(arguments.weights, device="cpu", precision="float32")
    p_validation, p_test = probabilities(whole, validation), probabilities(whole, test)
    p_int8 = probabilities(open_backend(arguments.int8), test)

    truth = test.targets_NA
    report = metrics.report(
        p_test,
        truth,
        p_test >= 0.5,
        test.attributes,
        split="test",
        weights=arguments.weights,
        people_N=test.identities_N,
    )
    tables = [one for one in PUBLISHED if one.by_attribute]
    names = " | ".join(one.method for one in tables)
    print(f"| attribute | positives | floor | accuracy | AP | calibration error | {names} |")
    print("| --- |" + " ---: |" * (5 + len(tables)))
    for row in report.attributes:
        low, high = row.intervals["accuracy"] or (np.nan, np.nan)
        others = " | ".join(f"{100 * one.by_attribute[row.attribute]:.0f}" for one in tables)
        print(
            f"| {row.attribute} | {100 * row.positives / report.images:.1f} | "
            f"{100 * row.majority_accuracy:.1f} | {100 * row.accuracy:.2f} "
            f"[{100 * low:.2f}, {100 * high:.2f}] | {100 * (row.average_precision or np.nan):.1f} "
            f"| {100 * row.expected_calibration_error:.1f} | {others} |"
        )
    print()
    right, right_int8 = ((p >= 0.5) == truth for p in (p_test, p_int8))
    resamples = bootstrap.Resamples.draw(len(test), test.identities_N)
    per_image = (right_int8.astype(float) - right).mean(axis=1)
    samples = resamples.sums(per_image) / resamples.sums(np.ones(len(test)))
    low, high = bootstrap.interval(samples) or (np.nan, np.nan)
    flipped = ((p_test >= 0.5) != (p_int8 >= 0.5)).mean()
    mean, mean_int8 = 100 * right.mean(), 100 * right_int8.mean()
    print(f"float32 {mean:.2f} %, int8 {mean_int8:.2f} % on {len(test)}")
    print(f"int8 - float32: {mean_int8 - mean:.2f} [{100 * low:.2f}, {100 * high:.2f}] points")
    print(f"decisions that differ: {100 * flipped:.2f} %")
    few = np.stack([validation.read(i) for i in range(101)])
    for name in (arguments.weights, arguments.int8):
        largest, changed = amplified(open_backend(name, device="cpu"), few)
        print(
            f"{name}: 1 % of the values of 101 crops changed by 1: probabilities move by up to "
            f"{largest:.3f}, {changed} of {few.shape[0] * truth.shape[1]:,} decisions change"
        )
    print()

    thresholds = tuned(p_validation, validation.targets_NA)
    right_tuned = (p_test >= thresholds) == truth
    print("| attribute | validation + | test + | threshold | at 0.5 | tuned | difference |")
    print("| --- |" + " ---: |" * 6)
    for name in SHIFTED:
        a = dataset.attributes.index(name)
        plain, other = 100 * right[:, a].mean(), 100 * right_tuned[:, a].mean()
        shares = [100 * part.targets_NA[:, a].mean() for part in (validation, test)]
        print(
            f"| {name} | {shares[0]:.1f} | {shares[1]:.1f} | {thresholds[a]:.2f} | {plain:.2f} | "
            f"{other:.2f} | {other - plain:+.2f} |"
        )
    mean_tuned = 100 * right_tuned.mean()
    print(f"| all 40 | | | | {mean:.2f} | {mean_tuned:.2f} | {mean_tuned - mean:+.2f} |")


if __name__ == "__main__":
    main()
