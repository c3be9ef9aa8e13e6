"""Pictures that `predict --annotate` and `--explain` write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from celebattr.attributes import select
from celebattr.images.open import open_image
from celebattr.inference.draw.annotate import annotate, output_name, save
from celebattr.inference.draw.heatmaps import Explainer, heat, name_of, overlay
from celebattr.inference.inputs.source import Input
from celebattr.predictions import Prediction, Result


class Pictures:
    """A writer of annotated photos and of the requested heat maps."""

    def __init__(self, folder: Path, explain: str | None, weights: str) -> None:
        self.folder = folder
        self.attributes: list[str] = []
        if explain is not None:
            self.explainer = Explainer(weights)
            self.attributes = select(explain, self.explainer.card.attributes)

    def write(self, item: Input, results: list[Result]) -> None:
        """Write the pictures of one input; a failure has none."""
        predictions = [result for result in results if isinstance(result, Prediction)]
        if not predictions:
            return
        image = open_image(item.source, name=item.path)
        file = output_name(item.path, self.folder)
        save(annotate(image, predictions), file)
        if self.attributes:
            drawn = heat_maps(self.explainer, image, predictions, self.attributes)
            for name, picture in zip(self.attributes, drawn, strict=True):
                save(picture, name_of(file, name))


def heat_maps(
    explainer: Explainer, image: Image.Image, faces: Sequence[Prediction], attributes: Sequence[str]
) -> Iterator[Image.Image]:
    """Yield an upright RGB photo with the heat map over its faces, for each of some attributes."""
    pixels_HWC = np.asarray(image)
    maps = [explainer.on_photo(pixels_HWC, face, attributes) for face in faces]
    for k, name in enumerate(attributes):
        # An attribute that --attributes left out has no probability to show.
        parts = [
            heat(maps_KHW[k], face.probabilities.get(name, 1.0))
            for maps_KHW, face in zip(maps, faces, strict=True)
        ]
        yield overlay(image, np.max(parts, axis=0))  # faces may overlap: the stronger map shows
