"""Pictures that `predict --annotate` and `--explain` write."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from celebattr.attributes import select
from celebattr.images.open import open_image
from celebattr.inference.draw.annotate import annotate, output_name, save
from celebattr.inference.inputs.source import Input
from celebattr.predictions import Prediction, Result


class Pictures:
    """A writer of annotated photos and of the requested heat maps."""

    def __init__(self, folder: Path, explain: str | None, weights: str) -> None:
        self.folder = folder
        self.attributes: list[str] = []
        if explain is not None:
            from celebattr.inference.draw.heatmaps import Explainer

            self.explainer = Explainer(weights)
            self.attributes = list(select(explain.split(","), self.explainer.card.attributes))

    def write(self, item: Input, results: list[Result]) -> None:
        """Write the pictures of one input; a failure has none."""
        predictions = [result for result in results if isinstance(result, Prediction)]
        if not predictions:
            return
        image = open_image(item.source, name=item.path)
        file = output_name(item.path, self.folder)
        save(annotate(image, predictions), file)
        if self.attributes:
            from celebattr.inference.draw import heatmaps

            pixels = np.asarray(image)
            maps = [self.explainer.on_photo(pixels, p, self.attributes) for p in predictions]
            for k, name in enumerate(self.attributes):
                # An attribute that --attributes left out has no probability to show.
                parts = [
                    heatmaps.heat(maps_KHW[k], face.probabilities.get(name, 1.0))
                    for maps_KHW, face in zip(maps, predictions, strict=True)
                ]
                # Faces may overlap: the stronger map shows.
                save(heatmaps.overlay(image, np.max(parts, axis=0)), heatmaps.name_of(file, name))
