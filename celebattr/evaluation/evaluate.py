"""Evaluation of a bundle on a split of a data set: each image counts once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import select
from celebattr.data.cache import attach_cache
from celebattr.data.dataset import FaceDataset
from celebattr.data.faces import how, load_crops, usable
from celebattr.errors import DataError, UsageError
from celebattr.evaluation import metrics
from celebattr.evaluation.comparison import compare, robustness
from celebattr.evaluation.config import CalibrateConfig, EvaluateConfig
from celebattr.evaluation.consistency import logic
from celebattr.evaluation.corruptions import chosen
from celebattr.evaluation.curves import with_curves
from celebattr.evaluation.examples import examples
from celebattr.evaluation.pointing import pointing
from celebattr.evaluation.predict_split import probabilities
from celebattr.evaluation.published import published
from celebattr.evaluation.report import Comparison, EvalReport
from celebattr.evaluation.slices import gaps, slices
from celebattr.inference.draw.heatmaps import Explainer
from celebattr.models import decisions
from celebattr.models.backends import Backend, open_backend
from celebattr.models.card import Card

log = logging.getLogger(__name__)

Decide = Callable[[NDArray[np.float32]], NDArray[np.bool_]]
"""Function from probabilities [N, A] of a bundle to its decisions, bool [N, A]."""


def evaluate(
    config: EvaluateConfig,
    on_progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] = log.info,
) -> EvalReport:
    """Measure a bundle on a split.

    Args:
        config: what to evaluate, and on what.
        on_progress: called with the images done and their total, after each batch.
        notice: told one line at a time what was decided about the images.

    Raises:
        DataError: the data cannot be read, the split is empty, or has no attribute of the bundle.
        UsageError: an option names what there is not, or the other bundle shares no attribute.
        WeightsError, DeviceError: see `open_backend`.
    """
    corruptions = chosen(config.corrupt)
    images, no_face = load_split(config, config.split, notice)
    backend = open_backend(config.weights, device=config.device, precision=config.precision)
    attributes, card = shared_attributes(images, backend), backend.card
    columns = [card.attributes.index(name) for name in attributes]
    targets_NA, people_N = images.targets_of(attributes), images.identities_N
    other = _other(config, backend, attributes)
    backends = [backend] if other is None else [backend, other]
    (thresholds_A, decide), *others_decide = (
        _decider(one.card, config, others=one is other) for one in backends
    )
    by = select(config.slices, attributes) if config.slices else []
    explainer = Explainer(config.weights) if config.pointing else None
    started = time.monotonic()
    p_VNA, *others_p = probabilities(
        backends,
        images,
        batch_size=config.batch_size,
        workers=config.workers,
        flip=config.flip,
        corruptions=corruptions,
        on_progress=on_progress,
    )
    seconds = time.monotonic() - started
    # Consistent decisions are made over all attributes of the bundle, scored or not.
    present_VNA = np.stack([decide(p_NA)[:, columns] for p_NA in p_VNA])
    p_VNA = p_VNA[:, :, columns]
    p_NA, present_NA = p_VNA[0], present_VNA[0]
    decided = (p_NA, targets_NA, present_NA, attributes)
    below = card.unsure_below if config.unsure_below is None else config.unsure_below
    measured = metrics.measure(
        *decided,
        split=config.split,
        weights=str(backend.path.name),
        people_N=people_N,
        unsure_NA=decisions.unsure(p_NA, present_NA, below),
        # With another network, or corrupted images, the time is not this one's.
        images_per_second=None if other or corruptions else len(images) / seconds,
    )
    report = replace(
        measured.report,
        measured_in=backend.precision + "+flip" * config.flip,
        consistent=config.consistent,
        faces=how(images),
        no_face=no_face,
        logic=logic(p_NA, targets_NA, thresholds_A[columns], attributes, people_N),
        corruptions=robustness(p_VNA, targets_NA, present_VNA, corruptions, people_N),
        published=published(attributes),
    )
    if other is not None:
        against = _compared(measured, other, others_p[0][0], others_decide[0][1], images, backend)
        report = replace(report, against=against)
    if config.curves:
        report = with_curves(report, p_NA, targets_NA)
    if by:
        parts = slices(*decided, by, people_N)
        report = replace(report, slices=parts, gaps=gaps(parts, *decided[1:], people_N))
    if config.examples:
        found = examples(images, *decided, count=config.examples, thumbnails=config.thumbnails)
        report = replace(report, examples=found)
    if explainer is None:
        return report
    return replace(report, pointing=pointing(explainer, images, on_progress))


def load_split(
    config: CalibrateConfig, split: str | None, notice: Callable[[str], None]
) -> tuple[FaceDataset, int]:
    """Return the images of a split with their cache, and how many photos without a face are not.

    Photos that are aligned are kept in memory, where it holds them: they are opened before they
    are scored, to know which have a face.

    Args:
        config: the data sets.
        split: None for validation or, where there is none, all.
        notice: told what was decided about the images.

    Raises:
        DataError: the data cannot be read, or has no such images.
    """
    dataset, found = load_crops(config)
    notice(f"faces      {found}")
    if split is None:
        split = "validation" if len(dataset.split("validation")) else "all"
    images = dataset.split(split, config.limit)
    if len(images) == 0:
        raise DataError(
            f"no {split} images in {', '.join(map(str, config.data))}: "
            f"{dataset.describe()}. Give --split all to evaluate on every image"
        )
    mode = "ram" if config.cache == "off" and how(images) != "none" else config.cache
    (images,), cache = attach_cache(
        dataset, (images,), mode=mode, folder=config.cache_folder, fast=True
    )
    if config.cache != "off" and cache.startswith("off"):
        log.warning("cache %s", cache)
    (images,), left_out = usable((images,), skip_unreadable=False, workers=config.workers)
    for line in left_out.lines():
        notice(f"faces      {line}")
    if len(images) == 0:
        raise DataError(f"no image of {', '.join(map(str, config.data))} shows a face")
    return images, len(left_out.no_face)


def shared_attributes(images: FaceDataset, backend: Backend) -> tuple[str, ...]:
    """Return the attributes of a bundle of which some labels are known; warn of the others.

    Raises:
        DataError: there are none.
    """
    shares_A = images.shares_A.tolist()
    known = {n for n, share in zip(images.attributes, shares_A, strict=True) if share == share}
    own = backend.card.attributes
    shared = tuple(name for name in own if name in known)
    lacking = [name for name in own if name not in known]
    strange = [name for name in images.attributes if name not in own]
    if not shared:
        raise DataError(
            f"the data has labels for none of the attributes that {backend.path.name} predicts: "
            f"it has {_named(images.attributes)}, the bundle {_named(own)}"
        )
    if lacking:
        log.warning("left out, no labels in the data: %s", _named(lacking))
    if strange:
        log.warning("left out, not predicted by %s: %s", backend.path.name, _named(strange))
    return shared


def _named(names: Sequence[str]) -> str:
    """Return some names, shortened: "Bald, Bangs, Young and 37 more"."""
    more = f" and {len(names) - 3} more" if len(names) > 4 else ""
    return ", ".join(names[:3] if more else names) + more


def _decider(
    card: Card, config: EvaluateConfig, *, others: bool
) -> tuple[NDArray[np.float64], Decide]:
    """Return thresholds [A] of a bundle, and its decisions by them; `others`: see the card."""
    thresholds_A = card.thresholds_at(config.operating_point, config.threshold, others=others)
    how = decisions.Consistent(card.attributes).present if config.consistent else decisions.present
    return thresholds_A, partial(how, thresholds_A=thresholds_A)


def _other(config: EvaluateConfig, backend: Backend, attributes: Sequence[str]) -> Backend | None:
    """Return the bundle to compare with, or None."""
    if config.against is None:
        return None
    other = open_backend(config.against, device=config.device, precision=config.precision)
    if not set(attributes) & set(other.card.attributes):
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
    decide: Decide,
    images: FaceDataset,
    backend: Backend,
) -> Comparison:
    """Return the comparison of `backend` with the other bundle, over the attributes of both."""
    known = other.card.attributes
    shared = [row.attribute for row in ours.report.attributes if row.attribute in known]
    columns = [known.index(name) for name in shared]
    theirs = metrics.measure(
        p_NA[:, columns],
        images.targets_of(shared),
        decide(p_NA)[:, columns],
        shared,
        split=ours.report.split,
        weights=other.path.name,
        people_N=images.identities_N,
    )
    comparison = compare(ours, theirs)
    if other.path.name == backend.path.name and other.path != backend.path:
        # Every run folder's is best.safetensors.
        return replace(comparison, weights=str(other.path))
    return comparison
