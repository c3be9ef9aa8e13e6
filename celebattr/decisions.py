"""From logits to decisions: probability, present or not, sure or not. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def probabilities(
    logits_NA: NDArray[np.floating[Any]],
    scale_A: NDArray[np.floating[Any]],
    bias_A: NDArray[np.floating[Any]],
) -> NDArray[np.float32]:
    """Calibrated probabilities, p = sigmoid(scale * logit + bias).

    Args:
        logits_NA: [N, A], any float type.
        scale_A: one an attribute, over 0.
        bias_A: one an attribute.

    Returns:
        float32 [N, A], 0 to 1, without overflow however large the logits.
    """
    assert logits_NA.shape[1:] == scale_A.shape == bias_A.shape
    z_NA = np.asarray(logits_NA, np.float64) * scale_A + bias_A
    # exp of a negative number cannot overflow, and small probabilities keep their digits.
    e_NA = np.exp(-np.abs(z_NA))
    p_NA = np.where(z_NA >= 0.0, 1.0, e_NA) / (1.0 + e_NA)
    return np.asarray(p_NA, np.float32)


def present(
    probabilities_NA: NDArray[np.floating[Any]], thresholds_A: NDArray[np.floating[Any]]
) -> NDArray[np.bool_]:
    """Decisions, bool [N, A]: the probability reaches the attribute's threshold."""
    assert probabilities_NA.shape[1:] == thresholds_A.shape
    # In one type: as float64, 0.7 is more than the float32 that stands for 0.7.
    decided_NA: NDArray[np.bool_] = probabilities_NA >= thresholds_A.astype(probabilities_NA.dtype)
    return decided_NA


def unsure(
    probabilities_NA: NDArray[np.floating[Any]],
    present_NA: NDArray[np.bool_],
    below: float,
) -> NDArray[np.bool_]:
    """Decisions that are less likely right than `below`, bool [N, A].

    A decision is right with probability p where it says present, with 1 - p where it does not.
    """
    assert probabilities_NA.shape == present_NA.shape
    right_NA = np.where(present_NA, probabilities_NA, 1.0 - probabilities_NA)
    return np.asarray(right_NA < below, np.bool_)
