"""Builds a training batch: augmentation, mixup, soft targets and sample weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from celebattr.data import augment, draws
from celebattr.data.dataset import FaceDataset
from celebattr.data.loader import Batch, Transform
from celebattr.errors import WeightsError
from celebattr.models import bundle
from celebattr.models.preprocess import Preprocess, PreprocessSpec
from celebattr.models.weights import bundle_file
from celebattr.training.config import TrainConfig


class TrainingBatch(NamedTuple):
    """Crops in 0..1 [B, 3, 218, 178], targets [B, A] in 0..1 or NaN, sample weights [B] or None."""

    unit: Tensor
    targets: Tensor
    weights: Tensor | None


class BatchBuilder:
    """Builder of training batches: augmentation, mixup, soft targets and sample weights.

    Raises:
        WeightsError: a teacher cannot be read, or has other attributes.
    """

    def __init__(
        self,
        config: TrainConfig,
        train_set: FaceDataset,
        device: torch.device,
        autocast: Callable[[], torch.autocast],
    ) -> None:
        self.config, self.device, self.shares_A = config, device, train_set.shares_A
        self.weights_N = person_weights(train_set.identities_N, config.person_balance)
        self.teachers = [
            Teacher(path, train_set.attributes, autocast).to(device) for path in config.teacher
        ]

    @torch.no_grad()
    def make(self, batch: Batch, part: slice, epoch: int) -> TrainingBatch:
        """Return the training batch of some samples in an epoch, whichever part they are in."""
        config = self.config
        count = len(batch.indices_B)
        own = np.arange(count)[part]
        places: slice | NDArray[np.int64] = part
        # A pass gets the mixup partners of its samples too, at mirrored places of the batch: a
        # sample is then blended alike however the batch is cut into passes.
        if config.mixup and len(own) < count:
            places = np.union1d(own, count - 1 - own)
        indices = batch.indices_B[places]
        draws_BD = draws.parameters(config.seed, epoch, indices)
        clean = augment.augment(
            torch.from_numpy(batch.crops_BHWC[places]).to(self.device),
            draws_BD,
            cut_margins=config.cut_margins or 0.0,
        )
        unit = augment.corrupt_(
            clean.clone() if self.teachers else clean,
            draws_BD,
            erasing=config.erasing or 0.0,
            low_resolution=config.low_resolution or 0.0,
            noise=config.noise or 0.0,
            grey=config.grey or 0.0,
            dark=config.dark or 0.0,
        )
        targets = torch.from_numpy(batch.targets_BA[places]).to(self.device).float()
        weights = None
        if self.weights_N is not None:
            weights = torch.from_numpy(self.weights_N[indices]).to(self.device)
        if config.mixup:
            kept = draws.mixing_weights(draws_BD, config.mixup)
            rows: slice | Tensor = slice(None)
            if isinstance(places, np.ndarray):
                rows = torch.from_numpy(np.searchsorted(places, own)).to(self.device)

            def mixed(values: Tensor) -> Tensor:
                return augment.mix(values, kept)[rows]

            unit, targets = mixed(unit), mixed(targets)
            clean = mixed(clean) if self.teachers else unit
            weights = None if weights is None else mixed(weights)
        if self.teachers:
            # They see the very view that the student sees, blended faces too, but nothing of it
            # corrupted: what noise or a painted rectangle hides, the student learns to do without.
            # Source: Beyer et al., "Knowledge distillation: A good teacher is patient and
            # consistent", CVPR 2022; Xie et al., "Self-training with Noisy Student", CVPR 2020.
            taught = torch.stack([teacher(clean) for teacher in self.teachers]).mean(dim=0)
            # The teacher alone says what no label does.
            targets = torch.where(
                targets.isnan(), taught, targets.lerp(taught, config.teacher_weight)
            )
        return TrainingBatch(unit, targets, weights)


def recompressor(config: TrainConfig, epoch: int) -> Transform:
    """Return what the threads that decode do to crops in an epoch: some become JPEG or WebP."""

    def recompressed(
        crops_BHWC: NDArray[np.uint8], indices_B: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        draws_BD = draws.parameters(config.seed, epoch, indices_B)
        return augment.recompress(crops_BHWC, draws_BD, share=config.recompress or 0.0)

    return recompressed


class Teacher(nn.Module):
    """A bundle as a module: crops in 0..1 [B, 3, 218, 178] -> probabilities [B, A]."""

    scale: Tensor
    bias: Tensor

    def __init__(
        self, path: Path, attributes: tuple[str, ...], autocast: Callable[[], torch.autocast]
    ) -> None:
        super().__init__()
        self.autocast = autocast
        card, network = bundle.load(bundle_file(str(path)))
        if set(card.attributes) != set(attributes):
            odd = sorted(set(card.attributes) ^ set(attributes))
            raise WeightsError(
                f"teacher {path} and the data have different attributes: {', '.join(odd[:5])}"
            )
        self.columns = [card.attributes.index(name) for name in attributes]
        self.preprocess = Preprocess(PreprocessSpec.from_dict(card.preprocess))
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("scale", torch.tensor(card.scale))
        self.register_buffer("bias", torch.tensor(card.bias))
        self.eval()

    def forward(self, unit_BCHW: Tensor) -> Tensor:
        """Return probabilities [B, A], in the order of the data's attributes."""
        images = self.preprocess.normalize(unit_BCHW)
        with self.autocast():
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        return torch.sigmoid(logits.float() * self.scale + self.bias)[:, self.columns]


def person_weights(
    identities_N: NDArray[np.int64] | None, power: float
) -> NDArray[np.float32] | None:
    """Return sample weights n^-power, n = images of the person, float32 [N] of mean 1.

    None if all count alike. CelebA's annotators often judged a person, not a photo: what a
    network cannot see of Big_Lips, Pointy_Nose or Young is mostly the same in all photos of a
    person. Thirty photos of one person are then far fewer than thirty opinions. See
    docs/accuracy.md for the measurement.

    Args:
        identities_N: who is shown, or None where that is not known.
        power: 0 counts all images alike, 1 all people.
    """
    if identities_N is None or power == 0.0:
        return None
    _, person_N, counts_P = np.unique(identities_N, return_inverse=True, return_counts=True)
    weights_N = counts_P[person_N].astype(np.float64) ** -power
    return np.asarray(weights_N / weights_N.mean(), np.float32)
