"""The scale that is fitted is the one the data was made with, or the likeliest."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from celebattr.errors import DataError
from celebattr.evaluation import calibration, metrics
from celebattr.models import decisions

ONE, ZERO = np.ones(1), np.zeros(1)


def drawn(scales: list[float], images: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and targets drawn with p = sigmoid(scale * logit)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2.0, size=(images, len(scales))).astype(np.float32)
    p = decisions.probabilities(logits, np.array(scales), np.zeros(len(scales)))
    return logits, (rng.random(p.shape) < p).astype(np.uint8)


def test_the_scale_that_made_the_targets_is_found() -> None:
    scales = [0.5, 1.0, 2.0]
    assert calibration.likeliest_scale(*drawn(scales)) == pytest.approx(scales, rel=0.05)


def test_of_an_attribute_by_itself_it_is_the_scale_of_maximum_likelihood() -> None:
    logits, targets = drawn([0.7, 1.8], images=2_000)
    fitted = calibration.likeliest_scale(logits, targets)
    assert calibration.fit_scale(logits[:, :1], targets[:, :1]) == pytest.approx(fitted[:1])
    for a in range(2):
        oracle = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
        oracle.fit(logits[:, [a]], targets[:, a])
        assert fitted[a] == pytest.approx(oracle.coef_[0, 0], abs=1e-4)


def test_half_of_what_sets_a_scale_apart_from_the_median_is_left_out() -> None:
    logits, targets = drawn([0.5, 1.0, 2.0])
    alone = calibration.likeliest_scale(logits, targets)
    expected = np.sqrt(alone * alone[1])
    assert calibration.fit_scale(logits, targets) == pytest.approx(expected)


def test_the_scale_is_that_of_images_with_the_shares_of_train() -> None:
    """Positives that are rarer in validation than in train: as if every second were missing."""
    rng = np.random.default_rng(0)
    logits = rng.normal(loc=-1.5, scale=2.0, size=(40_000, 1))
    targets = (rng.random(logits.shape) < decisions.probabilities(logits, ONE, ZERO)).astype(int)
    kept = (targets[:, 0] == 0) | (rng.random(len(targets)) < 0.5)
    fewer = calibration.likeliest_scale(logits[kept], targets[kept])
    weighted = calibration.likeliest_scale(logits[kept], targets[kept], targets.mean(axis=0))
    assert weighted == pytest.approx([1.0], rel=0.03)
    assert abs(fewer[0] - 1.0) > 0.05
    fitted = calibration.fit_scale(logits[kept], targets[kept], targets.mean(axis=0))
    assert fitted == pytest.approx(weighted)


def test_an_attribute_that_train_or_validation_lacks_does_no_harm() -> None:
    logits, targets = drawn([1.0, 1.0, 1.0])
    targets[:, 2] = 0
    fitted = calibration.fit_scale(logits, targets, np.array([0.0, 1.0, 0.5]))
    assert np.isfinite(fitted).all()
    assert fitted[2] == 1.0


def test_it_lowers_the_calibration_error_and_keeps_the_decisions_at_one_half() -> None:
    logits, targets = drawn([0.4])
    one, zero, half = np.ones(1), np.zeros(1), np.full(1, 0.5)
    before = decisions.probabilities(logits, one, zero)
    after = decisions.probabilities(logits, calibration.fit_scale(logits, targets), zero)
    assert metrics.calibration_error(after, targets)[0] < 0.02
    assert metrics.calibration_error(before, targets)[0] > 0.1
    assert np.array_equal(decisions.present(before, half), decisions.present(after, half))


def test_it_stays_within_its_range() -> None:
    low, high = calibration.SCALE_RANGE
    logits = np.array([[-1.0, -1.0, -9.0], [1.0, 1.0, 9.0]] * 20)
    targets = np.array([[0, 1, 0], [1, 0, 1]] * 20)
    likeliest = calibration.likeliest_scale(logits, targets)
    assert likeliest == pytest.approx([high, low, high], abs=1e-6)
    fitted = calibration.fit_scale(logits, targets)
    assert ((low <= fitted) & (fitted <= high)).all()


def test_what_says_nothing_of_confidence_keeps_a_scale_of_one() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3))
    targets = (logits > 0.0).astype(np.uint8)
    targets[:, 0], targets[:, 1] = 0, 1
    logits[:, 2] = 0.0
    assert calibration.fit_scale(logits, targets).tolist() == [1.0, 1.0, 1.0]


def test_half_precision_logits_and_boolean_targets_are_fitted_alike() -> None:
    logits, targets = drawn([1.5], images=5_000)
    half = logits.astype(np.float16)
    assert calibration.fit_scale(half, targets.astype(bool)) == pytest.approx(
        calibration.fit_scale(logits, targets), rel=1e-2
    )


def test_logits_that_are_not_finite_are_refused() -> None:
    logits, targets = drawn([1.0], images=10)
    logits[3, 0] = np.inf
    with pytest.raises(DataError, match="logits hold inf at image 3, attribute 0"):
        calibration.fit_scale(logits, targets)


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="at least one image"):
        calibration.fit_scale(np.zeros((0, 4)), np.zeros((0, 4)))
