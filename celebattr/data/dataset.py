"""Labelled faces: names, targets and splits in memory, images read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import CROP_SIZE, SPLITS, TRAIN, VALIDATION
from celebattr.data.image_stores import Distant, Store
from celebattr.errors import DataError, counted
from celebattr.images.open import open_image
from celebattr.images.photo import to_frame
from celebattr.images.turns import in_turn
from celebattr.options import Location

Targets: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]
"""Labels [N, A]: uint8 if all are 0 or 1, float32 if some are unknown (NaN) or soft."""

HELD_OUT = 0.1
"""Share of the training images that becomes validation where there is none."""

NO_SPLIT = -1
"""Value in `splits_N` of images that are in none."""


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
    targets_NA: Targets
    splits_N: NDArray[np.int8]
    store: Store
    identities_N: NDArray[np.int64] | None = None
    note: str = ""
    lacking: tuple[str, ...] = ()
    """Missing data that a list's first line or a shard's name promises, one sentence each."""


@dataclass(frozen=True)
class FaceDataset:
    """Labelled faces of one or more folders.

    Attributes:
        attributes: names of the columns of the targets.
        names: image names, as in the lists.
        targets_NA: [N, A], 1 where the attribute is present, NaN where that is unknown.
        splits_N: int8 [N], values of `SPLITS`.
        stores: where images lie, one per folder.
        store_N: uint8 [N], which of them an image is in.
        identities_N: int64 [N], who is shown, or None where that is not known.
        summary: the folders and their layouts, for a person.
        caches: of decoded images, one per store, or empty.
    """

    attributes: tuple[str, ...]
    names: list[str]
    targets_NA: Targets
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

    @in_turn()
    def _decode(self, index: int, data: bytes) -> NDArray[np.uint8]:
        """Decode the crop of an image from the bytes of its file, and cache it."""
        store, name = self.store_N[index], self.names[index]
        crop_HWC = to_frame(open_image(data, name=f"{self.stores[store].path}: {name}"))
        if self.caches:
            self.caches[store].put(name, crop_HWC)
        return crop_HWC

    def split(self, name: str, limit: int | None = None) -> FaceDataset:
        """Return the first `limit` rows of a split: `train`, `validation`, `test` or `all`."""
        if name == "all":
            return self.take(np.arange(len(self))[:limit])
        return self.take(np.flatnonzero(self.splits_N == SPLITS[name])[:limit])

    @property
    def shares_A(self) -> NDArray[np.float64]:
        """The share of positives among the known labels, [A]; NaN where none is known."""
        return shares(self.targets_NA)

    @property
    def constant(self) -> list[str]:
        """The attributes whose known labels are all alike, or that have none."""
        return constant(self.attributes, self.targets_NA)

    def targets_of(self, names: Sequence[str]) -> Targets:
        """Return the targets of some attributes, in their order."""
        return self.targets_NA[:, [self.attributes.index(name) for name in names]]

    def share(self, part: float, seed: int) -> FaceDataset:
        """Return a random share of the rows in their order, fixed by the seed."""
        count = max(1, round(part * len(self)))
        chosen = np.random.default_rng(seed).permutation(len(self))[:count]
        return self if part == 1.0 else self.take(np.sort(chosen))

    def describe(self) -> str:
        """Describe the folders and the number of rows per split in one line."""
        counts = [f"{int((self.splits_N == v).sum()):,} {k}" for k, v in SPLITS.items()]
        return f"{self.summary}: {', '.join(counts)}; {counted(len(self.attributes), 'attribute')}"

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


def shares(targets_NA: Targets) -> NDArray[np.float64]:
    """Return the share of positives among the known labels, [A]; NaN where none is known."""
    if targets_NA.dtype == np.uint8:
        return np.asarray(targets_NA.mean(axis=0), np.float64)
    known_A = (~np.isnan(targets_NA)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(targets_NA, axis=0) / known_A, np.float64)


def constant(attributes: Sequence[str], targets_NA: Targets) -> list[str]:
    """Return the attributes whose known labels are all alike, or that have none."""
    return [n for n, s in zip(attributes, shares(targets_NA), strict=True) if not 0.0 < s < 1.0]


def hold_out(dataset: FaceDataset, seed: int) -> tuple[FaceDataset, str]:
    """Make a tenth of the training images validation where there is none, by person if known.

    Returns:
        The data set, and what was done, for a person; empty if nothing was.
    """
    train_n = np.flatnonzero(dataset.splits_N == TRAIN)
    if (dataset.splits_N == VALIDATION).any() or len(train_n) < 2:
        return dataset, ""
    person_n, counts = _people(dataset, train_n)
    who = "of other people than train, " if len(counts) < len(train_n) else ""
    order = np.random.default_rng(seed).permutation(len(counts))
    wanted = max(1, round(HELD_OUT * len(train_n)))
    # Up to the person with whom the tenth is reached, and never all of them.
    last = min(int(np.searchsorted(np.cumsum(counts[order]), wanted)) + 1, len(counts) - 1)
    held_n = train_n[np.isin(person_n, order[:last])]
    splits_N = dataset.splits_N.copy()
    splits_N[held_n] = VALIDATION
    told = f"{len(held_n):,} of {len(train_n):,} train images held out, {who}by seed {seed}"
    return replace(dataset, splits_N=splits_N), told


def leave_out_fold(
    dataset: FaceDataset, fold: int, folds: int, *, seed: int, limit: int | None = None
) -> tuple[FaceDataset, NDArray[np.int64]]:
    """Take one of several folds out of the training images, by person if known.

    Args:
        dataset: whose training images are split into folds of about the same size.
        fold: which, from 1.
        folds: how many there are.
        seed: of the folds, which are the same for all of them.
        limit: training images that are used, the first ones; the others are in no split.

    Returns:
        The data set, whose images of the fold are in no split, and their rows.

    Raises:
        DataError: there are fewer people, or images, than folds.
    """
    train_n = np.flatnonzero(dataset.splits_N == TRAIN)
    used_n = train_n[:limit]
    person_n, counts = _people(dataset, used_n)
    if len(counts) < folds:
        what = "people" if len(counts) < len(used_n) else "images"
        raise DataError(f"--folds {folds}: there are {len(counts)} {what} to train on")
    order = np.random.default_rng(seed).permutation(len(counts))
    # A person is in the fold in which the middle one of its images is.
    middles = np.cumsum(counts[order]) - counts[order] / 2.0
    fold_of = np.empty(len(counts), np.int64)
    fold_of[order] = middles * folds / len(used_n)
    held_n = used_n[fold_of[person_n] == fold - 1]
    if len(held_n) == 0:
        raise DataError(f"--folds {folds}: fold {fold} is empty, one person has most images")
    splits_N = dataset.splits_N.copy()
    splits_N[held_n] = splits_N[train_n[len(used_n) :]] = NO_SPLIT
    return replace(dataset, splits_N=splits_N), held_n


def _people(
    dataset: FaceDataset, rows_n: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return who is in some rows, from 0, and the images of each; without people, each its own."""
    people_n = rows_n
    if dataset.identities_N is not None and len(np.unique(dataset.identities_N[rows_n])) > 1:
        people_n = dataset.identities_N[rows_n]
    _, person_n, counts = np.unique(people_n, return_inverse=True, return_counts=True)
    return person_n, counts
