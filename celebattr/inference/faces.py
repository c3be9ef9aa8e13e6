"""Preparation of an input: opening, face detection and alignment to crops."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import CROP_SIZE, MIN_SCORE
from celebattr.errors import ImageError
from celebattr.images.photo import FIRST_SIDE, Photo, is_aligned
from celebattr.images.turns import in_turn
from celebattr.inference.inputs.source import Input
from celebattr.predictions import FaceBox, Failure

if TYPE_CHECKING:
    from celebattr.images.detect import YuNet


@dataclass(frozen=True)
class Prepared:
    """A decoded input with its faces aligned.

    Attributes:
        boxes: one per crop, in the order of `Prediction.face`; None where the image was taken as
            an aligned face.
        frames: uint8 [218, 178, 3] each.
        to_frame: the transform of each, as `Prediction.to_frame`.
        faces: how many faces the photo has, reported or not.
        failure: why there is none, or None.
    """

    input: Input
    boxes: tuple[FaceBox | None, ...] = ()
    frames: tuple[NDArray[np.uint8], ...] = ()
    to_frame: tuple[tuple[float, ...] | None, ...] = ()
    faces: int = 0
    failure: Failure | None = None


class Preparer:
    """A callable that opens inputs in this very process, from any thread.

    Args:
        faces: `PredictConfig.faces`: largest, all or none.
        min_face: pixels of the smallest face to report; 0 for all that are found.
        min_score: least score of a face to report.
    """

    def __init__(self, faces: str, min_face: int = 0, min_score: float = MIN_SCORE) -> None:
        self.faces, self.min_face, self.min_score = faces, min_face, min_score
        self._detector: YuNet | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Load what finds and aligns faces: the first photo neither waits nor is blamed."""
        if self.faces != "none":
            from celebattr.images.align import warp

            self.detector()
            warp(np.zeros((8, 8, 3), np.uint8), np.eye(2, 3), *CROP_SIZE)  # OpenCV is whole

    @in_turn()
    def __call__(self, item: Input) -> Prepared:
        """Open an input and align its faces; an error becomes a `failure`."""
        if item.failure is not None:
            return Prepared(item, failure=item.failure)
        try:
            return self.crop(item, Photo(item.source, FIRST_SIDE, name=item.path))
        except ImageError as error:
            return Prepared(item, failure=Failure(item.path, error.status, str(error)))

    def crop(self, item: Input, photo: Photo) -> Prepared:
        """Finds the faces of an opened photo and brings them into the frame.

        Raises:
            ImageError: the photo cannot be decoded in the size that is needed.
        """
        if self.faces == "none" or is_aligned(photo.size):
            return Prepared(item, (None,), (photo.frame(),), (None,), 1)
        return self._find_faces(item, photo)

    def detector(self) -> YuNet:
        """Return the face detector, loaded on first use: an aligned photo needs none."""
        from celebattr.images.detect import YuNet

        with self._lock:
            if self._detector is None:
                self._detector = YuNet(min_score=self.min_score, min_face=self.min_face)
        return self._detector

    def _find_faces(self, item: Input, photo: Photo) -> Prepared:
        from celebattr.images.align import aligned_crops

        crops, count = aligned_crops(photo, self.detector(), every=self.faces == "all")
        if not crops:
            return Prepared(item, failure=Failure(item.path, "no_face", self._advice(photo.size)))
        return Prepared(
            item,
            tuple(crop.face.box for crop in crops),
            tuple(crop.frame_HWC for crop in crops),
            tuple(tuple(crop.transform.ravel().tolist()) for crop in crops),
            count,
        )

    def _advice(self, size: tuple[int, int]) -> str:
        """The reason why there is no face, and what may help."""
        if self.min_face:
            return f"no face of {self.min_face} pixels or more found"
        if max(size) < 2 * FIRST_SIDE and max(size) < 2 * min(size):
            return "no face found; if the image is a cropped face, give --faces none"
        return "no face found; --min-face 24 looks for smaller ones"
