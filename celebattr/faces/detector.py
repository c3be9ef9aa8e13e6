"""Where the faces of a photo are: YuNet, through OpenCV.

Source: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023; the model
`face_detection_yunet_2023mar.onnx` of the OpenCV Zoo (MIT).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from celebattr.errors import WeightsError
from celebattr.paths import weights_folder
from celebattr.results import FaceBox

if TYPE_CHECKING:
    import cv2

MODEL_FILE = "face_detection_yunet_2023mar.onnx"
MODEL_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

MIN_SCORE = 0.7
"""Faces below this score are not reported. 240 photos of one person each scored at least 0.84; in
photos of groups, faces down to 0.8; a clock 0.65; one of the photos without people, a dog, 0.85."""
MIN_SCORE_TURNED = 0.8
"""The same for a turned photo: three more looks are three more chances to be wrong."""
OVERLAP = 0.3
"""Of two boxes with a larger intersection over union, the one of lower score is dropped."""
SURE = 0.9
"""A lower score may mean that the face lies on its side or upside down. Of 240 upright photos the
main face scored below 0.9 in eight; the same photos upside down in all but a twentieth, at 0.65 to
0.9, with landmarks in disorder."""
SIDES: tuple[int, ...] = (640, 320, 1280)
"""Longer sides in pixels to which a photo is shrunk, look by look, until one shows a face: for most
photos; for a face that fills the photo; for small faces in a large one."""


@dataclass(frozen=True)
class Face:
    """A face in a photo.

    Attributes:
        box: in pixels of the photo; may reach over its rim.
        landmarks_52: float32 [5, 2], x and y in pixels of the photo: viewer-left eye, viewer-right
            eye, nose, viewer-left and viewer-right corner of the mouth, for a viewer who sees the
            face upright.
    """

    box: FaceBox
    landmarks_52: NDArray[np.float32]


class Detector(Protocol):
    """What finds faces. Both methods are safe to call from many threads."""

    def detect(self, image_HWC: NDArray[np.uint8]) -> list[Face]:
        """All faces of a photo of any size, best score first."""
        ...

    def look(self, image_HWC: NDArray[np.uint8]) -> list[Face]:
        """The faces found in one pass at the image's own size, best score first."""
        ...


class YuNet:
    """OpenCV's `FaceDetectorYN`. OpenCV's object may not be shared, so each thread has its own.

    Args:
        model: the ONNX file; None takes the one that comes with celebattr.

    Raises:
        WeightsError: the model file is missing or damaged.
    """

    def __init__(self, model: Path | None = None) -> None:
        self._model = np.frombuffer(_read_model(model or weights_folder() / MODEL_FILE), np.uint8)
        self._own = threading.local()
        self._creating = threading.Lock()

    def detect(self, image_HWC: NDArray[np.uint8]) -> list[Face]:
        """Finds the faces of a photo.

        Looks at copies of the photo in the sizes of `SIDES` until one shows a face; if no face is
        sure by then, at the three quarter turns, of which the best wins if it is better.

        Args:
            image_HWC: RGB, any size.

        Returns:
            Best score first; boxes and landmarks in pixels of `image_HWC`.
        """
        found: list[Face] = []
        # A photo that is smaller than a side is not enlarged: such looks are one and the same.
        for side in dict.fromkeys(min(side, max(image_HWC.shape[:2])) for side in SIDES):
            found = found or self._look_shrunk(image_HWC, side)
        for turns in (1, 2, 3):
            if found and found[0].box.score >= SURE:
                break
            faces = self._look_shrunk(image_HWC, SIDES[0], turns)
            faces = [face for face in faces if face.box.score >= MIN_SCORE_TURNED]
            if faces and (not found or faces[0].box.score > found[0].box.score):
                found = faces
        return found

    def look(self, image_HWC: NDArray[np.uint8]) -> list[Face]:
        """One pass at the image's own size: no shrinking, no turning."""
        height, width = image_HWC.shape[:2]
        detector = self._detector()
        detector.setInputSize((width, height))
        bgr_HWC = np.ascontiguousarray(image_HWC[:, :, ::-1])
        # One row a face: left, top, width, height, five landmarks, score.
        rows = detector.detect(bgr_HWC)[1]
        faces = [] if rows is None else [_face(np.asarray(row, np.float32)) for row in rows]
        return sorted(faces, key=lambda face: -face.box.score)

    def _look_shrunk(self, image_HWC: NDArray[np.uint8], side: int, turns: int = 0) -> list[Face]:
        small_HWC = _shrunk(image_HWC, side)
        height, width = small_HWC.shape[:2]
        x, y = image_HWC.shape[1] / width, image_HWC.shape[0] / height
        faces = self.look(np.rot90(small_HWC, turns))
        return [_scaled(unturned(face, turns, height, width), x, y) for face in faces]

    def _detector(self) -> cv2.FaceDetectorYN:
        import cv2

        if not hasattr(self._own, "detector"):
            # OpenCV 5 warns on stderr that it ignores the target it was given by default. The level
            # is the whole program's, so one thread at a time may change it.
            with self._creating:
                level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
                try:
                    self._own.detector = cv2.FaceDetectorYN.create(
                        "onnx", self._model, np.zeros(0, np.uint8), (320, 320), MIN_SCORE, OVERLAP
                    )
                finally:
                    cv2.utils.logging.setLogLevel(level)
        detector: cv2.FaceDetectorYN = self._own.detector
        return detector


def largest(faces: Sequence[Face], height: int, width: int) -> Face:
    """The main face of a photo: size weighed with centrality.

    The area of the box that lies inside the photo, times a weight that falls from 1 in the
    photo's middle to 0.3 at its rim: a cut-off face at the rim does not win over a whole one.

    Args:
        faces: at least one.
        height: of the photo, in pixels.
        width: of the photo, in pixels.
    """

    def weight(face: Face) -> float:
        box = face.box
        visible_width = max(min(box.right, width) - max(box.left, 0.0), 0.0)
        visible_height = max(min(box.bottom, height) - max(box.top, 0.0), 0.0)
        across = abs(box.left + box.right - width) / width
        down = abs(box.top + box.bottom - height) / height
        return visible_width * visible_height * (1.0 - 0.7 * min(max(across, down), 1.0))

    return max(faces, key=weight)


def unturned(face: Face, turns: int, height: int, width: int) -> Face:
    """A face found in `np.rot90(image, turns)`, in pixels of `image`.

    Args:
        face: in pixels of the turned image.
        turns: quarter turns against the clock.
        height: of `image`, before turning.
        width: of `image`, before turning.
    """
    box = face.box
    points = np.array([*face.landmarks_52, (box.left, box.top), (box.right, box.bottom)])
    for turn in range(turns % 4, 0, -1):
        # Undoes one turn: what was at the right is now at the top.
        before_width = width if turn % 2 else height
        points = np.stack([before_width - points[:, 1], points[:, 0]], axis=1)
    (left, top), (right, bottom) = points[5:].min(axis=0), points[5:].max(axis=0)
    return Face(
        FaceBox(float(left), float(top), float(right), float(bottom), box.score),
        points[:5].astype(np.float32),
    )


def _face(row: NDArray[np.float32]) -> Face:
    left, top, width, height = (float(value) for value in row[:4])
    box = FaceBox(left, top, left + width, top + height, float(row[14]))
    return Face(box, row[4:14].reshape(5, 2).copy())


def _scaled(face: Face, x: float, y: float) -> Face:
    box = face.box
    return Face(
        FaceBox(box.left * x, box.top * y, box.right * x, box.bottom * y, box.score),
        face.landmarks_52 * np.array([x, y], np.float32),
    )


def _shrunk(image_HWC: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The image with its longer side at most `side` pixels."""
    import cv2

    height, width = image_HWC.shape[:2]
    scale = side / max(height, width)
    if scale >= 1.0:
        return image_HWC
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA), np.uint8)


def _read_model(path: Path) -> bytes:
    """The detector's bytes, checked.

    Raises:
        WeightsError: missing, unreadable or not the published file.
    """
    advice = "reinstall celebattr, or fetch it from the OpenCV Zoo"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"the face detector {path} cannot be read ({error.strerror}): {advice}"
        ) from error
    if hashlib.sha256(content).hexdigest() != MODEL_SHA256:
        raise WeightsError(f"the face detector {path} is damaged or another version: {advice}")
    return content
