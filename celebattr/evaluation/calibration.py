"""Calibration: one scale per attribute, so that a probability of 0.8 is right in 8 of 10 images.

Also the expected calibration error, which measures the distance of a model from that.

Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017
(temperature scaling; our scale is one over the temperature).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.errors import DataError
from celebattr.models.decisions import probabilities

SCALE_RANGE: tuple[float, float] = (0.2, 5.0)
"""Bounds of a scale: outside them a handful of images decides, not the network's confidence."""

BINS = 15
"""Number of bins of equal width for the calibration error."""

STEPS = 30
"""Number of halvings of the range: the scale is then known to 5e-9."""


def fit_scale(
    logits_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    shares_A: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """Fit the scale of each attribute, p = sigmoid(scale * logit).

    No bias is fitted. It would carry over how frequent an attribute is in the validation split,
    and CelebA's splits differ in that (Big_Lips: 24 % of train, 15 of validation, 33 of test). For
    the same reason an attribute is present from p = 0.5: the scale leaves that decision as it was.
    The scale itself is fitted as if attributes were as frequent as in the training split, the
    largest sample of all people: where validation has few positives, its own scale is too steep
    for images that have more.

    Half of what then sets an attribute's scale apart from the median of all is left out (in the
    logarithm): a few hundred positives do not say more. On halves of the people of validation,
    weighted as if they had the shares of validation, of train, and shares as far from those of
    train on the other side, these two steps brought the calibration error of the other half from
    2.17, 2.05 and 2.29 % to 2.20, 1.98 and 2.15 % (docs/experiments.md).

    Args:
        logits_NA: [N, A], finite, of images the network was not trained on.
        targets_NA: [N, A], 0 or 1; NaN where unknown.
        shares_A: positives of the training split, 0 to 1, [A]. None: as in `targets_NA`.

    Returns:
        [A], within `SCALE_RANGE`; 1 where the targets have one value only, which says nothing of
        confidence.

    Raises:
        DataError: see `check`.
    """
    scale_A = likeliest_scale(logits_NA, targets_NA, shares_A)
    informative_A = _informative(logits_NA, targets_NA)
    if informative_A.any():
        scale = scale_A[informative_A]
        scale_A[informative_A] = np.sqrt(scale * np.median(scale))
    return scale_A


def likeliest_scale(
    logits_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    shares_A: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """Fit the scale of maximum likelihood of each attribute by itself; see `fit_scale`."""
    check("logits", logits_NA, targets_NA)
    logits_NA = np.asarray(logits_NA, np.float64)
    weighted_NA = logits_NA * _importance(targets_NA, shares_A)
    low_A, high_A = (np.full(logits_NA.shape[1], edge) for edge in SCALE_RANGE)
    no_bias_A = np.zeros_like(low_A)
    # The loss is convex in the scale, so its slope crosses zero once: halve where it does. Where
    # it does not, this ends at the nearer edge.
    for _ in range(STEPS):
        middle_A = (low_A + high_A) / 2.0
        error_NA = probabilities(logits_NA, middle_A, no_bias_A) - targets_NA
        falling_A = np.nansum(error_NA * weighted_NA, axis=0) < 0.0
        low_A = np.where(falling_A, middle_A, low_A)
        high_A = np.where(falling_A, high_A, middle_A)
    return np.where(_informative(logits_NA, targets_NA), (low_A + high_A) / 2.0, 1.0)


def _importance(
    targets_NA: NDArray[Any], shares_A: NDArray[np.floating[Any]] | None
) -> NDArray[np.float64]:
    """Return sample weights [N, A] that give the positives of each attribute a share."""
    if shares_A is None:
        return np.ones(targets_NA.shape)
    low = 0.5 / len(targets_NA)  # less than one image: no weight becomes infinite
    known_A = np.maximum((~np.isnan(targets_NA)).sum(axis=0), 1)
    own_A = np.clip(np.nansum(targets_NA, axis=0) / known_A, low, 1.0 - low)
    wanted_A = np.clip(shares_A, low, 1.0 - low)
    weights: NDArray[np.float64] = np.where(
        targets_NA > 0.5, wanted_A / own_A, (1.0 - wanted_A) / (1.0 - own_A)
    )
    return weights


def _informative(
    logits_NA: NDArray[np.floating[Any]], targets_NA: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return the attributes whose images determine a confidence."""
    both_A = (targets_NA == 1).any(axis=0) & (targets_NA == 0).any(axis=0)
    return np.asarray(both_A & logits_NA.any(axis=0))


def calibration_error(
    probabilities_NA: NDArray[np.floating[Any]], targets_NA: NDArray[Any]
) -> list[float]:
    """Return the expected calibration error of each attribute.

    Images are put into 15 bins of equal width by the probability that the attribute is present (not
    by the confidence in the decision). The error is the mean over images of |mean probability -
    share of positives| of their bin.

    Source: Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning", AAAI 2015. torchmetrics puts p = 1 into a bin of its own, so it differs there.
    """
    errors = []
    for probabilities_N, targets_N in zip(
        np.asarray(probabilities_NA, np.float64).T, np.asarray(targets_NA).T, strict=True
    ):
        known_N = ~np.isnan(targets_N)
        p_n, y_n = probabilities_N[known_N], targets_N[known_N]
        gap = np.bincount(bins(p_n), p_n - y_n, BINS)
        errors.append(float(np.abs(gap).sum() / len(y_n)))
    return errors


def bins(probabilities_N: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return the bin of each probability, 0 to 14; 1.0 belongs to the last."""
    found: NDArray[np.int64] = np.minimum(probabilities_N * BINS, BINS - 1).astype(np.int64)
    return found


def check(name: str, values_NA: NDArray[Any], targets_NA: NDArray[Any]) -> None:
    """Check values, such as logits, and their targets.

    Raises:
        DataError: there are no images or no attributes, the shapes differ, a target is neither 0
            nor 1 nor unknown (NaN), or a value is not finite.
    """
    if targets_NA.ndim != 2 or targets_NA.size == 0:
        raise DataError(
            f"targets of shape {list(targets_NA.shape)}: at least one image and one attribute "
            "are needed, as [images, attributes]. Does the split have any rows?"
        )
    if values_NA.shape != targets_NA.shape:
        raise DataError(
            f"{name} have the shape {list(values_NA.shape)}, targets {list(targets_NA.shape)}: "
            "both must be [images, attributes] of the same images and attributes"
        )
    wrong_NA = ~(np.isin(targets_NA, (0, 1)) | np.isnan(targets_NA))
    if wrong_NA.any():
        wrong = targets_NA[wrong_NA][0]
        raise DataError(f"a target is {wrong}: targets are 0 (absent) or 1 (present)")
    if not np.isfinite(values_NA).all():
        image, attribute = np.argwhere(~np.isfinite(values_NA))[0].tolist()
        raise DataError(
            f"{name} hold {values_NA[image, attribute]} at image {image}, attribute {attribute}: "
            "the weights are damaged or overflow in this precision; try --precision float32"
        )
