"""What metrics and calibration refuse to compute on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.errors import DataError


def check(name: str, values_NA: NDArray[Any], targets_NA: NDArray[Any]) -> None:
    """Checks values, such as logits, and the targets they are held against.

    Raises:
        DataError: there are no images or no attributes, the shapes differ, a target is neither 0
            nor 1, or a value is not finite.
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
    if not np.isin(targets_NA, (0, 1)).all():
        wrong = targets_NA[~np.isin(targets_NA, (0, 1))][0]
        raise DataError(f"a target is {wrong}: targets are 0 (absent) or 1 (present)")
    if not np.isfinite(values_NA).all():
        image, attribute = np.argwhere(~np.isfinite(values_NA))[0].tolist()
        raise DataError(
            f"{name} hold {values_NA[image, attribute]} at image {image}, attribute {attribute}: "
            "the weights are damaged or overflow in this precision; try --precision float32"
        )
