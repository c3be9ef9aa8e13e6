"""Random numbers of the samples of an epoch: a function of (seed, epoch, index) alone.

They do not depend on workers, batches, processes or on where a run was resumed. They are made on
the host, a few per crop; what has a crop's size is computed where the crops are, by `augment`.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

VERSION = 2
"""Version of what `parameters` draws and what each column is for; checkpoints name it."""

COLUMNS = 31

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def parameters(seed: int, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return uniform draws in 0..1, [B, 31], one row per index.

    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
    2014) as a hash of a counter: a sample's draws need none of those before it, and a whole batch
    takes a few array operations.
    """
    key = _hashed(_hashed(np.array([seed], np.uint64)) + np.uint64(epoch))
    columns_D = np.arange(COLUMNS, dtype=np.uint64)
    counters_BD = indices.astype(np.uint64)[:, None] * np.uint64(COLUMNS) + columns_D
    bits_BD: NDArray[np.uint64] = _hashed(np.multiply(counters_BD, _GAMMA, dtype=np.uint64) + key)
    draws_BD: NDArray[np.float64] = (bits_BD >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return draws_BD


def _hashed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def mixing_weights(draws_BD: NDArray[np.float64], alpha: float) -> NDArray[np.float32]:
    """Return the share of itself that each sample keeps in mixup, 0.5..1, [B].

    Beta(alpha, alpha), folded at 0.5: `mix` pairs each sample with its mirror, so without it a
    pair could come out as the same two blends with their places exchanged.
    """
    cumulative, given_away = _folded_beta(alpha)
    kept = 1.0 - np.interp(draws_BD[:, 26], cumulative, given_away)
    return np.asarray(kept, np.float32)


@functools.cache
def _folded_beta(alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the cumulative distribution of a Beta(alpha, alpha) folded to 0..0.5, and its values.

    With t = x^alpha the density x^(alpha - 1) (1 - x)^(alpha - 1) dx becomes smooth at 0, so the
    trapezoidal rule fits it.
    """
    t = np.linspace(0.0, 0.5**alpha, 8193)
    x = t ** (1.0 / alpha)
    density = (1.0 - x) ** (alpha - 1.0)
    cumulative = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return cumulative / cumulative[-1], x
