"""Preprocessing from aligned crop to network input; `PreprocessSpec` is part of every bundle.

A crop is uint8 [218, 178, 3]. It is resized by two matrix products, rows then columns, with the
antialiased triangle filter that Pillow and torch call bilinear. The same two matrices serve
training, torch inference and the ONNX graph, so none of them can drift from another.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from celebattr.constants import CROP_SIZE

# Source: the ImageNet statistics that torchvision's weights were trained with, for pixels in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@functools.lru_cache(maxsize=32)
def resize_matrix(source: int, target: int) -> NDArray[np.float32]:
    """Return the matrix [target, source] that resizes one side of an image.

    Each row holds the weights of a triangle as wide as one target pixel (never narrower than one
    source pixel), and sums to 1. Source: Pillow's `Resample.c`, bilinear, `support = 1`.
    """
    scale = source / target
    width = max(scale, 1.0)
    centers = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source)[None, :] + 0.5 - centers[:, None]) / width
    weights = np.clip(1.0 - distance, 0.0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


@dataclass(frozen=True)
class PreprocessSpec:
    """Input of a network: height and width in pixels, and the scaling of RGB in 0..1."""

    size: tuple[int, int]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def matrices(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the matrices that resize rows [H, 218] and columns [W, 178]."""
        return resize_matrix(CROP_SIZE[0], self.size[0]), resize_matrix(CROP_SIZE[1], self.size[1])

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as plain JSON values."""
        return {"frame": list(CROP_SIZE)} | {k: list(v) for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PreprocessSpec:
        """Build a specification from the result of `to_dict`."""
        mean, std = values["mean"], values["std"]
        return cls(
            size=(int(values["size"][0]), int(values["size"][1])),
            mean=(float(mean[0]), float(mean[1]), float(mean[2])),
            std=(float(std[0]), float(std[1]), float(std[2])),
        )


class Preprocess(nn.Module):
    """A module: uint8 crops [B, 218, 178, 3] -> normalised images [B, 3, H, W]."""

    rows: Tensor
    columns: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, spec: PreprocessSpec) -> None:
        super().__init__()
        rows, columns = spec.matrices()
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)
        self.register_buffer("columns", torch.from_numpy(columns).T.contiguous(), persistent=False)
        self.register_buffer("mean", torch.tensor(spec.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(3, 1, 1), persistent=False)

    def normalize(self, unit_BCHW: Tensor) -> Tensor:
        """Convert crops in 0..1 [B, 3, 218, 178] to normalised images [B, 3, H, W]."""
        # Normalisation comes first: after a matrix product OpenVINO 2026.4 would fuse it into
        # that, and then cannot compile a graph of any number of images.
        return self.rows @ (((unit_BCHW - self.mean) / self.std) @ self.columns)

    def forward(self, crops_BHWC: Tensor) -> Tensor:
        """Convert uint8 crops [B, 218, 178, 3] to normalised images [B, 3, H, W]."""
        return self.normalize(crops_BHWC.permute(0, 3, 1, 2).to(torch.float32) / 255.0)
