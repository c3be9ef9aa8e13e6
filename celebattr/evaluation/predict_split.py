"""Probabilities of all images of a split by several bundles, each image decoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from celebattr.data import loader
from celebattr.data.dataset import FaceDataset
from celebattr.evaluation.corruptions import Corruption, versions
from celebattr.io.prefetch import ordered_map
from celebattr.models import decisions
from celebattr.models.backends import Backend


def probabilities(
    backends: Sequence[Backend],
    images: FaceDataset,
    *,
    batch_size: int | None,
    workers: int,
    flip: bool = False,
    corruptions: Sequence[Corruption] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> list[NDArray[np.float32]]:
    """Return calibrated probabilities of each bundle, in the order of the images.

    Args:
        backends: the bundles, of which the first also scores the corrupted images.
        images: what to score.
        batch_size: images scored together; None: as many as suit the first bundle's device.
        workers: threads that decode.
        flip: average each image with its mirror image.
        corruptions: the C corruptions to apply.
        on_progress: called with the images done and their total, after each batch.

    Returns:
        [1 + C, N, A] of the first bundle, the images as they are and then corrupted; [1, N, A] of
        the others.

    Raises:
        DataError: an image cannot be read.
    """
    parts: list[list[NDArray[np.float32]]] = [[] for _ in backends]
    done = 0

    def run(batch: loader.Batch) -> list[NDArray[np.float32]]:
        found = []
        for at, backend in enumerate(backends):
            ways = () if at else corruptions
            seen = versions(batch.crops_BHWC, batch.indices_B, ways)
            found.append(np.stack([_judged(backend, crops, flip) for crops in seen]))
        return found

    size = batch_size or backends[0].batch_size
    batches = loader.batches(images, np.arange(len(images)), batch_size=size, workers=workers)
    cores = min(backend.at_once for backend in backends)
    for found in ordered_map(run, batches, workers=cores, ahead=cores):
        for part, p_VBA in zip(parts, found, strict=True):
            part.append(p_VBA)
        done += found[0].shape[1]
        if on_progress is not None:
            on_progress(done, len(images))
    assert done == len(images)
    return [np.concatenate(part, axis=1) for part in parts]


def logits(
    backend: Backend,
    images: FaceDataset,
    *,
    batch_size: int | None,
    workers: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """Return uncalibrated logits [N, A]; arguments and errors as of `probabilities`."""
    parts: list[NDArray[np.float32]] = []
    size = batch_size or backend.batch_size
    batches = loader.batches(images, np.arange(len(images)), batch_size=size, workers=workers)
    cores = backend.at_once
    for part in ordered_map(
        lambda batch: backend.logits(batch.crops_BHWC), batches, workers=cores, ahead=cores
    ):
        parts.append(part)
        on_progress(sum(map(len, parts)), len(images))
    return np.concatenate(parts)


def _judged(backend: Backend, crops_BHWC: NDArray[np.uint8], flip: bool) -> NDArray[np.float32]:
    """Return calibrated probabilities [B, A] of crops, averaged with their mirrors if `flip`."""
    logits_BA = backend.logits(crops_BHWC)
    if flip:
        mirrored_BHWC = np.ascontiguousarray(crops_BHWC[:, :, ::-1])
        logits_BA = (logits_BA + backend.logits(mirrored_BHWC)) / 2.0
    card = backend.card
    return decisions.probabilities(logits_BA, np.array(card.scale), np.array(card.bias))
