"""Labelled faces: names, targets and splits in memory, images read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import CROP_SIZE, SPLITS
from celebattr.data.image_stores import Distant, Store
from celebattr.images.open import open_image
from celebattr.images.photo import to_frame
from celebattr.options import Location


class CropCache(Protocol):
    """Decoded images of one store, by name; for any thread."""

    def get(self, name: str) -> NDArray[np.uint8] | None:
        """Return a read-only crop uint8 [218, 178, 3], or None if it is not there."""

    def put(self, name: str, crop_HWC: NDArray[np.uint8]) -> None:
        """Keep a crop, if it can."""


@dataclass(frozen=True)
class Source:
    """One folder as read: the result of a layout's reader."""

    layout: str
    path: Location
    attributes: tuple[str, ...]
    names: list[str]
    targets_NA: NDArray[np.uint8]
    splits_N: NDArray[np.int8]
    store: Store
    identities_N: NDArray[np.int64] | None = None
    note: str = ""


@dataclass(frozen=True)
class FaceDataset:
    """Labelled faces of one or more folders.

    Attributes:
        attributes: names of the columns of the targets.
        names: image names, as in the lists.
        targets_NA: [N, A], 1 where the attribute is present; float32 if softened, else uint8.
        splits_N: int8 [N], values of `SPLITS`.
        stores: where images lie, one per folder.
        store_N: uint8 [N], which of them an image is in.
        identities_N: int64 [N], who is shown, or None where that is not known.
        summary: the folders and their layouts, for a person.
        caches: of decoded images, one per store, or empty.
    """

    attributes: tuple[str, ...]
    names: list[str]
    targets_NA: NDArray[np.uint8] | NDArray[np.float32]
    splits_N: NDArray[np.int8]
    stores: tuple[Store, ...]
    store_N: NDArray[np.uint8]
    identities_N: NDArray[np.int64] | None
    summary: str
    caches: tuple[CropCache, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return the crop uint8 [218, 178, 3] of an image; callable from any thread.

        Raises:
            ImageError: it cannot be opened; the message names it.
        """
        kept = self._kept(index)
        if kept is not None:
            return kept
        return self._decode(index, self.stores[self.store_N[index]].read(self.names[index]))

    def read_batch(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the crops uint8 [B, 218, 178, 3] of some images; from any thread.

        A distant store is asked once for all that are wanted of it.

        Raises:
            ImageError: one cannot be opened; the message names it.
        """
        fetched: dict[int, NDArray[np.uint8]] = {}
        for number, store in enumerate(self.stores):
            if isinstance(store, Distant):
                here = {i: self._kept(i) for i in indices if self.store_N[i] == number}
                away = [i for i, kept in here.items() if kept is None]
                files = store.read_all([self.names[i] for i in away]) if away else []
                fetched |= {i: kept for i, kept in here.items() if kept is not None}
                fetched |= {i: self._decode(i, f) for i, f in zip(away, files, strict=True)}
        crops_BHWC = np.empty((len(indices), *CROP_SIZE, 3), np.uint8)
        for at, i in enumerate(indices):
            crops_BHWC[at] = fetched[i] if i in fetched else self.read(i)
        return crops_BHWC

    def _kept(self, index: int) -> NDArray[np.uint8] | None:
        """Return the crop from the cache, or None."""
        if not self.caches:
            return None
        cache: CropCache = self.caches[self.store_N[index]]
        return cache.get(self.names[index])

    def _decode(self, index: int, data: bytes) -> NDArray[np.uint8]:
        """Decode the crop of an image from the bytes of its file, and cache it."""
        store, name = self.store_N[index], self.names[index]
        crop_HWC = to_frame(open_image(data, name=f"{self.stores[store].path}: {name}"))
        if self.caches:
            self.caches[store].put(name, crop_HWC)
        return crop_HWC

    def split(self, name: str, limit: int | None = None) -> FaceDataset:
        """Return the first `limit` rows of a split: `train`, `validation` or `test`."""
        return self.take(np.flatnonzero(self.splits_N == SPLITS[name])[:limit])

    def share(self, part: float, seed: int) -> FaceDataset:
        """Return a random share of the rows in their order, fixed by the seed."""
        count = max(1, round(part * len(self)))
        chosen = np.random.default_rng(seed).permutation(len(self))[:count]
        return self if part == 1.0 else self.take(np.sort(chosen))

    def describe(self) -> str:
        """Describe the folders and the number of rows per split in one line."""
        counts = [f"{int((self.splits_N == v).sum()):,} {k}" for k, v in SPLITS.items()]
        return f"{self.summary}: {', '.join(counts)}; {len(self.attributes)} attributes"

    def take(self, rows: NDArray[np.int64]) -> FaceDataset:
        """Return some of the rows, in the given order."""
        return replace(
            self,
            names=[self.names[i] for i in rows],
            targets_NA=self.targets_NA[rows],
            splits_N=self.splits_N[rows],
            store_N=self.store_N[rows],
            identities_N=None if self.identities_N is None else self.identities_N[rows],
        )
