"""Pictures that `predict --annotate` and `--explain` write."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from celebattr.attributes import select
from celebattr.errors import DataError, ImageError
from celebattr.images.open import open_image
from celebattr.inference.draw.annotate import annotate, output_name, save
from celebattr.inference.draw.heatmaps import Explainer, heat, name_of, overlay
from celebattr.inference.inputs.source import Input
from celebattr.predictions import Prediction, Result

_ODD = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)
"""What is wrong with one name, and not with the disk."""


class Pictures:
    """A writer of annotated photos and of the requested heat maps.

    Args:
        folder: where to.
        explain: attributes whose heat maps are drawn, or None.
        weights: the bundle.
        notice: told of pictures that are not there, or bear another name.
    """

    def __init__(
        self,
        folder: Path,
        explain: str | None,
        weights: str,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder, self._notice = folder, notice
        self.attributes: list[str] = []
        if explain is not None:
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
            image = open_image(item.source, name=item.path)
        except ImageError as error:
            self._notice(f"no picture: {error}")
            return
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
    explainer: Explainer,
    image: Image.Image,
    faces: Sequence[Prediction],
    attributes: Sequence[str],
) -> Iterator[Image.Image]:
    """A photo with the heat map over its faces, for each of some attributes.

    Args:
        explainer: the bundle whose maps they are.
        image: RGB, the upright photo.
        faces: the predictions of its faces; at least one.
        attributes: some of the bundle's attributes.
    """
    pixels_HWC = np.asarray(image)
    maps = [explainer.on_photo(pixels_HWC, face, attributes) for face in faces]
    for k, name in enumerate(attributes):
        # An attribute that --attributes left out has no probability to show.
        parts = [
            heat(maps_KHW[k], face.probabilities.get(name, 1.0))
            for maps_KHW, face in zip(maps, faces, strict=True)
        ]
        yield overlay(image, np.max(parts, axis=0))  # faces may overlap: the stronger map shows
