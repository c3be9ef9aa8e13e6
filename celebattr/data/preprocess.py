"""`PreprocessSpec` as a torch module: the same arithmetic in training, inference and ONNX."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from celebattr.data.transforms import PreprocessSpec


def to_unit(frames_BHWC: Tensor) -> Tensor:
    """uint8 frames [B, 218, 178, 3] -> float32 [B, 3, 218, 178] in 0..1."""
    return frames_BHWC.permute(0, 3, 1, 2).to(torch.float32) / 255.0


class Preprocess(nn.Module):
    """uint8 frames [B, 218, 178, 3] -> normalised images [B, 3, H, W]."""

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
        """Frames in 0..1 [B, 3, 218, 178] -> normalised images [B, 3, H, W]."""
        # Normalisation comes first: after a matrix product OpenVINO 2026.4 would fuse it into
        # that, and then cannot compile a graph of any number of images.
        return self.rows @ (((unit_BCHW - self.mean) / self.std) @ self.columns)

    def forward(self, frames_BHWC: Tensor) -> Tensor:
        """uint8 frames [B, 218, 178, 3] -> normalised images [B, 3, H, W]."""
        return self.normalize(to_unit(frames_BHWC))
