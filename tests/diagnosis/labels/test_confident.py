from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint, estimate_joint
from cleanlab.filter import find_label_issues

from celebattr.diagnosis.labels import confident
from celebattr.evaluation.bootstrap import Resamples, interval


def calibrated(images: int, sharpness: float, rate: float, seed: int = 0) -> tuple[Any, Any]:
    """Probabilities and labels that are present as often as they say."""
    random = np.random.default_rng(seed)
    logits = random.normal(np.log(rate / (1 - rate)) * sharpness, sharpness, images)
    p = 1.0 / (1.0 + np.exp(-logits))
    return p, random.random(images) < p


def two_columns(p: Any) -> Any:
    return np.stack([1.0 - p, p], axis=1)


CASES = [(0, 4.0, 0.5), (1, 1.0, 0.5), (2, 3.0, 0.2), (3, 0.3, 0.3), (4, 2.0, 0.2)]


@pytest.mark.parametrize(("seed", "sharpness", "rate"), CASES)
def test_error_rates_are_those_of_cleanlab(seed: int, sharpness: float, rate: float) -> None:
    p, y = calibrated(1000, sharpness, rate, seed)
    missing, false = confident.error_rates(p, y, confident.once(1000))
    counts = compute_confident_joint(y.astype(int), two_columns(p), calibrate=False)
    absent, present = (row / row.sum() for row in counts)
    assert missing[0] == pytest.approx(absent[1] * (~y).mean(), abs=1e-6)
    assert false[0] == pytest.approx(present[0] * y.mean(), abs=1e-6)
    # cleanlab itself then rounds to whole images.
    joint = estimate_joint(y.astype(int), two_columns(p))
    assert [missing[0], false[0]] == pytest.approx([joint[0, 1], joint[1, 0]], abs=1.01 / 1000)


@pytest.mark.parametrize(("seed", "sharpness", "rate"), CASES)
def test_suspects_are_those_of_cleanlab_but_for_its_rounding(
    seed: int, sharpness: float, rate: float
) -> None:
    p, y = calibrated(1000, sharpness, rate, seed)
    found = confident.suspected(p[:, None], y[:, None])[:, 0]
    theirs = find_label_issues(
        y.astype(int), two_columns(p), filter_by="prune_by_noise_rate", n_jobs=1
    )
    assert (found != theirs).sum() <= 2
    assert found.sum() > 0


def test_each_resample_is_the_estimate_of_the_images_it_draws() -> None:
    p, y = calibrated(300, 2.0, 0.4)
    resamples = Resamples.draw(300, np.arange(300) // 3, count=40)  # more than one chunk
    missing, false = confident.error_rates(p, y, resamples)
    for r in (0, 20, 39):
        drawn = np.repeat(np.arange(300), resamples.times_RG[r, resamples.group_N].astype(int))
        again = confident.error_rates(p[drawn], y[drawn], confident.once(len(drawn)))
        assert [missing[r], false[r]] == pytest.approx([again[0][0], again[1][0]], abs=1e-6)
    low, high = interval(missing + false) or (1.0, 0.0)
    whole = sum(part[0] for part in confident.error_rates(p, y, confident.once(300)))
    assert low < whole < high


def test_an_easy_attribute_gives_the_share_of_labels_that_were_flipped() -> None:
    random = np.random.default_rng(0)
    truth = random.random(4000) < 0.3
    p = np.where(truth, random.beta(40, 1, 4000), random.beta(1, 40, 4000))
    flipped = random.random(4000) < 0.05
    missing, false = confident.error_rates(p, truth ^ flipped, confident.once(4000))
    assert missing[0] == pytest.approx((flipped & truth).mean(), abs=0.01)
    assert false[0] == pytest.approx((flipped & ~truth).mean(), abs=0.01)


def test_flipped_labels_are_found_and_no_worse_than_by_probability_alone() -> None:
    truth, p = [], []
    for seed, (sharpness, rate) in enumerate([(6.0, 0.5), (4.0, 0.2), (2.0, 0.3), (1.0, 0.4)]):
        chance, labels = calibrated(3000, sharpness, rate, seed)
        p.append(chance)
        truth.append(labels)
    p_NA, truth_NA = np.stack(p, axis=1), np.stack(truth, axis=1)
    flipped_NA = np.random.default_rng(0).random(p_NA.shape) < 0.05
    labels_NA = truth_NA ^ flipped_NA
    found_NA, scores_NA = (
        confident.suspected(p_NA, labels_NA),
        confident.scores(p_NA, labels_NA),
    )
    count = round(0.05 * p_NA.size)

    def first(ranking: Any) -> float:
        top = np.argsort(-ranking, axis=None, kind="stable")[:count]
        return float(flipped_NA.ravel()[top].sum() / flipped_NA.sum())

    assert first(found_NA + scores_NA / 2) >= first(scores_NA) - 0.01
    assert first(scores_NA) > 0.4  # chance: 0.05
    assert found_NA[flipped_NA].mean() > 0.5
    easy, hard = (found_NA[flipped_NA[:, a], a].mean() for a in (0, 3))
    assert easy > hard


def test_labels_that_are_all_alike_have_no_error_rate_and_no_suspects() -> None:
    p = np.array([0.1, 0.9, 0.5])
    for y in (np.zeros(3, bool), np.ones(3, bool)):
        missing, false = confident.error_rates(p, y, confident.once(3))
        assert np.isnan([missing[0], false[0]]).all()
        assert not confident.suspected(p[:, None], y[:, None]).any()


def test_a_network_that_is_always_of_one_mind_is_judged_as_by_cleanlab() -> None:
    p, y = np.full(100, 0.3), np.arange(100) < 30
    missing, false = confident.error_rates(p, y, confident.once(100))
    joint = estimate_joint(y.astype(int), two_columns(p))
    assert [missing[0], false[0]] == pytest.approx([joint[0, 1], joint[1, 0]], abs=1.01 / 100)
    assert not confident.suspected(p[:, None], y[:, None])[~y].any()  # absent is the likelier value
