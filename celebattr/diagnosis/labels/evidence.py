"""Evidence for the search of wrong labels: labelled images and a network's probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import SPLITS
from celebattr.data.dataset import FaceDataset
from celebattr.data.soft_labels import read_probabilities
from celebattr.diagnosis.pictures import spread
from celebattr.errors import DataError
from celebattr.evaluation.predict_split import probabilities
from celebattr.models.backends import Backend

Progress = Callable[[int, int], None]
"""Callback with the number of images done and their total."""

_HARD = (
    "What the network cannot see counts as a wrong label: for attributes that are hard to predict "
    "the error rate is too high."
)
_BY_HEART = (
    "A network learns the wrong labels of its own training images by heart: if the train images "
    "here are among them, it finds fewer of theirs, and their error rates are too low. For these, "
    "give --probabilities of networks that did not see them (cross-validation)."
)


@dataclass(frozen=True)
class Evidence:
    """Labelled images and a network's probabilities for them.

    Attributes:
        images: the labelled images.
        attributes: the A names that are looked at.
        probabilities_NA: of these, calibrated, 0 to 1.
        source: where they come from: name of a bundle or of a file.
        notes: what to know before believing them, sentences.
    """

    images: FaceDataset
    attributes: tuple[str, ...]
    probabilities_NA: NDArray[np.float32]
    source: str
    notes: tuple[str, ...] = field(default=())

    @property
    def labels_NA(self) -> NDArray[np.bool_]:
        """The labels of `attributes`, bool [N, A]."""
        columns = [self.images.attributes.index(name) for name in self.attributes]
        return self.images.targets_NA[:, columns] >= 0.5


def choose(dataset: FaceDataset, split: str, limit: int | None) -> FaceDataset:
    """Return the images of a split, or of `all`: at most `limit` of each, evenly spread.

    Raises:
        DataError: there are none.
    """
    names = list(SPLITS) if split == "all" else [split]
    each = [np.flatnonzero(dataset.splits_N == SPLITS[name]) for name in names]
    rows_N = np.concatenate([rows[spread(len(rows), limit)] for rows in each])
    if len(rows_N) == 0:
        raise DataError(f"no {split} images: {dataset.describe()}")
    return dataset.take(rows_N)


def from_bundle(
    backend: Backend,
    images: FaceDataset,
    *,
    batch_size: int,
    workers: int,
    on_progress: Progress = lambda done, total: None,
) -> Evidence:
    """Score images with a bundle, on the attributes that both know.

    Raises:
        DataError: an image cannot be read, or they have no attribute in common.
    """
    card = backend.card
    shared = [name for name in card.attributes if name in images.attributes]
    if not shared:
        raise DataError(f"the data has labels for none of the attributes of {backend.path.name}")
    columns = [card.attributes.index(name) for name in shared]
    p_VNA = probabilities(
        [backend], images, batch_size=batch_size, workers=workers, on_progress=on_progress
    )[0]
    trained = card.trained_on.get("data") or "images that its card does not name"
    notes = [f"{backend.path.name} was trained on: {trained}.", _HARD]
    if (images.splits_N == SPLITS["train"]).any():
        notes.insert(1, _BY_HEART)
    return Evidence(images, tuple(shared), p_VNA[0][:, columns], backend.path.name, tuple(notes))


def from_file(path: Path, images: FaceDataset) -> Evidence:
    """Read the probabilities of a CSV written by `celebattr predict --format csv`.

    Raises:
        DataError: see `read_probabilities`.
    """
    rows_n, p_nA = read_probabilities(images, path)
    order = np.argsort(rows_n)
    notes = [
        f"The probabilities of {path.name} are taken as they are; they should come from networks "
        "that were not trained on the images they judge.",
        _HARD,
    ]
    if len(rows_n) < len(images):
        notes.insert(
            0,
            f"{path.name} names {len(rows_n):,} of {len(images):,} images: only they "
            "were looked at.",
        )
    return Evidence(
        images.take(rows_n[order]), images.attributes, p_nA[order], path.name, tuple(notes)
    )
