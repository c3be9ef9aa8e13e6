"""A bundle on a split of a data set: each image counts once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr import decisions
from celebattr.attributes import select
from celebattr.config import EvaluateConfig
from celebattr.data import celeba, loader
from celebattr.data.dataset import FaceDataset
from celebattr.errors import DataError
from celebattr.evaluation import metrics
from celebattr.evaluation.examples import examples
from celebattr.evaluation.pointing import pointing
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
        WeightsError, DeviceError: see `open_backend`.
    """
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
    by = select(config.slices.split(","), card.attributes) if config.slices else []
    explainer = Explainer(config.weights) if config.pointing else None
    columns = [images.attributes.index(name) for name in card.attributes]
    started = time.monotonic()
    p_NA = _probabilities(backend, images, config, on_progress)
    seconds = time.monotonic() - started
    present_NA = decisions.present(p_NA, card.thresholds_at(point))
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
        images_per_second=len(images) / seconds,
    )
    report = replace(report, measured_in=backend.precision + "+flip" * config.flip)
    if by:
        people_N = images.identities_N
        parts = slices(p_NA, targets_NA, present_NA, card.attributes, by, people_N)
        report = replace(report, slices=parts)
    if config.examples:
        found = examples(
            images,
            p_NA,
            targets_NA,
            present_NA,
            card.attributes,
            count=config.examples,
            thumbnails=config.thumbnails,
        )
        report = replace(report, examples=found)
    if explainer is not None:
        report = replace(report, pointing=pointing(explainer, images, on_progress))
    return report


def _probabilities(
    backend: Backend,
    images: FaceDataset,
    config: EvaluateConfig,
    on_progress: Callable[[int, int], None] | None,
) -> NDArray[np.float32]:
    """Calibrated probabilities [N, A] of all images, in their order."""
    card = backend.card
    scale, bias = np.array(card.scale), np.array(card.bias)
    parts: list[NDArray[Any]] = []
    done = 0

    def run(batch: loader.Batch) -> NDArray[np.float32]:
        logits = backend.logits(batch.frames_BHWC)
        if config.flip:
            mirrored = np.ascontiguousarray(batch.frames_BHWC[:, :, ::-1])
            logits = (logits + backend.logits(mirrored)) / 2.0
        return decisions.probabilities(logits, scale, bias)

    batches = loader.batches(
        images, np.arange(len(images)), batch_size=config.batch_size, workers=config.workers
    )
    cores = backend.at_once
    for p_BA in loader.ordered_map(run, batches, workers=cores, ahead=cores):
        parts.append(p_BA)
        done += len(p_BA)
        if on_progress is not None:
            on_progress(done, len(images))
    assert done == len(images)
    return np.concatenate(parts)
