"""What opening an input gives: frames, or a failure.

Apart from `celebattr.inference.faces`, which needs Pillow: a process that has others open its
inputs does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celebattr.inference.inputs.source import Input
from celebattr.predictions import FaceBox, Failure


@dataclass(frozen=True)
class Prepared:
    """An input that is decoded, its faces found and brought into the frame.

    Attributes:
        boxes: one a frame; None where the image was taken as an aligned face.
        frames: uint8 [218, 178, 3] each.
        to_frame: how each was brought there, as `Prediction.to_frame`.
        faces: how many faces the photo has, reported or not.
        failure: why there is none, or None.
    """

    input: Input
    boxes: tuple[FaceBox | None, ...] = ()
    frames: tuple[NDArray[np.uint8], ...] = ()
    to_frame: tuple[tuple[float, ...] | None, ...] = ()
    faces: int = 0
    failure: Failure | None = None
