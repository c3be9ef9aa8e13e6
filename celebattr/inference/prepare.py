"""One input becomes frames: opened, its faces found, each brought into CelebA's frame."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celebattr.data.images import is_aligned, open_image, to_frame
from celebattr.data.inputs import Input
from celebattr.errors import ImageError
from celebattr.results import FaceBox, Failure

if TYPE_CHECKING:
    from celebattr.faces.detector import YuNet


@dataclass(frozen=True)
class Prepared:
    """An input that is decoded, its faces found and brought into the frame.

    Attributes:
        boxes: one a frame; None where the image was taken as an aligned face.
        frames: uint8 [218, 178, 3] each.
        faces: how many faces the photo has, reported or not.
        failure: why there is none, or None.
    """

    input: Input
    boxes: tuple[FaceBox | None, ...] = ()
    frames: tuple[NDArray[np.uint8], ...] = ()
    faces: int = 0
    failure: Failure | None = None


class Preparer:
    """Opens inputs in this very process, from any thread.

    Args:
        faces: `PredictConfig.faces`: largest, all or none.
    """

    def __init__(self, faces: str) -> None:
        self.faces = faces
        self._detector: YuNet | None = None
        self._lock = threading.Lock()

    def __call__(self, item: Input) -> Prepared:
        """Opens an input and brings its faces into the frame; what fails becomes a `failure`."""
        if item.failure is not None:
            return Prepared(item, failure=item.failure)
        try:
            image = open_image(item.source, name=item.path)
            if self.faces == "none" or is_aligned(image):
                return Prepared(item, (None,), (to_frame(image),), 1)
            return self._find_faces(item, np.asarray(image))
        except ImageError as error:
            return Prepared(item, failure=Failure(item.path, error.status, str(error)))

    def _find_faces(self, item: Input, image_HWC: NDArray[np.uint8]) -> Prepared:
        # Imported here: an aligned photo needs no detector, and cv2 takes 0.1 s to import.
        from celebattr.faces.alignment import align
        from celebattr.faces.detector import YuNet, largest

        with self._lock:
            detector = self._detector = self._detector or YuNet()
        found = detector.detect(image_HWC)
        if not found:
            return Prepared(
                item,
                failure=Failure(
                    item.path,
                    "no_face",
                    "no face found; if the image is a cropped face, give --faces none",
                ),
            )
        height, width = image_HWC.shape[:2]
        chosen = found if self.faces == "all" else [largest(found, height, width)]
        frames = tuple(align(image_HWC, face, detector) for face in chosen)
        return Prepared(item, tuple(face.box for face in chosen), frames, len(found))
