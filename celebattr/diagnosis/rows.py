"""Checks of the lists: rows, columns, splits, frequencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebattr import constants
from celebattr.attributes import CELEBA
from celebattr.constants import SPLITS
from celebattr.data import label_files
from celebattr.data.dataset import Source, constant, shares
from celebattr.data.layouts import celeba, celebamask_hq
from celebattr.diagnosis.report import EXAMPLES, Finding, SplitReport
from celebattr.errors import DataError, counted

FEW = 100
"""Number of rows below which shares are not compared."""

NEAR, FAR = 2.0, 8.0
"""Points of the mean difference to CelebA's shares, beyond chance, up to which they are as CelebA's
and from which they are not CelebA's at all."""

SPLIT_NAMES = tuple(SPLITS)
"""Names of the splits, by their numbers."""

_TEST_PERCENT = (  # in the order of CELEBA
    *(9.99, 28.44, 49.58, 20.26, 2.12, 15.57, 32.70, 21.20, 27.16, 13.33, 5.06, 17.97, 12.95, 5.30),
    *(4.57, 6.46, 4.58, 3.19, 40.50, 48.18, 38.65, 49.51, 3.87, 14.87, 85.37, 29.56, 4.21, 28.57),
    *(8.49, 7.17, 4.64, 50.03, 20.99, 36.40, 20.66, 4.20, 52.19, 13.79, 7.01, 75.71),
)
_DIFFERING = (
    *("Big_Lips", "Black_Hair", "Brown_Hair"),
    *("Narrow_Eyes", "Wavy_Hair", "Wearing_Lipstick"),
)

PERCENT: dict[str, dict[str, float]] = {
    "train": dict(zip(_DIFFERING, (24.1, 23.9, 20.4, 11.6, 31.9, 47.0), strict=True)),
    "validation": dict(zip(_DIFFERING, (15.3, 20.9, 24.1, 7.5, 27.7, 44.6), strict=True)),
    "test": dict(zip(CELEBA, _TEST_PERCENT, strict=True)),
}
"""Positives of attributes on CelebA's splits, in percent: all on test, else those whose frequency
differs most between the splits."""


def splits(source: Source) -> tuple[SplitReport, ...]:
    """Return the figures of each split of a folder."""
    reports = []
    for name, value in SPLITS.items():
        rows = source.splits_N == value
        people = None
        if source.identities_N is not None:
            people = len(np.unique(source.identities_N[rows]))
        known = shares(source.targets_NA[rows]).tolist() if rows.any() else []
        prevalence = {n: s for n, s in zip(source.attributes, known, strict=False) if s == s}
        reports.append(SplitReport(name, int(rows.sum()), people, prevalence))
    return tuple(reports)


def check(source: Source) -> Iterator[Finding]:
    """Yield findings on the lists of a folder."""
    for text in source.lacking:
        remedy = "Get what is missing again; --skip-missing uses what is there"
        yield Finding("problem", "incomplete", text, remedy)
    for part in (_doubled, _lists, _columns, _official_splits, _prevalence):
        yield from part(source)


def _doubled(source: Source) -> Iterator[Finding]:
    """Yield findings on images with more than one row."""
    counts = Counter(source.names)
    if len(counts) == len(source.names):
        return
    first: dict[str, int] = {}
    differ = set()
    for row, name in enumerate(source.names):
        if counts[name] > 1:
            other = first.setdefault(name, row)
            same = np.array_equal(source.targets_NA[row], source.targets_NA[other], equal_nan=True)
            if not same or source.splits_N[row] != source.splits_N[other]:
                differ.add(name)
    twice = sorted(first)
    what = f"{counted(len(twice), 'image')} with more than one row"
    if differ:
        what += f", {len(differ):,} of them with rows that contradict each other"
    remedy = "Keep one row of each in the list, and correct the count in its first line"
    yield Finding("warning", "doubled rows", what, remedy, sorted(differ) or twice)


def _lists(source: Source) -> Iterator[Finding]:
    """Yield findings on first lines and surplus rows of lists."""
    file = celeba.find(source.path, (*celeba.ATTRIBUTES, celebamask_hq.ATTRIBUTES))
    if file is None:
        return
    with file.open(encoding="utf-8-sig", errors="replace") as opened:
        first = opened.readline().strip()
    count = label_files.count_in(first)
    if count is not None and count < len(source.names):
        rows = len(source.names)
        what = f"the first line of {file.name} says {count:,} rows, and there are {rows:,}"
        remedy = "Rows were added: write the true number into the first line"
        yield Finding("warning", "count line", what, remedy)
    if count is None and "," not in first:
        what = f"{file.name} has lost its first line, the number of rows: it is read all the same"
        remedy = f"For other programs, torchvision's reader for one, put {len(source.names)} there"
        yield Finding("note", "count line", what, remedy)
    partition = celeba.find(source.path, celeba.PARTITION)
    if partition is not None:
        yield from _partition(source, partition)
    people = celeba.find(source.path, celeba.IDENTITY)
    if people is None:
        what = "no list of people: whether one is in two splits cannot be told by name"
        remedy = "CelebA's is identity_CelebA.txt, in the folder Anno"
        yield Finding("note", "people", what, remedy)
    elif source.identities_N is None:
        what = f"{people.name} is damaged or lacks images, and is left out"
        yield Finding("warning", "people", what, "Get it again, or delete it")


def _partition(source: Source, file: Path) -> Iterator[Finding]:
    """Yield findings on rows of the list of splits, doubled or of unlabelled images."""
    try:
        table = label_files.read_table(file, header=False)
        values = label_files.partitions(table, 0).tolist()
    except DataError:
        return  # it is not the list that was read: the reader would have said so
    seen: dict[str, int] = {}
    differ = sorted(
        {n for n, v in zip(table.images, values, strict=True) if seen.setdefault(n, v) != v}
    )
    if differ:
        what = f"{file.name} puts {counted(len(differ), 'image')} into two splits"
        remedy = "Leave one row of each: the last counts now"
        yield Finding("warning", "doubled rows", what, remedy, differ)
    strange = len(seen.keys() - set(source.names))
    if strange:
        what = f"{file.name} has {counted(strange, 'image')} without labels, left out"
        yield Finding("note", "rows without labels", what)


def _columns(source: Source) -> Iterator[Finding]:
    if "order is assumed" in source.note and celeba.find(source.path, celeba.ATTRIBUTES) is None:
        what = "the lists do not name the attributes: CelebA's order is assumed"
        remedy = "Right for lists made from CelebA's own: the frequencies tell if it is not"
        yield Finding("note", "header", what, remedy)
    elif "order is assumed" in source.note:
        what = "the names of the attributes are missing: CelebA's order is assumed"
        remedy = "Put the line of names back above the rows, after the count: " + " ".join(CELEBA)
        yield Finding("warning", "header", what, remedy)
    lacking = [name for name in CELEBA if name not in source.attributes]
    own = [name for name in source.attributes if name not in CELEBA]
    if lacking or own:
        what = counted(len(source.attributes), "attribute")
        what += f", {len(own)} of them not CelebA's" if own else f", without {len(lacking)} of 40"
        yield Finding("note", "attributes", what, "", own or lacking)
    elif source.attributes != CELEBA:
        what = (
            "the attributes are in another order than CelebA's: they are read by name, so that "
            "nothing is lost here"
        )
        remedy = "Programs that go by position would mix them up"
        yield Finding("note", "order of attributes", what, remedy)
    unknown_A = np.isnan(source.targets_NA).sum(axis=0)
    if unknown_A.any():
        most = [a for a in np.argsort(-unknown_A, kind="stable") if unknown_A[a]]
        what = (
            f"{counted(int(unknown_A.sum()), 'label')} of {source.targets_NA.size:,} are unknown: "
            "training and metrics leave them out"
        )
        examples = [f"{source.attributes[a]} {unknown_A[a]:,}" for a in most]
        yield Finding("note", "unknown labels", what, "", examples)
    for split, so in (
        ("train", "nothing can be learned of them"),
        ("validation", "it cannot judge them; where it judges none, its loss chooses the epoch"),
    ):
        rows = source.targets_NA[source.splits_N == SPLITS[split]]
        if len(rows) and (flat := constant(source.attributes, rows)):
            what = (
                f"{counted(len(flat), 'attribute')} with one value in all {len(rows):,} {split} "
                f"rows: {so}"
            )
            remedy = "Leave their columns out, or add images that show the other value"
            yield Finding("warning", "constant attribute", what, remedy, flat)


def _official_splits(source: Source) -> Iterator[Finding]:
    """Yield findings on the agreement of the splits with CelebA's own."""
    moved: dict[tuple[int, int], list[str]] = {}
    for name, given in zip(source.names, source.splits_N.tolist(), strict=True):
        own = celeba.official_split(name)
        if own is None:
            return  # other names than CelebA's
        if own != given:
            moved.setdefault((own, given), []).append(name)
    if source.names and not moved:
        yield Finding("ok", "splits", "every image is in the split that CelebA gives it")
    for (own, given), names in sorted(moved.items()):
        what = (
            f"{counted(len(names), 'image')} in {SPLIT_NAMES[given]} here and in {SPLIT_NAMES[own]}"
        )
        leak = own == constants.TEST
        remedy = (
            "Figures are not to be set beside published ones, which keep these for the test: use "
            "CelebA's list_eval_partition.txt"
        )
        several = len(np.unique(source.splits_N)) > 1
        severity = "warning" if leak and several else "note"
        yield Finding(severity, "splits", f"{what} in CelebA", remedy if leak else "", names)


def _prevalence(source: Source) -> Iterator[Finding]:
    """Yield findings on attribute frequencies against CelebA's, split by split."""
    if not set(CELEBA) <= set(source.attributes):
        return
    exchanged = _exchanged(source)
    if exchanged is not None:
        yield exchanged
        return
    for split, percent in PERCENT.items():
        targets_NA = source.targets_NA[source.splits_N == SPLITS[split]]
        if len(targets_NA) < FEW:
            continue
        columns = [source.attributes.index(name) for name in percent]
        shares_A = 100.0 * shares(targets_NA)[columns]
        truth_A = np.array(list(percent.values()))
        off = beyond_chance(shares_A, truth_A, len(targets_NA))
        if off <= NEAR:
            what = (
                f"{split}: attributes are as frequent as in CelebA, to {max(off, 0):.1f} points on "
                f"average beyond chance ({counted(len(percent), 'attribute')})"
            )
            yield Finding("ok", "prevalence", what)
            continue
        rows = zip(-np.abs(shares_A - truth_A), percent, shares_A, truth_A, strict=True)
        widest = [f"{n} {s:.1f} % (CelebA {t:.1f})" for _, n, s, t in sorted(rows)[:EXAMPLES]]
        what = (
            f"{split}: attributes are not as frequent as in CelebA, by {off:.1f} points on "
            f"average beyond chance: {', '.join(widest)}"
        )
        remedy = (
            "If these are CelebA's images, the columns are mixed up or belong to other rows: "
            "get the list of attributes again"
        )
        severity = "warning" if off > FAR else "note"
        yield Finding(severity, "prevalence", what, remedy if off > FAR else "")


def beyond_chance(shares_A: NDArray[np.float64], truth_A: NDArray[np.float64], rows: int) -> float:
    """Return the mean difference of shares in percent, less that expected by chance."""
    deviation_A = np.sqrt(truth_A * (100.0 - truth_A) / rows)
    # The mean absolute value of a normal variable is sqrt(2 / pi) of its standard deviation.
    return float((np.abs(shares_A - truth_A) - np.sqrt(2.0 / np.pi) * deviation_A).mean())


def _exchanged(source: Source) -> Finding | None:
    """Return a finding if exchanged values or column names fit CelebA far better, else None."""
    test = source.splits_N == constants.TEST
    rows = test if test.sum() >= FEW else np.ones(len(source.names), np.bool_)
    if rows.sum() < FEW:
        return None
    shares_A = 100.0 * shares(source.targets_NA[rows])

    def off(names: Sequence[str], values_A: NDArray[np.float64]) -> float:
        value_of = dict(zip(names, values_A, strict=True))
        ordered = np.array([value_of[name] for name in CELEBA])
        return beyond_chance(ordered, np.array(_TEST_PERCENT), int(rows.sum()))

    as_read = off(source.attributes, shares_A)
    if as_read <= NEAR:
        return None
    if off(source.attributes, 100.0 - shares_A) < as_read / 3:
        what = "0 and 1 are exchanged: attributes are as frequent as their absence in CelebA"
        remedy = "Get the list of attributes again, or exchange the values"
        return Finding("warning", "prevalence", what, remedy)
    if len(source.attributes) == len(CELEBA) and off(CELEBA, shares_A) < as_read / 3:
        what = (
            "the names above the columns are not theirs: the frequencies are CelebA's if the "
            "columns are in CelebA's order, and not if they are what the header says"
        )
        remedy = "Put CelebA's line of names back: " + " ".join(CELEBA)
        return Finding("warning", "order of attributes", what, remedy)
    return None
