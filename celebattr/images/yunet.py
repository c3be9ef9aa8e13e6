"""YuNet, the network that sees faces, in onnxruntime.

Source: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023; the model
`face_detection_yunet_2023mar.onnx` of the OpenCV Zoo (MIT). What its outputs mean: OpenCV's
`FaceDetectorYN`, which gives the same faces in two to four times the time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import weights_folder
from celebattr.errors import WeightsError

MODEL_FILE = "face_detection_yunet_2023mar.onnx"
MODEL_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

_STRIDES = (8, 16, 32)
_FIXED = b"\x0a\x03\x08\x80\x05" * 2
"""The input of 640 by 640 pixels as encoded in the model file."""
_FREE = b"\x0a\x03\x12\x01h\x0a\x03\x12\x01w"
"""The same fields with a free height h and width w."""


class Network:
    """The network; one serves any number of threads, each call uses one core.

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

    def __call__(self, image_HWC: NDArray[np.uint8], least: float) -> NDArray[np.float32]:
        """Return all detections in an RGB image at its own size, several per face.

        Returns:
            float32 [K, 15]: left, top, width, height, five landmarks, and the score from `least`.
        """
        height, width = image_HWC.shape[:2]
        rows, columns = (-(-side // _STRIDES[-1]) for side in (height, width))
        bgr_1CHW = np.zeros((1, 3, rows * _STRIDES[-1], columns * _STRIDES[-1]), np.float32)
        bgr_1CHW[0, :, :height, :width] = image_HWC.transpose(2, 0, 1)[::-1]
        outputs = self._session.run(None, {"input": bgr_1CHW})
        found = []
        for level, stride in enumerate(_STRIDES):
            # Of each cell, from its middle and in cells: how likely it is a face, how well the box
            # fits it, the middle of the box with the logarithms of its sides, and five points.
            class_C1, object_C1, box_C4, points_CX = (output[0] for output in outputs[level::3])
            square_C = class_C1[:, 0] * object_C1[:, 0]  # of the score; both are between 0 and 1
            cells_K = np.flatnonzero(square_C >= least * least)
            row_K, column_K = np.divmod(cells_K, bgr_1CHW.shape[3] // stride)
            cell_K2 = np.stack([column_K, row_K], axis=1).astype(np.float32)
            size_K2 = np.exp(box_C4[cells_K, 2:])
            corner_K2 = cell_K2 + box_C4[cells_K, :2] - size_K2 / 2
            points_KX = points_CX[cells_K] + np.tile(cell_K2, 5)
            places_KX = np.concatenate([corner_K2, size_K2, points_KX], axis=1) * stride
            found.append(np.column_stack([places_KX, np.sqrt(square_C[cells_K])]))
        return np.concatenate(found)


def _read_model(path: Path) -> bytes:
    """Read the detector's model file and verify it."""
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
