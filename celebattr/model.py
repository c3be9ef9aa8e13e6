"""A loaded bundle as a Python object: `celebattr.load()` gives one, and calling it gives faces."""

from __future__ import annotations

import base64
import html
import io
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from celebattr.attributes import select
from celebattr.errors import ImageError, UnreadableImageError, UsageError, WeightsError
from celebattr.images.colour import to_rgb
from celebattr.images.open import open_image
from celebattr.images.photo import Photo
from celebattr.inference.config import PredictConfig
from celebattr.inference.draw.heatmaps import Explainer
from celebattr.inference.draw.pictures import heat_maps
from celebattr.inference.faces import Prepared, Preparer
from celebattr.inference.inputs.source import Input, photo
from celebattr.inference.predictor import Predictor
from celebattr.inference.scorer import Scorer
from celebattr.io.prefetch import ordered_map
from celebattr.models.device import usable_cores
from celebattr.predictions import NO_FACE, Failure, Prediction

Source: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]"
"""A photo: a path or URL, the bytes of a file, a PIL image, or RGB uint8 [H, W, 3]."""


@dataclass(frozen=True, repr=False)
class Face:
    """One face of a photo, and its attributes.

    Attributes:
        prediction: what the network says.
        crop: the aligned face, uint8 [218, 178, 3]; None where another process opened the photo
            (`Model.stream`).
    """

    prediction: Prediction
    crop: NDArray[np.uint8] | None = None

    @property
    def number(self) -> int:
        """Number in its photo: 1 is the main face, the others follow by size."""
        return self.prediction.face

    @property
    def probabilities(self) -> dict[str, float]:
        """Calibrated probability of each attribute, 0 to 1."""
        return self.prediction.probabilities

    @property
    def present(self) -> list[str]:
        """Attributes whose probability reaches their threshold."""
        return self.prediction.present

    @property
    def unsure(self) -> list[str]:
        """Attributes whose decision, present or not, is uncertain."""
        return self.prediction.unsure

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """Left, top, right and bottom in pixels of the upright photo; None of an aligned face."""
        box = self.prediction.box
        return None if box is None else (box.left, box.top, box.right, box.bottom)

    @property
    def score(self) -> float | None:
        """The face detector's score, 0 to 1; None of an aligned face."""
        return None if self.prediction.box is None else self.prediction.box.score

    def to_dict(self) -> dict[str, Any]:
        """The row that `celebattr predict` writes."""
        return self.prediction.row()

    def __repr__(self) -> str:
        row = self.to_dict()
        where = "" if row["box"] is None else f", box={row['box']}, score={row['score']}"
        return f"Face({row['path']!r}{where}, present={self.present})"

    def _repr_html_(self) -> str:
        """The crop beside its present attributes, for a notebook."""
        picture = ""
        if self.crop is not None:
            file = io.BytesIO()
            Image.fromarray(self.crop).save(file, "PNG")
            data = base64.b64encode(file.getvalue()).decode()
            picture = f'<img src="data:image/png;base64,{data}" alt="aligned face">'
        marks = {name: " ?" for name in self.unsure}
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{self.probabilities[name]:.0%}"
            f"{marks.get(name, '')}</td></tr>"
            for name in sorted(self.present, key=lambda name: -self.probabilities[name])
        )
        return f'<div style="display: flex; gap: 1em">{picture}<table>{rows}</table></div>'


class Model:
    """A bundle that scores photos in this process, from any number of threads.

    Args:
        config: the bundle, and how photos become predictions.

    Raises:
        UsageError: an attribute is asked for that the bundle does not have.
        WeightsError, DeviceError: the bundle cannot be loaded on the device.
    """

    def __init__(self, config: PredictConfig) -> None:
        if config.engine != "local":
            raise UsageError("a model runs on this machine: celebattr.score takes engine='ray'")
        self.config = config
        self._predictor = Predictor(config)
        self._preparer = Preparer(config.faces, config.min_face, config.min_score)
        self._explainer: Explainer | None = None
        self._explaining = threading.Lock()

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that are reported, in order."""
        return self._predictor.attributes

    def __repr__(self) -> str:
        backend = self._predictor.backend
        return f"Model({str(backend.path)!r}, {backend.description!r})"

    @overload
    def __call__(self, source: Source) -> list[Face]: ...
    @overload
    def __call__(self, source: list[Any] | tuple[Any, ...]) -> list[list[Face]]: ...
    def __call__(self, source: Any) -> list[Face] | list[list[Face]]:
        """Find the faces of a photo, and their attributes.

        Args:
            source: a photo (see `Source`), or a list of them, which are opened in threads and
                scored in batches.

        Returns:
            The faces of the photo, the main face first, [] where it has none; of a list, a list
            for each.

        Raises:
            ImageError: a photo cannot be opened, or has no face and `strict` is set; the message
                names it.
            WeightsError: the network's output is not finite.
        """
        if not isinstance(source, list | tuple):
            return self._finish([self._open(source)])[0]
        cores = usable_cores()
        size = self.config.batch_size or self._predictor.backend.batch_size
        opened = ordered_map(self._open, source, workers=cores, ahead=size + cores)
        found: list[list[Face]] = []
        batch: list[Prepared] = []
        for prepared in opened:
            batch.append(prepared)
            if sum(len(one.frames) for one in batch) >= size:
                found += self._finish(batch)
                batch = []
        return found + self._finish(batch)

    def stream(
        self, paths: Iterable[str | os.PathLike[str]]
    ) -> Iterator[tuple[str, list[Face] | Failure]]:
        """Score many photos in worker processes, as `celebattr predict` does.

        Args:
            paths: paths or URLs of photos; see `celebattr.score` for folders and archives.

        Yields:
            Each path with its faces, in order: [] where there is none (with `strict`, a `Failure`),
            and a `Failure` where the photo cannot be opened or scored.
        """
        allow = self.config.allow_protocol
        inputs = (photo(os.fspath(path), allow) for path in paths)
        with Scorer(self.config, predictor=self._predictor) as scorer:
            for item, results in scorer.stream(inputs):
                failure = next((one for one in results if isinstance(one, Failure)), None)
                if failure is not None and self._failed(failure):
                    yield item.path, failure
                else:
                    yield item.path, [Face(r) for r in results if isinstance(r, Prediction)]

    def heatmap(self, source: Source, attribute: str) -> Image.Image:
        """Draw where in the faces of a photo the network sees an attribute.

        Needs torch, matplotlib and a .safetensors bundle.

        Returns:
            The photo with the map over it, RGB; without a face, the photo as it is.

        Raises:
            ImageError: the photo cannot be opened.
            UsageError: the bundle has no such attribute.
            WeightsError, MissingExtraError: the bundle has no maps, or a library is missing.
        """
        faces = [face.prediction for face in self(source)]
        image = _image(source, self.config.allow_protocol)
        with self._explaining:  # its hooks are on the network
            self._explainer = self._explainer or Explainer(self.config.bundle)
            names = select([attribute], self._explainer.card.attributes)
            return next(heat_maps(self._explainer, image, faces, names)) if faces else image

    def _open(self, source: Source) -> Prepared:
        """An opened photo with its faces; raises `ImageError`."""
        item = _input(source, self.config.allow_protocol)
        if isinstance(source, Image.Image | np.ndarray):
            prepared = self._preparer.crop(item, Photo.of(np.asarray(_image(source))))
        else:
            prepared = self._preparer(item)
        failure = prepared.failure
        if failure is not None and self._failed(failure):
            raise _ERRORS[failure.status](failure.error)
        return prepared

    def _failed(self, failure: Failure) -> bool:
        return failure.status != NO_FACE or self.config.strict

    def _finish(self, batch: Sequence[Prepared]) -> list[list[Face]]:
        """The faces of some opened photos, scored together."""
        found: list[list[Face]] = []
        for prepared, results in zip(batch, self._predictor.finish(batch), strict=True):
            faces = []
            for result, crop in zip(results, prepared.frames, strict=False):
                if isinstance(result, Failure):  # what failed before has no crops
                    raise WeightsError(result.error)
                faces.append(Face(result, crop))
            found.append(faces)
        return found


_ERRORS = {kind.status: kind for kind in ImageError.__subclasses__()}


def _input(source: Source, allow: Iterable[str] = ()) -> Input:
    """A photo with its name, and its bytes where they do not lie in a file."""
    if isinstance(source, bytes):
        return Input("image", data=source)
    if isinstance(source, Image.Image | np.ndarray):
        return Input(str(getattr(source, "filename", "") or "image"))
    return photo(os.fspath(source), allow).ready()


def _image(source: Source, allow: Iterable[str] = ()) -> Image.Image:
    """A photo as an upright RGB image; raises `ImageError`."""
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise UnreadableImageError(
                f"an array of {source.dtype} {list(source.shape)} is not uint8 RGB [H, W, 3]"
            )
        return Image.fromarray(source)
    item = _input(source, allow)
    if not isinstance(source, Image.Image):
        return open_image(item.source, name=item.path)
    try:
        return to_rgb(ImageOps.exif_transpose(source))
    except Exception as error:  # Pillow's exceptions share no base but this one
        raise UnreadableImageError(f"{item.path}: {error}") from error
