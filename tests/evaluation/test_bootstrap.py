from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from celebattr.evaluation import bootstrap, metrics
from celebattr.evaluation.bootstrap import Resamples, interval, metric_samples

ATTRIBUTES = ("one", "two")


def case(images: int = 300, decimals: int = 9) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(0)
    p = random.random((images, 2)).round(decimals).astype(np.float32)
    y = (random.random(p.shape) < p).astype(np.uint8)
    return p, y, p >= 0.5


@pytest.mark.parametrize("decimals", [9, 1])  # with 1 most scores are met several times
def test_each_resample_agrees_with_scikit_learn(decimals: int) -> None:
    p, y, present = case(decimals=decimals)
    people = np.arange(300) // 3
    resamples = Resamples.draw(300, people, count=20)
    samples = metric_samples(p, y, present, resamples)
    for r in (0, 7, 19):
        w = resamples.times_RG[r, resamples.group_N]
        for a in range(2):
            truth, score, called = y[:, a], p[:, a], present[:, a]
            expected = {
                "accuracy": oracle.accuracy_score(truth, called, sample_weight=w),
                "balanced_accuracy": oracle.recall_score(truth, called, sample_weight=w) / 2
                + oracle.recall_score(1 - truth, ~called, sample_weight=w) / 2,
                "f1": oracle.f1_score(truth, called, sample_weight=w),
                "average_precision": oracle.average_precision_score(truth, score, sample_weight=w),
                "roc_auc": oracle.roc_auc_score(truth, score, sample_weight=w),
                "brier_score": oracle.brier_score_loss(truth, score, sample_weight=w),
            }
            for name, value in expected.items():
                assert samples[name][r, a] == pytest.approx(value, abs=1e-5), name


def test_scores_are_sorted_once_however_many_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    sorts: list[int] = []
    sort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda *a, **k: sorts.append(len(a[0])) or sort(*a, **k))
    for count in (20, 400):
        metric_samples(*case(), Resamples.draw(300, None, count=count))
    assert sorts == [300] * len(ATTRIBUTES) * 2


def test_undrawn_and_drawn_once_gives_the_metric_itself() -> None:
    p, y, present = case()
    once = Resamples(np.ones((1, 300), np.float32), np.arange(300))
    report = metrics.report(p, y, present, ATTRIBUTES, split="test", weights="w")
    for name, values in metric_samples(p, y, present, once).items():
        for a, row in enumerate(report.attributes):
            assert values[0, a] == pytest.approx(getattr(row, name), abs=1e-5), name


def test_an_interval_of_independent_images_is_as_wide_as_theory_says() -> None:
    right = np.random.default_rng(1).random(2000) < 0.9
    p, y = right[:, None].astype(np.float32), np.ones((2000, 1), np.uint8)
    samples = metric_samples(p, y, p >= 0.5, Resamples.draw(2000, None))
    found = interval(samples["accuracy"][:, 0])
    assert found is not None
    half_width = 1.96 * np.sqrt(0.9 * 0.1 / 2000)
    assert found[1] - found[0] == pytest.approx(2 * half_width, rel=0.2)
    assert found[0] < right.mean() < found[1]


def test_people_whose_photos_agree_make_a_wider_interval() -> None:
    person = np.random.default_rng(1).random(100) < 0.9  # right or wrong in all their photos
    p = np.repeat(person, 20)[:, None].astype(np.float32)
    y, people = np.ones((2000, 1), np.uint8), np.repeat(np.arange(100), 20)
    reports = [
        metrics.report(p, y, p >= 0.5, ("one",), split="test", weights="w", people_N=who)
        for who in (None, people)
    ]
    widths = []
    for report in reports:
        found = report.intervals["mean_attribute_accuracy"]
        assert found is not None
        widths.append(found[1] - found[0])
    assert widths[1] > 3.0 * widths[0]  # theory: the square root of 20
    assert [report.people for report in reports] == [None, 100]


def test_the_interval_of_the_calibration_error_holds_it() -> None:
    random = np.random.default_rng(0)
    p = np.repeat(random.random((200, 1)), 10, axis=0).astype(np.float32)
    y = (np.repeat(random.random((200, 1)), 10, axis=0) < p).astype(np.uint8)  # alike by person
    people = np.repeat(np.arange(200), 10)
    report = metrics.report(p, y, p >= 0.5, ("one",), split="t", weights="w", people_N=people)
    low, high = report.intervals["mean_expected_calibration_error"] or (1.0, 0.0)
    assert 0.0 <= low < report.mean_expected_calibration_error < high


def test_the_intervals_of_the_brier_score_hold_it_and_are_as_wide_as_theory_says() -> None:
    p, y, present = case(2000)
    report = metrics.report(p, y, present, ATTRIBUTES, split="test", weights="w")
    squared_NA = (p - y) ** 2
    pairs = [(row.brier_score, row.intervals["brier_score"]) for row in report.attributes]
    pairs.append((report.mean_brier_score, report.intervals["mean_brier_score"]))
    errors = [*squared_NA.T, squared_NA.mean(axis=1)]
    for (score, found), error_N in zip(pairs, errors, strict=True):
        assert score == pytest.approx(error_N.mean(), rel=1e-5)
        low, high = found or (1.0, 0.0)
        assert low < score < high
        half_width = 1.96 * error_N.std() / np.sqrt(2000)
        assert high - low == pytest.approx(2 * half_width, rel=0.2)


def test_what_is_undefined_has_no_interval() -> None:
    p, y, present = case()
    report = metrics.report(p, np.zeros_like(y), present, ATTRIBUTES, split="test", weights="w")
    assert report.attributes[0].intervals["average_precision"] is None
    assert report.attributes[0].intervals["f1"] is None
    assert report.attributes[0].intervals["accuracy"] is not None
    assert report.intervals["mean_f1"] is None


def test_the_same_images_give_the_same_intervals() -> None:
    p, y, present = case()
    one, two = (
        metrics.report(p, y, present, ATTRIBUTES, split="test", weights="w") for _ in range(2)
    )
    assert one == two
    assert set(bootstrap.metric_samples(p, y, present, Resamples.draw(300, None, count=2))) == {
        name for name in one.attributes[0].intervals
    }
