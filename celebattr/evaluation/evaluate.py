"""A bundle on a split of a data set: each image counts once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr import decisions
from celebattr.attributes import select
from celebattr.config import EvaluateConfig
from celebattr.data import celeba, corrupt, loader
from celebattr.data.corrupt import Corruption
from celebattr.data.dataset import FaceDataset
from celebattr.errors import DataError
from celebattr.evaluation import metrics
from celebattr.evaluation.logic import logic
from celebattr.evaluation.pointing import pointing
from celebattr.evaluation.published import published
from celebattr.evaluation.robustness import robustness
from celebattr.evaluation.slices import slices
from celebattr.inference.backends import Backend, open_backend
from celebattr.inference.explain import Explainer
from celebattr.parse import parse_operating_point
from celebattr.results import EvalReport


def evaluate(
    config: EvaluateConfig, on_progress: Callable[[int, int], None] | None = None
) -> EvalReport:
    """Measures a bundle on a split.

    Args:
        config: what to evaluate, and on what.
        on_progress: called with the images done and their total, after each batch.

    Raises:
        DataError: the data cannot be read, the split is empty, or lacks attributes of the bundle.
        UsageError: an option names what there is not.
        WeightsError, DeviceError: see `open_backend`.
    """
    corruptions = corrupt.chosen(config.corrupt)
    dataset = celeba.load(config.data, skip_missing=config.skip_missing)
    images = dataset.split(config.split, config.limit)
    if len(images) == 0:
        raise DataError(
            f"no {config.split} images in {', '.join(map(str, config.data))}: {dataset.describe()}"
        )
    backend = open_backend(config.weights, device=config.device, precision=config.precision)
    card = backend.card
    lacking = [name for name in card.attributes if name not in images.attributes]
    if lacking:
        raise DataError(
            f"the data has no labels for {', '.join(lacking)}, which {backend.path.name} predicts"
        )
    point = parse_operating_point(config.operating_point)
    thresholds_A = card.thresholds_at(point)
    how = decisions.Consistent(card.attributes).present if config.consistent else decisions.present
    decide = partial(how, thresholds_A=thresholds_A)
    by = select(config.slices.split(","), card.attributes) if config.slices else []
    explainer = Explainer(config.weights) if config.pointing else None
    columns = [images.attributes.index(name) for name in card.attributes]
    started = time.monotonic()
    p_VNA = _probabilities(backend, images, config, corruptions, on_progress)
    p_NA = p_VNA[0]
    seconds = time.monotonic() - started
    present_NA = decide(p_NA)
    below = card.unsure_below if config.unsure_below is None else config.unsure_below
    targets_NA = images.targets_NA[:, columns]
    report = metrics.report(
        p_NA,
        targets_NA,
        present_NA,
        card.attributes,
        split=config.split,
        weights=str(backend.path.name),
        people_N=images.identities_N,
        unsure_NA=decisions.unsure(p_NA, present_NA, below),
        images_per_second=None if corruptions else len(images) / seconds,
    )
    report = replace(
        report,
        measured_in=backend.precision + "+flip" * config.flip,
        consistent=config.consistent,
        logic=logic(p_NA, targets_NA, thresholds_A, card.attributes, images.identities_N),
        corruptions=robustness(p_VNA, targets_NA, decide, corruptions, images.identities_N),
        published=published(card.attributes),
    )
    if by:
        people_N = images.identities_N
        parts = slices(p_NA, targets_NA, present_NA, card.attributes, by, people_N)
        report = replace(report, slices=parts)
    if explainer is not None:
        report = replace(report, pointing=pointing(explainer, images, on_progress))
    return report


def _probabilities(
    backend: Backend,
    images: FaceDataset,
    config: EvaluateConfig,
    corruptions: Sequence[Corruption],
    on_progress: Callable[[int, int], None] | None,
) -> NDArray[np.float32]:
    """Calibrated probabilities [1 + C, N, A] of all images, as they are and spoiled, in order."""
    card = backend.card
    scale, bias = np.array(card.scale), np.array(card.bias)
    parts: list[NDArray[Any]] = []
    done = 0

    def score(frames_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = backend.logits(frames_BHWC)
        if config.flip:
            mirrored = np.ascontiguousarray(frames_BHWC[:, :, ::-1])
            logits = (logits + backend.logits(mirrored)) / 2.0
        return decisions.probabilities(logits, scale, bias)

    def run(batch: loader.Batch) -> NDArray[np.float32]:
        versions = corrupt.versions(batch.frames_BHWC, batch.indices_B, corruptions)
        return np.stack([score(frames_BHWC) for frames_BHWC in versions])

    batches = loader.batches(
        images, np.arange(len(images)), batch_size=config.batch_size, workers=config.workers
    )
    cores = backend.at_once
    for p_VBA in loader.ordered_map(run, batches, workers=cores, ahead=cores):
        parts.append(p_VBA)
        done += p_VBA.shape[1]
        if on_progress is not None:
            on_progress(done, len(images))
    assert done == len(images)
    return np.concatenate(parts, axis=1)
