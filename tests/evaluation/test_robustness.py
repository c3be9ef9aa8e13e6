from __future__ import annotations

import numpy as np
import pytest

from celebattr.evaluation.comparison import robustness
from celebattr.evaluation.corruptions import chosen


def test_each_corruption_is_held_against_the_images_as_they_are() -> None:
    random = np.random.default_rng(0)
    y = (random.random((300, 4)) < 0.5).astype(np.uint8)
    clean = np.where(random.random(y.shape) < 0.95, y, 1 - y).astype(np.float32)
    mild = clean.copy()
    mild[::50, 0] = 1.0 - mild[::50, 0]
    guess = random.random(y.shape).astype(np.float32)
    p = np.stack([clean, mild, guess])
    reports = robustness(p, y, p >= 0.5, chosen("jpeg"), np.arange(300) // 3)
    assert [(one.corruption, one.level) for one in reports] == [
        ("jpeg", "quality 30"),
        ("jpeg", "quality 10"),
    ]
    for one, p in zip(reports, (mild, guess), strict=True):
        accuracy = ((p >= 0.5) == y).mean()
        assert one.mean_attribute_accuracy == pytest.approx(accuracy)
        assert one.difference == pytest.approx(accuracy - ((clean >= 0.5) == y).mean())
        assert one.interval is not None
        assert one.interval[0] <= one.difference <= one.interval[1]
    ends = [one.interval or (0.0, 0.0) for one in reports]
    assert ends[0][1] - ends[0][0] < 0.01  # pairing: most decisions are the same
    assert ends[1][1] < -0.3


def test_without_positives_mean_average_precision_is_undefined() -> None:
    y = np.zeros((10, 2), np.uint8)
    p = np.full((2, 10, 2), 0.2, np.float32)
    (one,) = robustness(p, y, p >= 0.5, chosen("grey"), None)
    assert one.mean_average_precision is None
    assert (one.mean_attribute_accuracy, one.difference) == (1.0, 0.0)
