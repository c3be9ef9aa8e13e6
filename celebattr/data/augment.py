"""Augmentation of a batch of frames on the device, each sample's own and repeatable.

The parameters of a sample are a function of (seed, epoch, index) alone, so they do not depend on
workers, batches, processes or on where a run was resumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celebattr.config import FRAME_SIZE

if TYPE_CHECKING:
    from torch import Tensor

# The ranges cover what face detection adds to CelebA's own alignment, about 4 px of shift and as
# many degrees and per cent, with a margin. Each is the half width of a uniform distribution.
ROTATION_DEGREES = 6.0
SCALE = 0.08
SHIFT = 0.05  # of the frame's side
BRIGHTNESS = 0.2
CONTRAST = 0.2

_COLUMNS = 7


def parameters(seed: int, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Uniform draws in 0..1, [B, 7], one row an index: a function of (seed, epoch, index)."""
    rows = [
        np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, int(i)])).random(
            _COLUMNS
        )
        for i in indices
    ]
    return np.stack(rows)


def affine(draws_BD: NDArray[np.float64]) -> NDArray[np.float32]:
    """The maps from output to input coordinates, [B, 2, 3], in the -1..1 frame of `affine_grid`."""
    signed = 2.0 * draws_BD - 1.0
    angle = np.deg2rad(ROTATION_DEGREES) * signed[:, 0]
    scale = 1.0 + SCALE * signed[:, 1]
    shift_x, shift_y = 2.0 * SHIFT * signed[:, 2], 2.0 * SHIFT * signed[:, 3]
    mirror = np.where(draws_BD[:, 4] < 0.5, -1.0, 1.0)
    # In -1..1 coordinates the frame is square, so a rotation must undo and redo its aspect.
    aspect = FRAME_SIZE[0] / FRAME_SIZE[1]
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    rows = np.stack(
        [
            np.stack([cos * mirror, -sin * aspect, shift_x], axis=1),
            np.stack([sin * mirror / aspect, cos, shift_y], axis=1),
        ],
        axis=1,
    )
    return rows.astype(np.float32)


def augment(frames_BCHW: Tensor, draws_BD: NDArray[np.float64]) -> Tensor:
    """Moves, mirrors and re-lights float frames in 0..1; the same shape comes back."""
    import torch
    from torch.nn import functional

    theta = torch.from_numpy(affine(draws_BD)).to(frames_BCHW.device)
    grid = functional.affine_grid(theta, list(frames_BCHW.shape), align_corners=False)
    moved = functional.grid_sample(
        frames_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    signed = torch.from_numpy((2.0 * draws_BD - 1.0).astype(np.float32)).to(moved.device)
    brightness = (1.0 + BRIGHTNESS * signed[:, 5])[:, None, None, None]
    contrast = (1.0 + CONTRAST * signed[:, 6])[:, None, None, None]
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    return ((moved - mean) * contrast + mean * brightness).clamp_(0.0, 1.0)
