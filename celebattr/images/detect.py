"""Face detection: YuNet, in onnxruntime.

Source: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023; the model
`face_detection_yunet_2023mar.onnx` of the OpenCV Zoo (MIT). What its outputs mean: OpenCV's
`FaceDetectorYN`, which gives the same faces in two to four times the time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import weights_folder
from celebattr.errors import WeightsError
from celebattr.predictions import FaceBox

MODEL_FILE = "face_detection_yunet_2023mar.onnx"
MODEL_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

MIN_SCORE = 0.7
"""Faces below this score are not reported. 240 photos of one person each scored at least 0.84; in
photos of groups, faces down to 0.8; a clock 0.65; one of the photos without people, a dog, 0.85."""
MIN_SCORE_TURNED = 0.8
"""Least score in a turned photo: three more passes are three more chances to be wrong."""
OVERLAP = 0.3
"""Intersection over union above which the box of lower score is dropped."""
SURE = 0.9
"""A lower score may mean that the face lies on its side or upside down. Of 240 upright photos the
main face scored below 0.9 in eight; the same photos upside down in all but a twentieth, at 0.65 to
0.9, with landmarks in disorder."""
SIDES: tuple[int, ...] = (640, 320, 1280)
"""Longer sides in pixels to which a photo is shrunk, look by look, until one shows a face: for most
photos; for a face that fills the photo; for small faces in a large one."""

_STRIDES = (8, 16, 32)
_FIXED = b"\x0a\x03\x08\x80\x05" * 2
"""The input of 640 by 640 pixels as encoded in the model file."""
_FREE = b"\x0a\x03\x12\x01h\x0a\x03\x12\x01w"
"""The same fields with a free height h and width w."""


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

    @property
    def side(self) -> float:
        """The square root of the area of the box."""
        return math.sqrt((self.box.right - self.box.left) * (self.box.bottom - self.box.top))

    def scaled(self, x: float, y: float) -> Face:
        """Return the same face in a photo of `x` times the width and `y` times the height."""
        box = self.box
        return Face(
            FaceBox(box.left * x, box.top * y, box.right * x, box.bottom * y, box.score),
            self.landmarks_52 * np.array([x, y], np.float32),
        )


class Picture(Protocol):
    """A photo that can be read at part of its size: `celebattr.images.photo.Photo`."""

    size: tuple[int, int]

    def at(self, side: float) -> NDArray[np.uint8]:
        """Return RGB [H, W, 3], with at least `side` pixels on its longer side if it has them."""
        ...


class Detector(Protocol):
    """A face detector; both methods are safe to call from many threads."""

    def detect(self, photo: Picture) -> list[Face]:
        """Return all faces of a photo of any size, best score first."""
        ...

    def look(self, image_HWC: NDArray[np.uint8]) -> list[Face]:
        """Return the faces found in one pass at the image's own size, best score first."""
        ...


class YuNet:
    """The YuNet detector; one serves any number of threads, each call uses one core.

    Args:
        model: the ONNX file; None takes the one that comes with celebattr.

    Raises:
        WeightsError: the model file is missing or damaged.
    """

    def __init__(self, model: Path | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # it would warn that outputs have other sizes than 640x640's
        self._session = onnxruntime.InferenceSession(
            _read_model(model or weights_folder() / MODEL_FILE).replace(_FIXED, _FREE),
            options,
            providers=["CPUExecutionProvider"],
        )

    def detect(self, photo: Picture) -> list[Face]:
        """Find the faces of a photo.

        Looks at copies of the photo in the sizes of `SIDES` until one shows a face; if no face is
        sure by then, at the three quarter turns, of which the best wins if it is better.

        Returns:
            Best score first; boxes and landmarks in pixels of the photo in full.
        """
        found: list[Face] = []
        # A photo that is smaller than a side is not enlarged: such looks are one and the same.
        for side in dict.fromkeys(min(side, max(photo.size)) for side in SIDES):
            found = found or self._look_shrunk(photo, side)
        for turns in (1, 2, 3):
            if found and found[0].box.score >= SURE:
                break
            faces = self._look_shrunk(photo, SIDES[0], turns)
            faces = [face for face in faces if face.box.score >= MIN_SCORE_TURNED]
            if faces and (not found or faces[0].box.score > found[0].box.score):
                found = faces
        return found

    def look(self, image_HWC: NDArray[np.uint8]) -> list[Face]:
        """Detect in one pass at the image's own size: no shrinking, no turning."""
        import cv2

        height, width = image_HWC.shape[:2]
        padded_HWC = cv2.copyMakeBorder(
            image_HWC, 0, -height % _STRIDES[-1], 0, -width % _STRIDES[-1], cv2.BORDER_CONSTANT
        )
        bgr_1CHW = cv2.dnn.blobFromImage(padded_HWC, swapRB=True)
        outputs = self._session.run(None, {"input": bgr_1CHW})
        columns = padded_HWC.shape[1]
        rows_K15 = np.concatenate(
            [
                _faces(stride, columns // stride, *(output[0] for output in outputs[level::3]))
                for level, stride in enumerate(_STRIDES)
            ]
        )
        best = cv2.dnn.NMSBoxes(
            rows_K15[:, :4].tolist(), rows_K15[:, 14].tolist(), MIN_SCORE, OVERLAP
        )
        faces = [_face(rows_K15[k]) for k in best]
        return sorted(faces, key=lambda face: -face.box.score)

    def _look_shrunk(self, photo: Picture, side: int, turns: int = 0) -> list[Face]:
        small_HWC = _shrunk(photo.at(side), side)
        height, width = small_HWC.shape[:2]
        x, y = photo.size[0] / width, photo.size[1] / height
        faces = self.look(np.rot90(small_HWC, turns))
        return [unturned(face, turns, height, width).scaled(x, y) for face in faces]


def largest(faces: Sequence[Face], height: int, width: int) -> Face:
    """Return the main face of a photo, by size weighted with centrality.

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
    """Return a face found in `np.rot90(image, turns)`, in pixels of `image`.

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


def _faces(
    stride: int,
    columns: int,
    class_C1: NDArray[np.float32],
    object_C1: NDArray[np.float32],
    box_C4: NDArray[np.float32],
    landmarks_CX: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the confident detections of one level of the network.

    Args:
        stride: side of a cell in pixels.
        columns: cells per row.
        class_C1: how likely it is a face.
        object_C1: how well the box fits it.
        box_C4: its middle, from the cell's, and the logarithms of its sides, all in cells.
        landmarks_CX: x and y of five points, from the cell's, in cells.

    Returns:
        float32 [K, 15]: left, top, width, height, five landmarks, score.
    """
    score_C = np.sqrt(np.clip(class_C1[:, 0], 0.0, 1.0) * np.clip(object_C1[:, 0], 0.0, 1.0))
    cells_K = np.flatnonzero(score_C >= MIN_SCORE)
    cell_K2 = np.stack([cells_K % columns, cells_K // columns], axis=1).astype(np.float32)
    size_K2 = np.exp(box_C4[cells_K, 2:])
    corner_K2 = cell_K2 + box_C4[cells_K, :2] - size_K2 / 2
    landmarks_KX = landmarks_CX[cells_K] + np.tile(cell_K2, 5)
    places_KX = np.concatenate([corner_K2, size_K2, landmarks_KX], axis=1) * stride
    return np.column_stack([places_KX, score_C[cells_K]])


def _face(row: NDArray[np.float32]) -> Face:
    left, top, width, height = (float(value) for value in row[:4])
    box = FaceBox(left, top, left + width, top + height, float(row[14]))
    return Face(box, row[4:14].reshape(5, 2).copy())


def _shrunk(image_HWC: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrink an image to at most `side` pixels on its longer side."""
    import cv2

    height, width = image_HWC.shape[:2]
    scale = side / max(height, width)
    if scale >= 1.0:
        return image_HWC
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # By area takes ten times as long, and is needed only where pixels would be passed over.
    how = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_HWC, size, interpolation=how), np.uint8)


def _read_model(path: Path) -> bytes:
    """Read the detector's model file and verify it.

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
