"""Order and batches. Threads decode: Pillow leaves Python's lock while it does.

Threads rather than worker processes: nothing is pickled, no shared memory can run out in a
container, and the same few lines serve training, evaluation and scoring on every platform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celebattr.io.prefetch import ordered_map

if TYPE_CHECKING:
    from celebattr.data.dataset import FaceDataset


Transform = Callable[[NDArray[np.uint8], NDArray[np.int64]], NDArray[np.uint8]]
"""Crops uint8 [B, 218, 178, 3] and their indices [B] -> crops of the same shape."""


@dataclass(frozen=True)
class Batch:
    """Crops uint8 [B, 218, 178, 3], targets [B, A] in 0..1 or NaN, dataset indices [B]."""

    crops_BHWC: NDArray[np.uint8]
    targets_BA: NDArray[np.uint8] | NDArray[np.float32]
    indices_B: NDArray[np.int64]


def order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the permutation of 0..count-1 in which an epoch visits the samples."""
    # Philox is keyed by (seed, epoch): a resumed run needs no state to have the same order.
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)


def batches(
    dataset: FaceDataset, indices: NDArray[np.int64], *, batch_size: int, workers: int
) -> Iterator[Batch]:
    """Yield the samples at `indices`, in that order, in batches; the last may be smaller.

    Raises:
        DataError: an image cannot be read; the message names it.
    """
    yield from read(dataset, chunks(indices, batch_size), workers=workers)


def chunks(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Split indices into arrays of `size`; the last may be smaller."""
    return [indices[i : i + size] for i in range(0, len(indices), size)]


def steps(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Split indices into arrays of `size` to train on; the last may be smaller, or one larger.

    An image alone has no batch norm where feature maps are 1x1: it joins the batch before.
    """
    return np.split(indices, starts(len(indices), size)[1:])


def starts(count: int, size: int) -> list[int]:
    """Return where parts of `size` begin in `count` images, without a last part of one image."""
    return [0, *range(size, count - (size > 1), size)]


def read(
    dataset: FaceDataset,
    chunks: Iterable[NDArray[np.int64]],
    *,
    workers: int,
    transform: Transform | None = None,
) -> Iterator[Batch]:
    """Yield the samples at each of `chunks` as a batch; an empty chunk gives an empty batch.

    Args:
        dataset: what to read from.
        chunks: indices of its images.
        workers: threads that decode.
        transform: called in these threads with crops and indices; gives other crops.

    Raises:
        DataError: an image cannot be read; the message names it.
    """

    def one(chunk: NDArray[np.int64]) -> Batch:
        crops_BHWC = dataset.read_batch(chunk.tolist())
        if transform is not None:
            crops_BHWC = transform(crops_BHWC, chunk)
        return Batch(crops_BHWC, dataset.targets_NA[chunk], chunk)

    yield from ordered_map(one, chunks, workers=workers, ahead=2 * workers)
