"""Augmentation of a batch of crops on the device, reproducible per sample.

The parameters of a sample are a function of (seed, epoch, index) alone, so they do not depend on
workers, batches, processes or on where a run was resumed.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr.constants import CROP_SIZE
from celebattr.models.preprocess import resize_matrix

if TYPE_CHECKING:
    from torch import Tensor

# The ranges cover what face detection adds to CelebA's own alignment, about 4 px of shift and as
# many degrees and per cent, with a margin. Each is the half width of a uniform distribution.
ROTATION_DEGREES = 6.0
SCALE = 0.08
SHIFT = 0.05  # of the crop's side
BRIGHTNESS = 0.2
CONTRAST = 0.2

# Source: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, with smaller rectangles: a
# whole hidden mouth would teach that smiles cannot be seen.
ERASED_AREA = (0.02, 0.15)  # share of the crop
ERASED_ASPECT = (0.4, 2.5)  # height to width

LOW_RESOLUTIONS = (32, 52, 64, 80, 109)
"""Heights in pixels that an image may be reduced to: 64 and 109 are met in copies of CelebA."""

CUT = (0.2, 0.06, 0.08, 0.08)
"""Shares of the crop's height and width that top, bottom, left and right may lose at most."""

NOISE = 0.12
"""Highest standard deviation of the noise that may be added, of values in 0..1: 30 of 255."""

JPEG_QUALITIES = (30, 92)
WEBP_QUALITIES = (20, 85)
"""Lowest and highest quality at which a crop may be re-compressed."""

WEBP_SHARE = 0.45
"""Share of the re-compressed crops that become WebP; the others become JPEG."""

_WEBP_METHOD = 0
"""Method of libwebp, 0 to 6: 1.9 ms per crop, where method 4 takes 5.1 and JPEG 0.5."""

_FIELD_MARGIN = 128  # pixels: noise is cut from one field, at as many places in each direction

DARK = (0.1, 0.7)
"""Least and most of the light that is left where crops are darkened."""

_COLUMNS = 26


_AUGMENT, _MIXUP, _RECOMPRESS = range(3)
"""Purposes of random numbers: those of one tell nothing of those of another."""


def _random(seed: int, epoch: int, index: int, purpose: int) -> np.random.Generator:
    # Philox is counter-based: a sample's draws need none of those before it.
    counter = [0, 0, purpose, int(index)]
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=counter))


def parameters(seed: int, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return uniform draws in 0..1, [B, 26], one row per index."""
    return np.stack([_random(seed, epoch, i, _AUGMENT).random(_COLUMNS) for i in indices])


def recompress(
    crops_BHWC: NDArray[np.uint8],
    seed: int,
    epoch: int,
    indices: NDArray[np.int64],
    *,
    share: float,
) -> NDArray[np.uint8]:
    """Encode a share of the crops as JPEG or WebP of a random quality, and decode them again.

    A network trained on images of one compression learns its artefacts: on clean images it lost
    0.1 to 0.4 points of accuracy (docs/experiments.md).

    Args:
        crops_BHWC: uint8 [B, 218, 178, 3], in memory; left as they are.
        seed: of the run.
        epoch: counted from 0.
        indices: of the crops' images in the data set, [B].
        share: of the crops, 0 to 1.

    Returns:
        uint8 [B, 218, 178, 3], a function of (crops, seed, epoch, index).
    """
    if share == 0.0:
        return crops_BHWC
    changed_BHWC = crops_BHWC.copy()
    for crop_HWC, index in zip(changed_BHWC, indices, strict=True):
        random = _random(seed, epoch, index, _RECOMPRESS)
        if random.random() < share:
            crop_HWC[:] = _recompressed(crop_HWC, random)
    return changed_BHWC


def _recompressed(crop_HWC: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    data = io.BytesIO()
    image = Image.fromarray(crop_HWC)
    if random.random() < WEBP_SHARE:
        quality = int(random.integers(*WEBP_QUALITIES, endpoint=True))
        image.save(data, "WEBP", quality=quality, method=_WEBP_METHOD)
    else:
        image.save(data, "JPEG", quality=int(random.integers(*JPEG_QUALITIES, endpoint=True)))
    with Image.open(data) as decoded:
        return np.asarray(decoded.convert("RGB"), np.uint8)


def affine(draws_BD: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the maps from output to input, [B, 2, 3], in `affine_grid`'s -1..1 coordinates."""
    signed = 2.0 * draws_BD - 1.0
    angle = np.deg2rad(ROTATION_DEGREES) * signed[:, 0]
    scale = 1.0 + SCALE * signed[:, 1]
    shift_x, shift_y = 2.0 * SHIFT * signed[:, 2], 2.0 * SHIFT * signed[:, 3]
    mirror = np.where(draws_BD[:, 4] < 0.5, -1.0, 1.0)
    # In -1..1 coordinates the crop is square, so a rotation must undo and redo its aspect.
    aspect = CROP_SIZE[0] / CROP_SIZE[1]
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    rows = np.stack(
        [
            np.stack([cos * mirror, -sin * aspect, shift_x], axis=1),
            np.stack([sin * mirror / aspect, cos, shift_y], axis=1),
        ],
        axis=1,
    )
    return rows.astype(np.float32)


def augment(
    crops_BCHW: Tensor,
    draws_BD: NDArray[np.float64],
    *,
    cut_margins: float = 0.0,
) -> Tensor:
    """Move, mirror and re-light float crops in 0..1; the shape stays the same.

    Args:
        crops_BCHW: [B, 3, 218, 178].
        draws_BD: of `parameters`, [B, 26].
        cut_margins: share of the crops whose margins are cut off and filled by repeating the edge.
    """
    import torch
    from torch.nn import functional

    grid = _grid(draws_BD, draws_BD[:, 14] < cut_margins).to(crops_BCHW.device)
    moved = functional.grid_sample(
        crops_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    signed = torch.from_numpy((2.0 * draws_BD - 1.0).astype(np.float32)).to(moved.device)
    brightness = (1.0 + BRIGHTNESS * signed[:, 5])[:, None, None, None]
    contrast = (1.0 + CONTRAST * signed[:, 6])[:, None, None, None]
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    return ((moved - mean) * contrast + mean * brightness).clamp_(0.0, 1.0)


def corrupt(
    crops_BCHW: Tensor,
    draws_BD: NDArray[np.float64],
    *,
    erasing: float = 0.0,
    low_resolution: float = 0.0,
    noise: float = 0.0,
    grey: float = 0.0,
    dark: float = 0.0,
) -> Tensor:
    """Corrupt crops in 0..1: resolution, colour, noise, erasing; the shape stays the same.

    Args:
        crops_BCHW: of `augment`, [B, 3, 218, 178]; left as they are.
        draws_BD: of `parameters`, [B, 26].
        erasing: share of the crops in which a rectangle is painted over with their mean colour.
        low_resolution: share of the crops that are reduced to one of `LOW_RESOLUTIONS` and back.
        noise: share of the crops to which Gaussian noise is added, as a sensor does in the dark.
        grey: share of the crops whose colour is taken away.
        dark: share of the crops that keep a part of their light, see `DARK`.
    """
    import torch

    lit = crops_BCHW.clone()
    low, high = DARK
    light_B = np.where(draws_BD[:, 24] < dark, low + (high - low) * draws_BD[:, 25], 1.0)
    lit *= torch.from_numpy(light_B.astype(np.float32)).to(lit.device)[:, None, None, None]
    changes: tuple[tuple[int, float, Callable[[Tensor, NDArray[np.float64]], Tensor]], ...] = (
        (7, low_resolution, _reduced),
        (23, grey, _grey),
        (19, noise, _noisy),
    )
    for column, share, change in changes:
        chosen = draws_BD[:, column] < share
        if chosen.any():
            lit[torch.from_numpy(chosen)] = change(lit[torch.from_numpy(chosen)], draws_BD[chosen])
    gone = draws_BD[:, 9] < erasing
    if gone.any():
        hidden_BHW = torch.from_numpy(erased(draws_BD) & gone[:, None, None]).to(lit.device)
        lit = torch.where(hidden_BHW[:, None], lit.mean(dim=(2, 3), keepdim=True), lit)
    return lit


def _grid(draws_BD: NDArray[np.float64], cut_B: NDArray[np.bool_]) -> Tensor:
    """Return the source in -1..1 of each output pixel, [B, 218, 178, 2], x before y."""
    import torch

    # A crop whose margins are cut shows, beyond them, the pixel at their edge: CelebA's own crops
    # are filled so where a photo ends.
    top, bottom, left, right = (np.array(CUT) * draws_BD[:, 15:19] * cut_B[:, None]).T[:, :, None]
    height, width = CROP_SIZE
    y = ((2 * np.arange(height) + 1) / height - 1).clip(2 * top - 1, 1 - 2 * bottom)
    x = ((2 * np.arange(width) + 1) / width - 1).clip(2 * left - 1, 1 - 2 * right)
    theta = affine(draws_BD)[..., None, None].transpose(1, 2, 0, 3, 4)
    grid = theta[:, 0] * x[:, None, :] + theta[:, 1] * y[:, :, None] + theta[:, 2]
    return torch.from_numpy(grid.astype(np.float32)).permute(1, 2, 3, 0)


def mixing_weights(
    seed: int, epoch: int, indices: NDArray[np.int64], alpha: float
) -> NDArray[np.float32]:
    """Return the share of itself that each sample keeps in mixup, 0.5..1, [B].

    Beta(alpha, alpha), folded at 0.5: `mix` pairs each sample with its mirror, so without it a
    pair could come out as the same two blends with their places exchanged.
    """
    weights = [_random(seed, epoch, i, _MIXUP).beta(alpha, alpha) for i in indices]
    kept = np.asarray(weights, np.float32)
    folded: NDArray[np.float32] = np.maximum(kept, 1.0 - kept)
    return folded


def mix(values: Tensor, kept_B: NDArray[np.float32]) -> Tensor:
    """Blend each sample with the one at its mirrored place in the batch (mixup).

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

    Args:
        values: images or targets, float [B, ...].
        kept_B: of `mixing_weights`.
    """
    import torch

    # The mirrored partner needs no random permutation: batches are shuffled already, and flipping
    # images and targets alike keeps them in step.
    kept = torch.from_numpy(kept_B).to(values.device).view(-1, *[1] * (values.ndim - 1))
    return values.flip(0).lerp_(values, kept)


def erased(draws_BD: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a rectangle per crop, bool [B, 218, 178]: area, aspect and place from the draws."""
    height, width = CROP_SIZE
    low, high = ERASED_AREA
    area = (low + (high - low) * draws_BD[:, 10]) * height * width
    low, high = np.log(ERASED_ASPECT)
    aspect = np.exp(low + (high - low) * draws_BD[:, 11])
    sides = np.sqrt(np.stack([area * aspect, area / aspect], axis=1))
    tops_lefts = draws_BD[:, 12:14] * (np.array(CROP_SIZE) - sides)
    rows, columns = np.arange(height), np.arange(width)
    top, left = tops_lefts[:, :1], tops_lefts[:, 1:]
    in_rows = (rows >= top) & (rows < top + sides[:, :1])
    in_columns = (columns >= left) & (columns < left + sides[:, 1:])
    inside: NDArray[np.bool_] = in_rows[:, :, None] & in_columns[:, None, :]
    return inside


def _reduced(crops_BCHW: Tensor, draws_BD: NDArray[np.float64]) -> Tensor:
    """Scale crops down to a lower resolution and back to their size."""
    import torch

    levels = (draws_BD[:, 8] * len(LOW_RESOLUTIONS)).astype(int)
    rows, columns = (torch.from_numpy(m[levels]).to(crops_BCHW.device) for m in _there_and_back())
    return rows[:, None] @ crops_BCHW @ columns[:, None]


def _grey(crops_BCHW: Tensor, draws_BD: NDArray[np.float64]) -> Tensor:
    """Return the luma in all three channels, with the weights of ITU-R BT.601, as Pillow's L."""
    red, green, blue = crops_BCHW.unbind(1)
    luma_BHW = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma_BHW[:, None].expand_as(crops_BCHW)


def _noisy(crops_BCHW: Tensor, draws_BD: NDArray[np.float64]) -> Tensor:
    """Add Gaussian noise, with a strength and field offset per sample."""
    import torch

    height, width = CROP_SIZE
    field_CHW = _field()
    patches = []  # drawing fresh noise per sample would cost more than cutting it from one field
    for sigma, y, x in draws_BD[:, 20:23]:
        top, left = int(y * _FIELD_MARGIN), int(x * _FIELD_MARGIN)
        patch_CHW = field_CHW[:, top : top + height, left : left + width]
        patches.append(np.float32(sigma * NOISE) * patch_CHW)
    return (crops_BCHW + torch.from_numpy(np.stack(patches)).to(crops_BCHW.device)).clamp(0, 1)


@functools.cache
def _field() -> NDArray[np.float32]:
    """Return a field of standard normal noise, larger than a crop, to cut patches from."""
    height, width = (side + _FIELD_MARGIN for side in CROP_SIZE)
    return np.random.default_rng(0).standard_normal((3, height, width), np.float32)


@functools.cache
def _there_and_back() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return down-and-up matrices per low resolution, rows [218, 218], columns [178, 178]."""
    height, width = CROP_SIZE
    rows, columns = [], []
    for low in LOW_RESOLUTIONS:
        narrow = round(low * width / height)
        rows.append(resize_matrix(low, height) @ resize_matrix(height, low))
        columns.append((resize_matrix(narrow, width) @ resize_matrix(width, narrow)).T)
    return np.stack(rows), np.stack(columns)
