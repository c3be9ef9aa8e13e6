"""Pictures that `predict --annotate` and `--explain` write."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from celebattr.attributes import select
from celebattr.errors import DataError, ImageError
from celebattr.inference.draw.annotate import annotate, output_name, save
from celebattr.inference.draw.heatmaps import Explainer, heat, name_of, overlay
from celebattr.inference.inputs.source import Input
from celebattr.io.files import temporary_beside
from celebattr.predictions import FaceBox, Prediction, Result

_ODD = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)
"""Errors of one file name, not of the disk."""


class Pictures:
    """A writer of annotated photos and of the requested heat maps.

    Args:
        folder: where to.
        explain: attributes whose heat maps are drawn, or None.
        weights: the bundle.
        opened: opens a photo and returns what its sides were divided by too.
        notice: told of pictures that are not there, or bear another name.
    """

    def __init__(
        self,
        folder: Path,
        explain: str | None,
        weights: str,
        opened: Callable[[Input], tuple[Image.Image, int]],
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder, self._opened, self._notice = folder, opened, notice
        self.attributes: list[str] = []
        if explain is not None:
            temporary_beside(folder)
            self.explainer = Explainer(weights)
            self.attributes = select(explain, self.explainer.card.attributes)

    def write(self, item: Input, results: list[Result]) -> None:
        """Write the pictures of one input; a failure has none.

        Raises:
            DataError: the disk takes no pictures. What is wrong with one name or photo is told.
        """
        predictions = [result for result in results if isinstance(result, Prediction)]
        if not predictions:
            return
        try:
            image, divisor = self._opened(item)
        except ImageError as error:
            self._notice(f"no picture: {error}")
            return
        predictions = [_divided(prediction, divisor) for prediction in predictions]
        file = output_name(item.path, self.folder)
        self._save(annotate(image, predictions), file, item)
        if self.attributes:
            drawn = heat_maps(self.explainer, image, predictions, self.attributes)
            for name, picture in zip(self.attributes, drawn, strict=True):
                self._save(picture, name_of(file, name), item)

    def _save(self, image: Image.Image, file: Path, item: Input) -> None:
        """Save a picture, under a plain name where its own one is impossible."""
        try:
            save(image, file)
        except DataError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _ODD:
                raise
            digest = hashlib.sha256(os.fsencode(f"{item.path}\0{file.name}")).hexdigest()[:16]
            plain = self.folder / f"{digest}.annotated{file.suffix}"
            self._notice(f"{error} Drawn as {plain}")
            save(image, plain)


def heat_maps(
    explainer: Explainer, image: Image.Image, faces: Sequence[Prediction], attributes: Sequence[str]
) -> Iterator[Image.Image]:
    """Yield an upright RGB photo with the heat map over its faces, for each of some attributes."""
    pixels_HWC = np.asarray(image)
    for name in attributes:  # one map at a time: each is four bytes per pixel of the photo
        strongest_HW = np.zeros(pixels_HWC.shape[:2], np.float32)
        for face in faces:
            (map_HW,) = explainer.on_photo(pixels_HWC, face, [name])
            # An attribute that --attributes left out has no probability to show.
            shown_HW = heat(map_HW, face.probabilities.get(name, 1.0))
            np.maximum(strongest_HW, shown_HW, out=strongest_HW)  # faces may overlap
        yield overlay(image, strongest_HW)


def _divided(prediction: Prediction, divisor: int) -> Prediction:
    """Return a prediction in pixels of the photo whose sides were divided."""
    box, to_frame = prediction.box, prediction.to_frame
    if box is not None:
        left, top, right, bottom = (
            side / divisor for side in (box.left, box.top, box.right, box.bottom)
        )
        box = FaceBox(left, top, right, bottom, box.score)
    if to_frame is not None:
        rows_23 = np.array(to_frame).reshape(2, 3)
        # A pixel's middle is at a whole number: it is that of `divisor` pixels in a row.
        shift_3 = np.array([(divisor - 1) / 2, (divisor - 1) / 2, 1.0])
        rows_23 = np.column_stack([rows_23[:, :2] * divisor, rows_23 @ shift_3])
        to_frame = tuple(rows_23.ravel().tolist())
    return replace(prediction, box=box, to_frame=to_frame)
