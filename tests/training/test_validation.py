"""Figures of an epoch where labels are unknown, and what the history of epochs tells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from celebattr.training.losses import LOSSES
from celebattr.training.run_folder import below_majority, out_of_patience
from celebattr.training.validation import measure


def test_the_majority_baseline_is_that_of_the_known_labels() -> None:
    targets_NA = np.array([[1, 0], [1, np.nan], [0, 1], [np.nan, 1], [1, 1]], np.float32)
    logits_NA = np.zeros((5, 2), np.float32)
    measured = measure(logits_NA, targets_NA, np.array([0.5, 0.5]), LOSSES["bce"])
    assert measured.majority == pytest.approx(0.75)
    assert math.isfinite(measured.loss)


def row(epoch: int, precision: float | None, accuracy: float = 0.9) -> dict[str, object]:
    return {
        "epoch": epoch,
        "validation_mean_average_precision": precision,
        "validation_mean_attribute_accuracy": accuracy,
        "validation_majority_accuracy": 0.8,
    }


@pytest.mark.parametrize(
    ("scores", "patience", "tired"),
    [
        ([], 1, False),
        ([0.5, 0.4, 0.3], None, False),
        ([0.5, 0.4], 1, True),
        ([0.5, 0.4], 2, False),
        ([0.4, 0.5], 1, False),
        ([None, None], 1, True),
    ],
)
def test_patience_ends_with_as_many_epochs_that_are_no_better(
    scores: list[float | None], patience: int | None, tired: bool
) -> None:
    history = [row(epoch, score) for epoch, score in enumerate(scores, 1)]
    assert out_of_patience(history, patience) is tired


def test_a_best_epoch_that_is_no_better_than_the_majority_is_told() -> None:
    assert below_majority([]) == ""
    assert below_majority([row(1, 0.5, 0.7), row(2, 0.6, 0.9)]) == ""
    told = below_majority([row(1, 0.5, 0.9), row(2, 0.6, 0.8)])
    assert "epoch, 2, has 80.00 %" in told
    # Runs of earlier versions have no baseline in their history.
    assert below_majority([{"epoch": 1, "validation_mean_average_precision": 0.5}]) == ""
