"""Augmentation of a batch of crops on the device, as the draws of each sample say."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import CROP_SIZE
from celebattr.images.formats import compressed
from celebattr.models.preprocess import resize_matrix

if TYPE_CHECKING:
    import torch
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


def recompress(
    crops_BHWC: NDArray[np.uint8], draws_BD: NDArray[np.float64], *, share: float
) -> NDArray[np.uint8]:
    """Encode a share of the crops as JPEG or WebP of a random quality, and decode them again.

    A network trained on images of one compression learns its artefacts: on clean images it lost
    0.1 to 0.4 points of accuracy (docs/experiments.md).

    Args:
        crops_BHWC: uint8 [B, 218, 178, 3], in memory; left as they are.
        draws_BD: of `draws.parameters`, [B, 31].
        share: of the crops, 0 to 1.
    """
    if share == 0.0:
        return crops_BHWC
    changed_BHWC = crops_BHWC.copy()
    for row in np.flatnonzero(draws_BD[:, 27] < share):
        changed_BHWC[row] = _recompressed(crops_BHWC[row], *draws_BD[row, 28:30])
    return changed_BHWC


def _recompressed(
    crop_HWC: NDArray[np.uint8], format_draw: float, quality_draw: float
) -> NDArray[np.uint8]:
    webp = format_draw < WEBP_SHARE
    low, high = WEBP_QUALITIES if webp else JPEG_QUALITIES
    quality = low + int(quality_draw * (high + 1 - low))
    if webp:
        return compressed(crop_HWC, "WEBP", quality=quality, method=_WEBP_METHOD)
    return compressed(crop_HWC, "JPEG", quality=quality)


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
    crops_BHWC: Tensor, draws_BD: NDArray[np.float64], *, cut_margins: float = 0.0
) -> Tensor:
    """Move, mirror and re-light crops.

    Args:
        crops_BHWC: uint8 [B, 218, 178, 3].
        draws_BD: of `draws.parameters`, [B, 31].
        cut_margins: share of the crops whose margins are cut off and filled by repeating the edge.

    Returns:
        float32 [B, 3, 218, 178] in 0..1, on the crops' device.
    """
    import torch
    from torch.nn import functional

    device = crops_BHWC.device
    grid_BHWC = _grid(_on(device, affine(draws_BD)), _on(device, _margins(draws_BD, cut_margins)))
    moved = functional.grid_sample(
        crops_BHWC.permute(0, 3, 1, 2).to(torch.float32),
        grid_BHWC,
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    # (x - mean) * contrast + mean * brightness, and 0..255 to 0..1, in one multiplication and one
    # addition in place: each further pass over the batch would take a tenth of the sampling.
    signed_BD = 2.0 * draws_BD - 1.0
    brightness_B, contrast_B = (
        _on(device, 1.0 + width * signed_BD[:, column])[:, None, None, None]
        for width, column in ((BRIGHTNESS, 5), (CONTRAST, 6))
    )
    offset_B = moved.mean(dim=(1, 2, 3), keepdim=True) * (brightness_B - contrast_B)
    return moved.mul_(contrast_B / 255.0).add_(offset_B / 255.0).clamp_(0.0, 1.0)


def corrupt_(
    unit_BCHW: Tensor,
    draws_BD: NDArray[np.float64],
    *,
    erasing: float = 0.0,
    low_resolution: float = 0.0,
    noise: float = 0.0,
    grey: float = 0.0,
    dark: float = 0.0,
) -> Tensor:
    """Corrupt crops in place: light, resolution, colour, noise, erasing; return them.

    Each corruption reads and writes only the crops that it is drawn for.

    Args:
        unit_BCHW: of `augment`, [B, 3, 218, 178].
        draws_BD: of `draws.parameters`, [B, 31].
        erasing: share of the crops in which a rectangle is painted over with their mean colour.
        low_resolution: share of the crops that are reduced to one of `LOW_RESOLUTIONS` and back.
        noise: share of the crops to which Gaussian noise is added, as a sensor does in the dark.
        grey: share of the crops whose colour is taken away.
        dark: share of the crops that keep a part of their light, see `DARK`.
    """
    for column, share, corrupted in (
        (24, dark, _dimmed),
        (7, low_resolution, _reduced),
        (23, grey, _grey),
        (19, noise, _noisy),
        (9, erasing, _erased),
    ):
        # The host knows the rows, so that nothing waits for the device to say which they are.
        rows = np.flatnonzero(draws_BD[:, column] < share)
        if len(rows):
            at = _on(unit_BCHW.device, rows)
            unit_BCHW[at] = corrupted(unit_BCHW[at], draws_BD[rows])
    return unit_BCHW


def mix(values: Tensor, kept_B: NDArray[np.float32]) -> Tensor:
    """Blend each sample with the one at its mirrored place in the batch (mixup).

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

    Args:
        values: images or targets, float [B, ...].
        kept_B: of `draws.mixing_weights`.
    """
    # The mirrored partner needs no random permutation: batches are shuffled already, and flipping
    # images and targets alike keeps them in step.
    kept = _on(values.device, kept_B).view(-1, *[1] * (values.ndim - 1))
    return values.flip(0).lerp_(values, kept)


def _on(device: torch.device, values: NDArray[Any]) -> Tensor:
    """Return an array of the host as a tensor on a device; float64 becomes float32."""
    import torch

    if values.dtype == np.float64:
        values = values.astype(np.float32)
    return torch.from_numpy(values).to(device, non_blocking=True)


def _margins(draws_BD: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return what top, bottom, left and right lose, in shares of the crop, [4, B]."""
    cut_B = draws_BD[:, 14] < share
    return (np.array(CUT) * draws_BD[:, 15:19] * cut_B[:, None]).T


def _grid(theta_B23: Tensor, margins_4B: Tensor) -> Tensor:
    """Return the source in -1..1 of each output pixel, [B, 218, 178, 2], x before y."""
    import torch

    # A crop whose margins are cut shows, beyond them, the pixel at their edge: CelebA's own crops
    # are filled so where a photo ends.
    top, bottom, left, right = margins_4B[:, :, None]
    y_BH, x_BW = (
        ((2 * torch.arange(side, device=theta_B23.device) + 1) / side - 1)
        .clamp(min=2 * before - 1)
        .clamp(max=1 - 2 * after)
        for side, before, after in zip(CROP_SIZE, (top, left), (bottom, right), strict=True)
    )
    grid = torch.empty(len(theta_B23), 2, *CROP_SIZE, device=theta_B23.device)
    for axis in (0, 1):
        of_x_B1, of_y_B1, shift_B1 = theta_B23[:, axis].T[:, :, None]
        along_BW, down_BH = of_x_B1 * x_BW, of_y_B1 * y_BH + shift_B1
        torch.add(along_BW[:, None, :], down_BH[:, :, None], out=grid[:, axis])
    return grid.permute(0, 2, 3, 1)


def _dimmed(unit_BCHW: Tensor, draws_BD: NDArray[np.float64]) -> Tensor:
    """Leave a part of the light."""
    low, high = DARK
    light_B = _on(unit_BCHW.device, low + (high - low) * draws_BD[:, 25])
    return unit_BCHW * light_B[:, None, None, None]


def _reduced(unit_BCHW: Tensor, draws_BD: NDArray[np.float64]) -> Tensor:
    """Scale crops down to a lower resolution and back to their size."""
    device = unit_BCHW.device
    levels = _on(device, (draws_BD[:, 8] * len(LOW_RESOLUTIONS)).astype(int))
    rows, columns = (matrices[levels] for matrices in _there_and_back(device))
    return rows[:, None] @ unit_BCHW @ columns[:, None]


def _grey(unit_BCHW: Tensor, draws_BD: NDArray[np.float64]) -> Tensor:
    """Return the luma in all three channels, with the weights of ITU-R BT.601, as Pillow's L."""
    del draws_BD
    red, green, blue = unit_BCHW.unbind(1)
    luma_BHW = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma_BHW[:, None].expand_as(unit_BCHW)


def _noisy(unit_BCHW: Tensor, draws_BD: NDArray[np.float64]) -> Tensor:
    """Add Gaussian noise, with a strength and field offset per crop."""
    height, width = CROP_SIZE
    sigma_B = _on(unit_BCHW.device, NOISE * draws_BD[:, 20])
    offsets_2B = (draws_BD[:, 21:23] * _FIELD_MARGIN).astype(int).T
    top_B, left_B = (_on(unit_BCHW.device, offsets_B) for offsets_B in offsets_2B)
    # Drawing fresh noise per crop would cost more than cutting it from one field.
    patches = _field(unit_BCHW.device).unfold(1, height, 1).unfold(2, width, 1)
    noise_BCHW = patches[:, top_B, left_B].transpose(0, 1)
    return (unit_BCHW + sigma_B[:, None, None, None] * noise_BCHW).clamp_(0.0, 1.0)


def _erased(unit_BCHW: Tensor, draws_BD: NDArray[np.float64]) -> Tensor:
    """Paint a rectangle over with the mean colour: area, aspect and place from the draws."""
    import torch

    low, high = ERASED_AREA
    area = (low + (high - low) * draws_BD[:, 10]) * CROP_SIZE[0] * CROP_SIZE[1]
    low, high = np.log(ERASED_ASPECT)
    aspect = np.exp(low + (high - low) * draws_BD[:, 11])
    sides_B2 = np.sqrt(np.stack([area * aspect, area / aspect], axis=1))
    starts_B2 = draws_BD[:, 12:14] * (np.array(CROP_SIZE) - sides_B2)
    device = unit_BCHW.device
    bounds = _on(device, np.stack([starts_B2, starts_B2 + sides_B2]))
    in_rows, in_columns = (
        (places >= bounds[0, :, axis, None]) & (places < bounds[1, :, axis, None])
        for axis, places in enumerate(torch.arange(side, device=device) for side in CROP_SIZE)
    )
    hidden_B1HW = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    return torch.where(hidden_B1HW, unit_BCHW.mean(dim=(2, 3), keepdim=True), unit_BCHW)


@functools.cache
def _field(device: torch.device) -> Tensor:
    """Return a field of standard normal noise, larger than a crop, to cut patches from."""
    height, width = (side + _FIELD_MARGIN for side in CROP_SIZE)
    return _on(device, np.random.default_rng(0).standard_normal((3, height, width), np.float32))


@functools.cache
def _there_and_back(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return down-and-up matrices per low resolution, rows [218, 218], columns [178, 178]."""
    height, width = CROP_SIZE
    rows, columns = [], []
    for low in LOW_RESOLUTIONS:
        narrow = round(low * width / height)
        rows.append(resize_matrix(low, height) @ resize_matrix(height, low))
        columns.append((resize_matrix(narrow, width) @ resize_matrix(width, narrow)).T)
    return _on(device, np.stack(rows)), _on(device, np.stack(columns))
