"""Share of randomly flipped labels that the search finds; see benchmarks/README.md."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from celebattr.data.layouts.load import load_dataset
from celebattr.diagnosis.labels import confident
from celebattr.diagnosis.labels import search as label_evidence
from celebattr.models.backends import open_backend

SEEDS = 5


def adjusted(p_NA: np.ndarray, y_NA: np.ndarray) -> np.ndarray:
    """Return cleanlab's other score: the gap of a label's probability to its class mean."""
    present_A = (p_NA * y_NA).sum(axis=0) / y_NA.sum(axis=0)
    absent_A = ((1 - p_NA) * ~y_NA).sum(axis=0) / (~y_NA).sum(axis=0)
    return np.where(y_NA, present_A - p_NA, absent_A - (1 - p_NA))


def found(scores: np.ndarray, flipped: np.ndarray, share: float) -> float:
    """Return the share of flipped labels among the first of a ranking; ties in any order."""
    count = round(share * scores.size)
    first = np.argsort(-scores, axis=None, kind="stable")[:count]
    return float(flipped.ravel()[first].sum() / flipped.sum())


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--flip", type=float, default=0.05, help="share of the labels")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    images = label_evidence.choose(load_dataset([options.data]), options.split, options.limit)
    backend = open_backend(options.weights)
    evidence = label_evidence.from_bundle(backend, images, batch_size=32, workers=2)
    p_NA, clean_NA, names = evidence.probabilities_NA, evidence.labels_NA, evidence.attributes
    print(
        f"{len(images):,} {options.split} images, {backend.path.name} ({backend.description}); "
        f"{options.flip:.1%} of {clean_NA.size:,} labels flipped, means of {SEEDS} seeds"
    )
    overall, by_attribute, listed, rates = [], [], [], []
    whole = confident.once(len(images))
    for seed in range(SEEDS):
        flipped_NA = np.random.default_rng(seed).random(clean_NA.shape) < options.flip
        labels_NA = clean_NA ^ flipped_NA
        plain_NA = confident.scores(p_NA, labels_NA)
        suspects_NA = confident.suspected(p_NA, labels_NA)
        rankings = {
            "the finder": suspects_NA + plain_NA / 2,  # its suspects, then the rest
            "|label - p|": plain_NA,
            "adjusted by class means": adjusted(p_NA, labels_NA),
        }
        overall.append([found(s, flipped_NA, options.flip) for s in rankings.values()])
        columns = range(len(names))
        ours = rankings["the finder"]
        by_attribute.append([found(ours[:, a], flipped_NA[:, a], options.flip) for a in columns])
        listed.append(
            (
                suspects_NA.mean(),
                flipped_NA[suspects_NA].mean(),
                suspects_NA[flipped_NA].mean(),
            )
        )
        rates.append(
            [
                [sum(confident.error_rates(p_NA[:, a], y[:, a], whole))[0] for a in columns]
                for y in (clean_NA, labels_NA)
            ]
        )
    print(f"found in the first {options.flip:.1%} of the ranking, chance {options.flip:.1%}:")
    for name, values in zip(rankings, np.transpose(overall), strict=True):
        print(f"  {name:<24} {values.mean():.1%} (deviation of the seeds {values.std():.1%})")
    share, precision, recall = np.mean(listed, axis=0)
    print(
        f"suspects named: {share:.1%} of the labels, {precision:.1%} of them flipped; they hold "
        f"{recall:.1%} of the flipped"
    )
    clean_A, noisy_A = np.nanmean(rates, axis=0)
    print(
        f"estimated error rate, mean of attributes: {clean_A.mean():.1%} before, "
        f"{noisy_A.mean():.1%} after flipping"
    )
    found_A = np.mean(by_attribute, axis=0)
    order = np.argsort(-found_A)
    print("by attribute: found, estimated error rate before and after")
    for a in (*order[:5], *order[-5:]):
        print(f"  {names[a]:<22} {found_A[a]:6.1%} {clean_A[a]:6.1%} {noisy_A[a]:6.1%}")


if __name__ == "__main__":
    main()
