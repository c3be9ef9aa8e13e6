"""Two bundles on the same images: what is the same is noise, what is better is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from celebattr.evaluation import metrics
from celebattr.evaluation.comparison import METRICS, compare
from celebattr.evaluation.metrics import Measured
from celebattr.evaluation.report import MEANS, Comparison, Difference

NAMES = ("one", "two", "three")
IMAGES = 600
PEOPLE = np.arange(IMAGES) // 3


def scores(skill: float, *, noise: int = 0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Probabilities that know the more of the same targets the higher the skill."""
    random = np.random.default_rng(0)
    y = (random.random((IMAGES, 3)) < [0.2, 0.5, 0.7]).astype(np.uint8)
    hard = random.normal(size=y.shape)  # alike for everybody
    own = np.random.default_rng(100 + noise).normal(size=y.shape)
    logits = skill * (2.0 * y - 1.0) + hard + 0.3 * own
    return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32), y


def measured(p: NDArray[Any], y: NDArray[Any], names: tuple[str, ...] = NAMES) -> Measured:
    return metrics.measure(p, y, p >= 0.5, names, split="test", weights="other", people_N=PEOPLE)


def find(comparison: Comparison, metric: str, attribute: str | None = None) -> Difference:
    return next(
        one for one in comparison.differences if (one.metric, one.attribute) == (metric, attribute)
    )


def test_a_bundle_against_itself_differs_by_nothing_and_that_is_noise() -> None:
    one = measured(*scores(1.0))
    found = compare(one, one)
    assert found.weights == "other"
    for row in found.differences:
        assert (row.difference, row.interval, row.noise) == (0.0, (0.0, 0.0), True)


def test_every_mean_and_every_attribute_is_compared() -> None:
    one = measured(*scores(1.0))
    found = {(row.metric, row.attribute) for row in compare(one, one).differences}
    means = {*MEANS.values(), "exact_match_ratio"} - {"majority_accuracy"}
    assert found == {(metric, None) for metric in means} | {
        (metric, name) for metric in METRICS for name in NAMES
    }


def test_a_truly_better_bundle_is_not_noise_and_its_figures_are_those_of_the_reports() -> None:
    ours, theirs = measured(*scores(1.6)), measured(*scores(0.9, noise=1))
    found = compare(ours, theirs)
    for row in found.differences:
        if row.attribute is None:
            assert row.ours == pytest.approx(getattr(ours.report, row.metric), abs=1e-12)
            assert row.theirs == getattr(theirs.report, row.metric)
        low, high = row.interval or (1.0, 0.0)
        assert low <= (row.difference or 0.0) <= high
    for metric in ("mean_attribute_accuracy", "mean_average_precision", "exact_match_ratio"):
        row = find(found, metric)
        assert not row.noise
        assert (row.difference or 0.0) > 0.0
    brier = find(found, "mean_brier_score")
    assert not brier.noise
    assert (brier.difference or 0.0) < 0.0
    assert not find(found, "accuracy", "two").noise


def test_equally_good_bundles_are_noise() -> None:
    found = compare(measured(*scores(1.0, noise=1)), measured(*scores(1.0, noise=2)))
    row = find(found, "mean_attribute_accuracy")
    assert row.difference != 0.0
    assert row.noise


def test_the_interval_is_paired_and_so_narrower_than_of_two_samples() -> None:
    ours, theirs = measured(*scores(1.0, noise=1)), measured(*scores(1.0, noise=2))
    row = find(compare(ours, theirs), "mean_attribute_accuracy")
    assert row.interval is not None
    widths = []
    for one in (ours, theirs):
        low, high = one.report.intervals["mean_attribute_accuracy"] or (0.0, 0.0)
        widths.append(high - low)
    unpaired = float(np.hypot(*widths))
    assert row.interval[1] - row.interval[0] < 0.7 * unpaired


def test_the_interval_of_an_accuracy_is_as_wide_as_theory_says() -> None:
    ours, theirs = measured(*scores(1.2, noise=1)), measured(*scores(1.0, noise=2))
    row = find(compare(ours, theirs), "accuracy", "two")
    gain_N = ours.right_NA[:, 1].astype(float) - theirs.right_NA[:, 1]
    by_person = gain_N.reshape(-1, 3).mean(axis=1)
    half_width = 1.96 * by_person.std() / np.sqrt(len(by_person))
    assert row.interval is not None
    assert row.interval[1] - row.interval[0] == pytest.approx(2 * half_width, rel=0.15)
    assert row.difference == pytest.approx(gain_N.mean())


def test_only_shared_attributes_count_whatever_their_order() -> None:
    p, y = scores(1.4)
    q, _ = scores(1.0, noise=1)
    ours = measured(p, y)
    found = compare(ours, measured(q[:, [2, 0]], y[:, [2, 0]], ("three", "one")))
    assert {row.attribute for row in found.differences} == {None, "one", "three"}
    theirs = measured(q[:, [2, 0]], y[:, [2, 0]], ("three", "one"))
    both = measured(p[:, [2, 0]], y[:, [2, 0]], ("three", "one"))
    for row, expected in zip(found.differences, compare(both, theirs).differences, strict=True):
        assert (row.metric, row.attribute, row.noise) == (
            expected.metric,
            expected.attribute,
            expected.noise,
        )
        assert row.ours == pytest.approx(expected.ours, abs=1e-12)
        assert row.interval == pytest.approx(expected.interval, abs=1e-12)
    assert find(found, "accuracy", "one").ours == ours.report.attributes[0].accuracy


def test_what_is_undefined_is_none_and_noise() -> None:
    p, y = scores(1.4)
    q, _ = scores(1.0)
    y[:, 0] = 0
    found = compare(measured(p, y), measured(q, y))
    row = find(found, "average_precision", "one")
    assert (row.ours, row.theirs, row.difference, row.interval) == (None, None, None, None)
    assert row.noise
    assert find(found, "mean_average_precision").difference is not None
