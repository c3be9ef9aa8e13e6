"""Labelled faces: names, targets and splits in memory, images read when they are needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebattr.data.images import open_image, to_frame
from celebattr.data.labels import TEST, TRAIN, VALIDATION
from celebattr.data.stores import Store

SPLITS: dict[str, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


@dataclass(frozen=True)
class Source:
    """One folder as read: what a layout's reader returns."""

    layout: str
    path: Path
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
        stores: where images lie, one a folder.
        store_N: uint8 [N], which of them an image is in.
        identities_N: int64 [N], who is shown, or None where that is not known.
        summary: the folders and their layouts, for a person.
    """

    attributes: tuple[str, ...]
    names: list[str]
    targets_NA: NDArray[np.uint8] | NDArray[np.float32]
    splits_N: NDArray[np.int8]
    stores: tuple[Store, ...]
    store_N: NDArray[np.uint8]
    identities_N: NDArray[np.int64] | None
    summary: str

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> NDArray[np.uint8]:
        """The frame uint8 [218, 178, 3] of an image; from any thread.

        Raises:
            ImageError: it cannot be opened; the message names it.
        """
        store, name = self.stores[self.store_N[index]], self.names[index]
        return to_frame(open_image(store.read(name), name=f"{store.path}: {name}"))

    def split(self, name: str, limit: int | None = None) -> FaceDataset:
        """The rows of a split, `train`, `validation` or `test`; the first `limit` of them."""
        return self.take(np.flatnonzero(self.splits_N == SPLITS[name])[:limit])

    def share(self, part: float, seed: int) -> FaceDataset:
        """A random share of the rows, the same for the same seed, in their order."""
        count = max(1, round(part * len(self)))
        chosen = np.random.default_rng(seed).permutation(len(self))[:count]
        return self if part == 1.0 else self.take(np.sort(chosen))

    def describe(self) -> str:
        """The folders, and the rows of each split: one line."""
        counts = [f"{int((self.splits_N == v).sum()):,} {k}" for k, v in SPLITS.items()]
        return f"{self.summary}: {', '.join(counts)}; {len(self.attributes)} attributes"

    def take(self, rows: NDArray[np.int64]) -> FaceDataset:
        """Some of the rows, in that order."""
        return replace(
            self,
            names=[self.names[i] for i in rows],
            targets_NA=self.targets_NA[rows],
            splits_N=self.splits_N[rows],
            store_N=self.store_N[rows],
            identities_N=None if self.identities_N is None else self.identities_N[rows],
        )
