"""A bundle on a split of a data set: each image counts once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from celebattr import decisions
from celebattr.attributes import select
from celebattr.config import EvaluateConfig
from celebattr.data import celeba, loader
from celebattr.data.dataset import FaceDataset
from celebattr.errors import DataError, UsageError
from celebattr.evaluation import metrics
from celebattr.evaluation.comparison import compare
from celebattr.evaluation.curves import with_curves
from celebattr.evaluation.examples import examples
from celebattr.evaluation.pointing import pointing
from celebattr.evaluation.slices import gaps, slices
from celebattr.inference.backends import Backend, open_backend
from celebattr.inference.explain import Explainer
from celebattr.parse import parse_operating_point
from celebattr.results import Comparison, EvalReport


def evaluate(
    config: EvaluateConfig, on_progress: Callable[[int, int], None] | None = None
) -> EvalReport:
    """Measures a bundle on a split.

    Args:
        config: what to evaluate, and on what.
        on_progress: called with the images done and their total, after each batch.

    Raises:
        DataError: the data cannot be read, the split is empty, or lacks attributes of the bundle.
        UsageError: the bundle to compare with shares none of them, or a card has no counts to
            choose the operating point from.
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
    other = _other(config, backend)
    point = parse_operating_point(config.operating_point)
    backends = [backend] if other is None else [backend, other]
    thresholds = [one.card.thresholds_at(point) for one in backends]
    by = select(config.slices.split(","), card.attributes) if config.slices else []
    explainer = Explainer(config.weights) if config.pointing else None
    columns = [images.attributes.index(name) for name in card.attributes]
    started = time.monotonic()
    p_NA, *others = _probabilities(backends, images, config, on_progress)
    seconds = time.monotonic() - started
    present_NA = decisions.present(p_NA, thresholds[0])
    below = card.unsure_below if config.unsure_below is None else config.unsure_below
    targets_NA = images.targets_NA[:, columns]
    measured = metrics.measure(
        p_NA,
        targets_NA,
        present_NA,
        card.attributes,
        split=config.split,
        weights=str(backend.path.name),
        people_N=images.identities_N,
        unsure_NA=decisions.unsure(p_NA, present_NA, below),
        # With another network the time is not this one's.
        images_per_second=len(images) / seconds if other is None else None,
    )
    report = replace(measured.report, measured_in=backend.precision + "+flip" * config.flip)
    if other is not None:
        comparison = _compared(measured, other, others[0], thresholds[1], images)
        if other.path.name == backend.path.name and other.path != backend.path:
            # Every run folder's is best.safetensors.
            comparison = replace(comparison, weights=str(other.path))
        report = replace(report, against=comparison)
    if config.curves:
        report = with_curves(report, p_NA, targets_NA)
    if by:
        people_N = images.identities_N
        parts = slices(p_NA, targets_NA, present_NA, card.attributes, by, people_N)
        wide = gaps(parts, targets_NA, present_NA, card.attributes, people_N)
        report = replace(report, slices=parts, gaps=wide)
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


def _other(config: EvaluateConfig, backend: Backend) -> Backend | None:
    """The bundle to compare with, where one is asked for."""
    if config.against is None:
        return None
    other = open_backend(config.against, device=config.device, precision=config.precision)
    if not set(backend.card.attributes) & set(other.card.attributes):
        raise UsageError(
            f"--against {config.against}: it predicts none of the attributes of "
            f"{backend.path.name}, so there is nothing to compare. Give a bundle that shares some; "
            "'celebattr info BUNDLE' lists them"
        )
    return other


def _compared(
    ours: metrics.Measured,
    other: Backend,
    p_NA: NDArray[np.float32],
    thresholds_A: NDArray[np.float64],
    images: FaceDataset,
) -> Comparison:
    """Ours against the other bundle's probabilities and thresholds, over what both predict."""
    known = other.card.attributes
    shared = [row.attribute for row in ours.report.attributes if row.attribute in known]
    columns = [known.index(name) for name in shared]
    p_NS = p_NA[:, columns]
    theirs = metrics.measure(
        p_NS,
        images.targets_NA[:, [images.attributes.index(name) for name in shared]],
        decisions.present(p_NS, thresholds_A[columns]),
        shared,
        split=ours.report.split,
        weights=other.path.name,
        people_N=images.identities_N,
    )
    return compare(ours, theirs)


def _probabilities(
    backends: Sequence[Backend],
    images: FaceDataset,
    config: EvaluateConfig,
    on_progress: Callable[[int, int], None] | None,
) -> list[NDArray[np.float32]]:
    """Calibrated probabilities [N, A] of all images, in their order, one array a bundle.

    Each image is decoded once, for all bundles.
    """
    parts: list[list[NDArray[np.float32]]] = [[] for _ in backends]
    done = 0

    def run(batch: loader.Batch) -> list[NDArray[np.float32]]:
        return [_judged(backend, batch.frames_BHWC, config.flip) for backend in backends]

    batches = loader.batches(
        images, np.arange(len(images)), batch_size=config.batch_size, workers=config.workers
    )
    cores = min(backend.at_once for backend in backends)
    for found in loader.ordered_map(run, batches, workers=cores, ahead=cores):
        for part, p_BA in zip(parts, found, strict=True):
            part.append(p_BA)
        done += len(found[0])
        if on_progress is not None:
            on_progress(done, len(images))
    assert done == len(images)
    return [np.concatenate(part) for part in parts]


def _judged(backend: Backend, frames_BHWC: NDArray[np.uint8], flip: bool) -> NDArray[np.float32]:
    """Calibrated probabilities [B, A] of frames, averaged with their mirror images if `flip`."""
    logits_BA = backend.logits(frames_BHWC)
    if flip:
        mirrored_BHWC = np.ascontiguousarray(frames_BHWC[:, :, ::-1])
        logits_BA = (logits_BA + backend.logits(mirrored_BHWC)) / 2.0
    card = backend.card
    return decisions.probabilities(logits_BA, np.array(card.scale), np.array(card.bias))
