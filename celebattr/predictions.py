"""Results of scoring: one `Prediction` per face, one `Failure` per input that gave none.

`row()` is the JSON form (schema 1), the same in every engine and writer:

    {"schema": 1, "path": ..., "status": "ok", "face": 0, "faces": 1,
     "box": [left, top, right, bottom], "score": ..., "probabilities": {...},
     "present": [...], "unsure": [...]}
    {"schema": 1, "path": ..., "status": "unreadable", "error": ...}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

SCHEMA = 1
FAILURES: tuple[str, ...] = ("unreadable", "too_large", "no_face", "not_found", "timeout")
"""Every `status` besides "ok"."""


@dataclass(frozen=True)
class FaceBox:
    """A face in a photo: pixels of the upright photo, from its top left corner.

    `left` of the viewer. `score` is the detector's, between 0 and 1.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float


@dataclass(frozen=True)
class Prediction:
    """The attributes of one face.

    Attributes:
        path: the input as it was given.
        face: index of the face in its photo, from 0, in the order of reporting.
        faces: how many faces were found in the photo.
        box: where the face is, or None where the whole image was taken as an aligned face.
        probabilities: calibrated, 0 to 1, one per attribute.
        present: attributes whose probability reaches their threshold.
        unsure: attributes whose decision, either way, is less likely right than the bundle's card
            asks for.
        to_frame: the two rows of the matrix from pixels of the photo (x, y, 1) to pixels of the
            aligned crop, one after the other; None where `box` is.
    """

    status: ClassVar[str] = "ok"

    path: str
    face: int
    faces: int
    box: FaceBox | None
    probabilities: dict[str, float]
    present: list[str]
    unsure: list[str]
    to_frame: tuple[float, ...] | None = None

    def row(self) -> dict[str, Any]:
        """Return the prediction as a JSON object of schema 1."""
        box = self.box
        return {
            "schema": SCHEMA,
            "path": self.path,
            "status": self.status,
            "face": self.face,
            "faces": self.faces,
            "box": None
            if box is None
            else [round(v, 1) for v in (box.left, box.top, box.right, box.bottom)],
            "score": None if box is None else round(box.score, 4),
            "probabilities": {name: round(p, 4) for name, p in self.probabilities.items()},
            "present": self.present,
            "unsure": self.unsure,
        }


@dataclass(frozen=True)
class Failure:
    """An input that gave no prediction. `status` is one of `FAILURES`."""

    path: str
    status: str
    error: str

    def row(self) -> dict[str, Any]:
        """Return the failure as a JSON object of schema 1."""
        return {"schema": SCHEMA, "path": self.path, "status": self.status, "error": self.error}


Result = Prediction | Failure
