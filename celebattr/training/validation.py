"""Validation of a network after an epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from celebattr.data import loader
from celebattr.data.dataset import FaceDataset, Targets, shares
from celebattr.evaluation import calibration, metrics
from celebattr.models.decisions import present, probabilities
from celebattr.models.device import out_of_memory
from celebattr.models.preprocess import Preprocess
from celebattr.training.distributed import World
from celebattr.training.losses import Loss

LARGEST_BATCH = 256
"""Most images per pass: whole batches are shared out, and each process needs some."""


@dataclass(frozen=True)
class Measured:
    """The figures of an epoch.

    Attributes:
        loss: of the uncalibrated logits.
        scale: of the logits, one per attribute, fitted on these images.
        probabilities_NA: calibrated.
        present_NA: decisions at 0.5.
        summary: the metrics.
        majority: mean attribute accuracy of always giving an attribute's more frequent value.
    """

    loss: float
    scale: NDArray[np.float64]
    probabilities_NA: NDArray[np.float32]
    present_NA: NDArray[np.bool_]
    summary: metrics.Summary
    majority: float


@torch.no_grad()
def logits(
    network: nn.Module,
    images: FaceDataset,
    preprocess: Preprocess,
    *,
    batch_size: int,
    workers: int,
    device: torch.device,
    autocast: Callable[[], torch.autocast],
    world: World,
) -> NDArray[np.float32]:
    """Return logits of all images, float32 [N, A], bit for bit for any number of processes.

    The batches are those of one process, because a sum may be rounded otherwise in a batch of
    another size; each process takes every so many, and none is filled up. A batch that memory is
    too small for is halved.
    """

    def run(crops_BHWC: Tensor) -> NDArray[np.float32]:
        try:
            inputs = preprocess(crops_BHWC.to(device))
            with autocast():
                logits_BA = network(inputs.contiguous(memory_format=torch.channels_last))
            found: NDArray[np.float32] = logits_BA.float().cpu().numpy()
            return found
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or len(crops_BHWC) == 1:
                raise
        # Outside of `except`: the error's traceback holds the tensors that did not fit.
        return np.concatenate([run(half) for half in crops_BHWC.tensor_split(2)])

    network.eval()
    logits_NA = np.zeros((len(images), len(images.attributes)), np.float32)
    chunks = loader.chunks(np.arange(len(images)), min(batch_size, LARGEST_BATCH))
    for batch in loader.read(images, chunks[world.rank :: world.size], workers=workers):
        logits_NA[batch.indices_B] = run(torch.from_numpy(batch.crops_BHWC))
    return world.join_rows(logits_NA)


def measure(
    logits_NA: NDArray[np.float32],
    targets_NA: Targets,
    shares_A: NDArray[np.floating[Any]],
    loss: Loss,
) -> Measured:
    """Compute the figures of an epoch.

    Args:
        logits_NA: [N, A], of the validation images.
        targets_NA: [N, A], 0 or 1; NaN where unknown.
        shares_A: positives of the training images, 0 to 1, [A].
        loss: of the run.
    """
    targets = torch.from_numpy(targets_NA).float()
    scale = calibration.fit_scale(logits_NA, targets_NA, shares_A)
    p = probabilities(logits_NA, scale, np.zeros_like(scale))
    decided = present(p, np.full_like(scale, 0.5))
    positives_A = shares(targets_NA)
    return Measured(
        loss=float(loss(torch.from_numpy(logits_NA), targets)),
        scale=scale,
        probabilities_NA=p,
        present_NA=decided,
        summary=metrics.summary(p, targets_NA, decided),
        majority=float(np.nanmean(np.maximum(positives_A, 1.0 - positives_A))),
    )
