"""Scales and thresholds of a bundle from other labels, without training: `celebattr calibrate`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.errors import DataError, UsageError
from celebattr.evaluation import calibration, metrics
from celebattr.evaluation.config import CalibrateConfig
from celebattr.evaluation.evaluate import load_split, shared_attributes
from celebattr.evaluation.predict_split import logits
from celebattr.evaluation.report import EvalReport
from celebattr.io.files import check_target
from celebattr.models import bundle, decisions
from celebattr.models.backends import open_backend
from celebattr.models.card import Card
from celebattr.models.weights import bundle_file, shipped_bundles
from celebattr.options import OperatingPoint, parse_operating_point

FEWEST = 10
"""Positives, and negatives, that an attribute needs to be calibrated."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Outcome of `calibrate`.

    Attributes:
        path: the bundle that was written.
        calibrated: names of the attributes that got a scale and a threshold.
        kept: those whose scale and threshold are as before, for want of labels.
        before, after: figures of the calibrated attributes on the same images.
    """

    path: Path
    calibrated: tuple[str, ...]
    kept: tuple[str, ...]
    before: EvalReport
    after: EvalReport


def calibrate(
    weights: str,
    config: CalibrateConfig,
    output: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    notice: Callable[[str], None] = log.info,
) -> Calibration:
    """Fit the scales and thresholds of a bundle to labelled images, and write it.

    Args:
        weights: the bundle, safetensors or ONNX.
        config: the images, and the operating point that thresholds are chosen at.
        output: the bundle to write, of the same format; without it, the bundle itself.
        on_progress: called with the images done and their total.
        notice: told one line at a time what was decided about the images.

    Raises:
        UsageError: there is no data; the output is missing for a shipped bundle, or has another
            suffix.
        DataError: the data cannot be read, or has too few labels of every attribute.
        WeightsError, DeviceError: see `open_backend`.
        MissingExtraError: the bundle is ONNX, and the package onnx is not installed.
    """
    if not config.data:
        raise UsageError("no data: give --data DIR or set CELEBATTR_DATA")
    source = bundle_file(weights)
    if output is None and source in shipped_bundles():
        raise UsageError(f"{source.name} came with this installation: name another with --output")
    target = output or source
    if target.suffix != source.suffix:
        raise UsageError(f"--output {target}: the bundle is {source.name}, so give {source.suffix}")
    check_target(output, overwrite=config.overwrite)
    images, _ = load_split(config, config.split, notice)
    backend = open_backend(str(source), device=config.device, precision=config.precision)
    names = np.array(shared_attributes(images, backend))
    targets_NA = images.targets_of(names.tolist())
    enough_A = ((targets_NA == 1).sum(axis=0) >= FEWEST) & ((targets_NA == 0).sum(axis=0) >= FEWEST)
    if not enough_A.any():
        raise DataError(
            f"no attribute has {FEWEST} images where it is present and {FEWEST} where it is "
            f"absent among these {len(images):,}: label more"
        )
    calibrated = tuple(names[enough_A].tolist())
    targets_NA = targets_NA[:, enough_A]
    card = backend.card
    columns = np.array([card.attributes.index(name) for name in calibrated])
    logits_NA = logits(
        backend,
        images,
        batch_size=config.batch_size,
        workers=config.workers,
        on_progress=on_progress,
    )[:, columns]
    fitted = replace(
        fit(card, columns, logits_NA, targets_NA, parse_operating_point(config.operating_point)),
        calibrated_on=f"{len(images):,} images of {images.summary}",
        metrics={},  # they were measured at other thresholds
    )
    bundle.rewrite(source, fitted, target)

    def report(card: Card) -> EvalReport:
        scale_A, bias_A, thresholds_A = (
            np.array(values)[columns] for values in (card.scale, card.bias, card.thresholds)
        )
        p_NA = decisions.probabilities(logits_NA, scale_A, bias_A)
        present_NA = decisions.present(p_NA, thresholds_A)
        about = {"split": config.split or "", "weights": source.name}
        return metrics.report(p_NA, targets_NA, present_NA, calibrated, **about)

    kept = tuple(name for name in card.attributes if name not in calibrated)
    return Calibration(target, calibrated, kept, report(card), report(fitted))


def fit(
    card: Card,
    columns: NDArray[np.int64],
    logits_NA: NDArray[np.floating[Any]],
    targets_NA: NDArray[Any],
    point: OperatingPoint,
) -> Card:
    """Return a card whose scales, thresholds and counts of some attributes fit labels.

    Args:
        card: of the network.
        columns: the A attributes, by their place in the card.
        logits_NA: of these, [N, A].
        targets_NA: 0 or 1, NaN where unknown, [N, A]; both values of each attribute.
        point: at which thresholds are chosen; at "default" they stay.
    """
    scale_A, bias_A, thresholds_A = map(np.array, (card.scale, card.bias, card.thresholds))
    shift_A = bias_A[columns] / scale_A[columns]
    scale_A[columns] = calibration.fit_scale(logits_NA + shift_A, targets_NA).round(5)
    bias_A[columns] = scale_A[columns] * shift_A  # the same logit stays at one half
    p_NA = decisions.probabilities(logits_NA, scale_A[columns], bias_A[columns])
    tally = decisions.counts(p_NA, targets_NA)
    if point.kind != "default":
        # Over 1 is never present; JSON has no infinity.
        thresholds_A[columns] = np.minimum(decisions.thresholds(tally, *point), 1.01)
    counts = card.counts
    if counts or len(columns) == len(card.attributes):
        all_counts = np.array(counts or np.zeros((2, len(columns), decisions.BINS)), np.int64)
        all_counts[:, columns] = tally
        counts = all_counts.tolist()
    return replace(
        card,
        scale=tuple(scale_A),
        bias=tuple(bias_A),
        thresholds=tuple(thresholds_A),
        counts=counts,
    )
