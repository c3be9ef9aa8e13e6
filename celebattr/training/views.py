"""What a training step sees: augmented, mixed images, and targets that may be soft."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from celebattr import bundle
from celebattr.config import TrainConfig
from celebattr.data import augment
from celebattr.data.loader import Batch
from celebattr.data.preprocess import Preprocess, to_unit
from celebattr.data.transforms import PreprocessSpec
from celebattr.errors import WeightsError


class Views:
    """Makes what a step sees of a batch.

    Raises:
        WeightsError: a teacher cannot be read, or has other attributes.
    """

    def __init__(
        self,
        config: TrainConfig,
        attributes: tuple[str, ...],
        device: torch.device,
        autocast: Callable[[], torch.autocast],
    ) -> None:
        self.config, self.device, self.autocast = config, device, autocast
        self.teachers = [Teacher(path, attributes, autocast).to(device) for path in config.teacher]

    @torch.no_grad()
    def make(self, batch: Batch, part: slice, epoch: int) -> tuple[Tensor, Tensor]:
        """Some samples of a batch: frames in 0..1 [B, 3, 218, 178] and targets [B, A] in 0..1."""
        config = self.config
        indices = batch.indices_B[part]
        unit = augment.augment(
            to_unit(torch.from_numpy(batch.frames_BHWC[part]).to(self.device)),
            augment.parameters(config.seed, epoch, indices),
            erasing=config.erasing,
            low_resolution=config.low_resolution,
        )
        targets = torch.from_numpy(batch.targets_BA[part]).to(self.device).float()
        if config.mixup:
            kept = augment.mixing_weights(config.seed, epoch, indices, config.mixup)
            unit, targets = augment.mix(unit, kept), augment.mix(targets, kept)
        if self.teachers:
            # They see the very view that the student sees, blended faces too.
            # Source: Beyer et al., "Knowledge distillation: A good teacher is patient and
            # consistent", CVPR 2022.
            taught = torch.stack([teacher(unit) for teacher in self.teachers]).mean(dim=0)
            targets = targets.lerp(taught, config.teacher_weight)
        return unit, targets


class Teacher(nn.Module):
    """A bundle as frames in 0..1 [B, 3, 218, 178] -> calibrated probabilities [B, A]."""

    scale: Tensor
    bias: Tensor

    def __init__(
        self, path: Path, attributes: tuple[str, ...], autocast: Callable[[], torch.autocast]
    ) -> None:
        super().__init__()
        self.autocast = autocast
        card, network = bundle.load(bundle.resolve(str(path)))
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
        """Probabilities [B, A], in the order of the data's attributes."""
        images = self.preprocess.normalize(unit_BCHW)
        with self.autocast():
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        return torch.sigmoid(logits.float() * self.scale + self.bias)[:, self.columns]
