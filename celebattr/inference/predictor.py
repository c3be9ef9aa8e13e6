"""From one photo to the predictions of its faces."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celebattr import decisions
from celebattr.attributes import select
from celebattr.config import PredictConfig, parse_operating_point
from celebattr.data.images import is_aligned, open_image, to_frame
from celebattr.data.inputs import Input
from celebattr.errors import ImageError
from celebattr.inference.backends import Backend, open_backend
from celebattr.results import FaceBox, Failure, Prediction, Result

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


class Predictor:
    """A bundle and the options of `celebattr predict`.

    `prepare` is for many threads, `finish` for one.

    Raises:
        UsageError: an attribute is asked for that the bundle does not know.
        WeightsError, DeviceError: see `open_backend`.
    """

    def __init__(self, config: PredictConfig, backend: Backend | None = None) -> None:
        self.config = config
        self.backend = backend or open_backend(
            config.weights, device=config.device, precision=config.precision
        )
        card = self.backend.card
        self.attributes: tuple[str, ...] = card.attributes
        if config.attributes is not None:
            self.attributes = tuple(select(config.attributes.split(","), card.attributes))
        self._columns = np.array([card.attributes.index(a) for a in self.attributes])
        self._thresholds = card.thresholds_at(parse_operating_point(config.operating_point))
        self._unsure_below = card.unsure_below
        if config.unsure_below is not None:
            self._unsure_below = config.unsure_below
        if config.threshold is not None:
            self._thresholds = np.full(len(card.attributes), config.threshold)
        self._detector: YuNet | None = None
        self._lock = threading.Lock()

    @property
    def never_present(self) -> list[str]:
        """Attributes that the operating point rules out: no threshold has the precision asked."""
        pairs = zip(self.backend.card.attributes, self._thresholds, strict=True)
        return [name for name, threshold in pairs if threshold > 1.0 and name in self.attributes]

    def prepare(self, item: Input) -> Prepared:
        """Opens an input and brings its faces into the frame; what fails becomes a `failure`."""
        if item.failure is not None:
            return Prepared(item, failure=item.failure)
        try:
            source = item.path if item.data is None else item.data
            image = open_image(source, name=item.path)
            if self.config.faces == "none" or is_aligned(image):
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
        chosen = found if self.config.faces == "all" else [largest(found, height, width)]
        frames = tuple(align(image_HWC, face, detector) for face in chosen)
        return Prepared(item, tuple(face.box for face in chosen), frames, len(found))

    def finish(self, prepared: Sequence[Prepared]) -> list[list[Result]]:
        """Scores the frames of some inputs together: the results of each, in order."""
        frames = [frame for item in prepared for frame in item.frames]
        card = self.backend.card
        if frames:
            logits = self.backend.logits(np.stack(frames))
            p_NA = decisions.probabilities(logits, np.array(card.scale), np.array(card.bias))
            present_NA = decisions.present(p_NA, self._thresholds)
            unsure_NA = decisions.unsure(p_NA, present_NA, self._unsure_below)
        results: list[list[Result]] = []
        row = 0
        for item in prepared:
            if item.failure is not None:
                results.append([item.failure])
                continue
            found: list[Result] = []
            for face, box in enumerate(item.boxes):
                pick = self._columns
                found.append(
                    Prediction(
                        path=item.input.path,
                        face=face,
                        faces=item.faces,
                        box=box,
                        probabilities=dict(
                            zip(self.attributes, p_NA[row, pick].tolist(), strict=True)
                        ),
                        present=self._names(present_NA[row, pick]),
                        unsure=self._names(unsure_NA[row, pick]),
                    )
                )
                row += 1
            results.append(found)
        return results

    def _names(self, chosen_A: NDArray[np.bool_]) -> list[str]:
        return [name for name, yes in zip(self.attributes, chosen_A, strict=True) if yes]
