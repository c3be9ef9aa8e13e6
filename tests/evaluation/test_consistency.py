from __future__ import annotations

import numpy as np
import pytest

from celebattr.attributes import CELEBA
from celebattr.evaluation.consistency import logic, paired
from celebattr.models import decisions

NAMES = ("No_Beard", "Goatee", "Smiling")


def test_contradictions_are_shares_of_the_images_in_decisions_and_labels() -> None:
    p = np.array([[0.9, 0.6, 0.5], [0.9, 0.1, 0.2], [0.2, 0.9, 0.9], [0.7, 0.8, 0.1]], np.float32)
    y = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    found = logic(p, y, np.full(3, 0.5), NAMES, None)
    assert found is not None
    (rule,) = found.rules
    assert (rule.rule, rule.predicted, rule.labelled) == ("No_Beard with Goatee", 0.5, 0.25)
    assert (found.predicted, found.labelled) == (0.5, 0.25)
    # Plain decisions err on Goatee of the first, No_Beard of the third and fourth; consistent ones
    # on No_Beard of the third only.
    assert found.consistent_accuracy == pytest.approx(11 / 12)
    assert found.difference == pytest.approx(2 / 12)
    assert found.interval is not None
    low, high = found.interval
    assert low <= found.difference <= high


def test_an_image_with_two_contradictions_counts_once_among_all() -> None:
    p = np.zeros((4, 40), np.float32)
    p[0, [CELEBA.index(name) for name in ("Bald", "Bangs", "Wavy_Hair")]] = 0.9
    found = logic(p, np.zeros((4, 40), np.uint8), np.full(40, 0.5), CELEBA, None)
    assert found is not None
    assert found.predicted == 0.25
    broken = {rule.rule for rule in found.rules if rule.predicted}
    assert broken == {"Bald with Bangs", "Bald with Wavy_Hair"}
    assert found.labelled == 0.0


def test_without_rules_there_is_no_report() -> None:
    p = np.full((2, 2), 0.7, np.float32)
    assert logic(p, np.ones((2, 2)), np.full(2, 0.5), ("Smiling", "Bald"), None) is None


def test_consistent_answers_gain_where_labels_are_consistent() -> None:
    random = np.random.default_rng(0)
    truth = random.random((600, 40)) < 0.4
    truth = decisions.Consistent(CELEBA).present(truth.astype(np.float32), np.full(40, 0.5))
    p = np.clip(truth * 0.4 + 0.3 + random.normal(0, 0.3, truth.shape), 0, 1).astype(np.float32)
    found = logic(p, truth, np.full(40, 0.5), CELEBA, None)
    assert found is not None and found.interval is not None
    assert found.labelled == 0.0
    assert found.interval[0] > 0.0


def test_a_paired_interval_is_narrow_where_both_err_alike_and_wider_over_people() -> None:
    random = np.random.default_rng(1)
    people = np.repeat(np.arange(60), 10)
    hard = np.repeat(random.random((60, 1)), 10, axis=0)
    right = random.random((600, 20)) > hard
    worse, true = right.copy(), np.ones_like(right)
    worse[::30, 0] = False  # in 20 images, a decision less
    difference, interval = paired(worse, right, true, people)
    assert difference == pytest.approx(worse.mean() - right.mean())
    assert interval is not None
    assert interval[0] <= difference <= interval[1]
    assert interval[1] - interval[0] < 0.002
    same, nothing = paired(right, right, true, people)
    assert (same, nothing) == (0.0, (0.0, 0.0))
    # All photos of a person err together: people are fewer than photos.
    other = right & (np.repeat(random.random((60, 1)) < 0.8, 10, axis=0))
    by_people, by_images = (paired(other, right, true, who)[1] for who in (people, None))
    assert by_people is not None and by_images is not None
    assert by_people[1] - by_people[0] > 2 * (by_images[1] - by_images[0])
