"""Soft labels between 0 and 1, from another model or from several annotators."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from celebattr.data import label_files
from celebattr.data.dataset import FaceDataset
from celebattr.errors import DataError

log = logging.getLogger(__name__)


def soften(dataset: FaceDataset, paths: Sequence[Path], weight: float) -> FaceDataset:
    """Mix the probabilities of CSVs into the targets of the images that they name.

    Args:
        dataset: whose targets to mix them into.
        paths: see `read_probabilities`; an image that several of them name gets their mean.
        weight: share of the probabilities in the targets, 0 to 1; the rest are the labels. An
            unknown label becomes the probability.

    Raises:
        DataError: see `read_probabilities`.
    """
    if not paths:
        return dataset
    sum_NA = np.zeros(dataset.targets_NA.shape, np.float32)
    files_N = np.zeros(len(dataset), np.int64)
    for path in paths:
        rows_n, soft_nA = read_probabilities(dataset, path)
        sum_NA[rows_n] += soft_nA
        files_N[rows_n] += 1
        log.info("%s softens %d of %d images", path.name, len(rows_n), len(dataset))
    named_n = np.flatnonzero(files_N)
    hard_nA = dataset.targets_NA[named_n]
    mean_nA = sum_NA[named_n] / files_N[named_n, None]
    targets_NA = dataset.targets_NA.astype(np.float32)
    mixed_nA = (1.0 - weight) * hard_nA + weight * mean_nA
    targets_NA[named_n] = np.where(np.isnan(hard_nA), mean_nA, mixed_nA)
    return replace(dataset, targets_NA=targets_NA)


def read_probabilities(
    dataset: FaceDataset, path: Path
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Read the probabilities of a CSV for the images of a data set that it names.

    Images are matched by name or else by file name, without folders. Rows without probabilities,
    such as the failures that `celebattr predict` reports, are left out, and so are images not in
    the data set.

    Args:
        dataset: whose attributes, in their order, the columns are.
        path: a CSV with a column that names the image and one per attribute.

    Returns:
        The rows of the data set that are named, int64 [n], and theirs, float32 [n, A].

    Raises:
        DataError: the file cannot be read, lacks attributes, has values outside 0..1, names an
            image twice, or none of the data set's.
    """
    table = label_files.read_table(path)
    lacking = [name for name in dataset.attributes if name not in table.columns]
    if lacking:
        raise DataError(f"{path} has no column {', '.join(lacking[:5])}")
    cells = table.cells[:, [table.columns.index(name) for name in dataset.attributes]]
    given_N = (cells != "").any(axis=1)
    values_NA = _numbers(path, table, cells, given_N)
    place = {PurePath(name).name: row for row, name in enumerate(dataset.names)}
    exactly = {name: row for row, name in enumerate(dataset.names)}
    taken: dict[int, int] = {}
    for line, name in enumerate(np.array(table.images)[given_N].tolist()):
        at = exactly.get(name, place.get(PurePath(name).name))
        if at is None:
            continue
        if at in taken:
            raise DataError(
                f"{path} has more than one row for {name}: one face per image is needed"
            )
        taken[at] = line
    if not taken:
        raise DataError(
            f"{path} names none of the {len(dataset):,} images; its first is "
            f"{table.images[0]}, theirs {dataset.names[0]}"
        )
    return np.array(list(taken), np.int64), values_NA[list(taken.values())]


def _numbers(
    path: Path, table: label_files.Table, cells: NDArray[np.str_], given_N: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the rows that have probabilities as float32 [n, A]."""
    try:
        values = cells[given_N].astype(np.float32)
    except ValueError as error:
        raise DataError(f"{path} has a cell that is not a number: {error}") from error
    wrong = ~((values >= 0.0) & (values <= 1.0))  # NaN too
    if wrong.any():
        row = int(np.flatnonzero(given_N)[np.argwhere(wrong)[0][0]])
        raise DataError(
            f"{path}: {table.images[row]} has the value {values[wrong][0]:g}; expected "
            "probabilities between 0 and 1"
        )
    return values
