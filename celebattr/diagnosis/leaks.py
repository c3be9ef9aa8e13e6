"""Checks for people, image names and pictures that several splits share."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from celebattr.data import duplicates
from celebattr.data.dataset import Source
from celebattr.data.layouts import celeba
from celebattr.diagnosis.report import EXAMPLES, Finding
from celebattr.diagnosis.rows import SPLIT_NAMES
from celebattr.errors import counted

_REMEDY = "Take the rows of one of the two splits out of the lists: scores on it are too good"


def check(sources: Sequence[Source]) -> Iterator[Finding]:
    """Yield findings on people and names in more than one split or folder."""
    yield from _people(sources)
    if len(sources) > 1:
        yield from _names(sources)


def _people(sources: Sequence[Source]) -> Iterator[Finding]:
    known = [s for s in sources if s.identities_N is not None]
    if not known:
        return
    people = np.concatenate([s.identities_N for s in known if s.identities_N is not None])
    splits = np.concatenate([s.splits_N for s in known])
    parts: list[str] = []
    examples: list[str] = []
    for one, other in itertools.combinations(range(len(SPLIT_NAMES)), 2):
        both = np.intersect1d(people[splits == one], people[splits == other])
        if len(both):
            shown = np.isin(people, both)
            here, there = (int((shown & (splits == split)).sum()) for split in (one, other))
            parts.append(
                f"{counted(len(both), 'person', 'people')} both in {SPLIT_NAMES[one]} "
                f"({counted(here, 'image')}) and in {SPLIT_NAMES[other]} ({there:,})"
            )
            examples += [f"person {person}" for person in both]
    if parts:
        yield Finding("warning", "people in two splits", "; ".join(parts), _REMEDY, examples)
    elif len(np.unique(splits)) > 1:
        what = f"none of {len(np.unique(people)):,} people is in two splits"
        yield Finding("ok", "people in two splits", what)


def _names(sources: Sequence[Source]) -> Iterator[Finding]:
    """Yield findings on CelebA images that are in more than one folder, by name."""
    first: dict[str, int] = {}
    same: list[str] = []
    differ: list[str] = []
    for source in sources:
        for name, split in zip(source.names, source.splits_N.tolist(), strict=True):
            if celeba.official_split(name) is None:
                continue
            if name in first:
                (same if first[name] == split else differ).append(name)
            first.setdefault(name, split)
    if differ:
        what = f"{counted(len(differ), 'image')} in two folders and in two splits, by the names"
        yield Finding("warning", "images in two folders", what, _REMEDY, sorted(differ))
    if same:
        what = f"{counted(len(same), 'image')} in two folders, in the same split, counted twice"
        remedy = "Give one of the folders only, or take the rows out of one list"
        yield Finding("note", "images in two folders", what, remedy, sorted(same))


def pictures(
    places: Sequence[tuple[Source, int]], thumbnails_NHW: NDArray[np.uint8]
) -> Iterator[Finding]:
    """Yield findings on pictures that occur more than once.

    Args:
        places: the folder of each picture, and its row there.
        thumbnails_NHW: uint8 [N, 16, 16].
    """
    count = f"{len(thumbnails_NHW):,} opened"
    pairs_P2 = duplicates.pairs(thumbnails_NHW)
    splits_N = np.array([source.splits_N[row] for source, row in places])
    names = [source.names[row] for source, row in places]
    one, other = splits_N[pairs_P2[:, 0]], splits_N[pairs_P2[:, 1]]
    parts: list[str] = []
    examples: list[str] = []
    for a, b in itertools.combinations(range(len(SPLIT_NAMES)), 2):
        here = pairs_P2[((one == a) & (other == b)) | ((one == b) & (other == a))]
        if len(here):
            shown = counted(len(np.unique(here[splits_N[here] == b])), "picture")
            parts.append(f"{shown} of {SPLIT_NAMES[b]} also in {SPLIT_NAMES[a]}")
            examples += [f"{names[i]} = {names[j]}" for i, j in here[:EXAMPLES]]
    if parts:
        what = f"{'; '.join(parts)}, of {count}"
        yield Finding("warning", "pictures in two splits", what, _REMEDY, examples)
    else:
        yield Finding("ok", "pictures in two splits", f"no picture is in two splits, of {count}")
    yield from _two_numbers(places, pairs_P2)
    within = pairs_P2[one == other]
    if len(within):
        what = f"{len(np.unique(within)):,} pictures more than once in their split, of {count}"
        remedy = "CelebA has some; they do no harm but count more than once"
        examples = [f"{names[i]} = {names[j]}" for i, j in within[:EXAMPLES]]
        yield Finding("note", "repeated pictures", what, remedy, examples)


def _two_numbers(
    places: Sequence[tuple[Source, int]], pairs_P2: NDArray[np.int64]
) -> Iterator[Finding]:
    """Yield findings on pictures shared by two people: one person under two numbers."""
    found: Counter[tuple[int, int]] = Counter()
    apart = set()
    for i, j in pairs_P2:
        (source, row), (other, at) = places[i], places[j]
        if source.identities_N is None or other.identities_N is None:
            continue
        low, high = sorted((int(source.identities_N[row]), int(other.identities_N[at])))
        if low != high:
            found[low, high] += 1
            if source.splits_N[row] != other.splits_N[at]:
                apart.add((low, high))
    if found:
        first = sorted(found, key=lambda people: (people not in apart, -found[people], people))
        what = (
            f"{counted(len(found), 'pair')} of people who share a picture, {len(apart):,} of them in "
            "two splits: one of the numbers is wrong, or both are one person"
        )
        remedy = "People are kept apart by number only: take one of such a pair out of the lists"
        examples = [f"{a} = {b}: {counted(found[a, b], 'picture')}" for a, b in first]
        yield Finding("note", "one person, two numbers", what, remedy, examples)
