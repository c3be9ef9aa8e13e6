"""Which labels of a data set are likely wrong: what a network, the other labels and copies say."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from celebattr import decisions
from celebattr.data import loader
from celebattr.data.dataset import SPLITS, FaceDataset
from celebattr.data.soft_labels import read_probabilities
from celebattr.errors import DataError
from celebattr.evaluation import confident
from celebattr.evaluation.intervals import Resamples, interval
from celebattr.inference.backends import Backend
from celebattr.results.labels import LabelEstimate, LabelReport, Suspect

NETWORK = "the network"
"""The reason of a suspect by its probability alone."""

_HARD = (
    "What the network cannot see counts as a wrong label: for attributes that are hard to predict "
    "the error rate is too high."
)
_BY_HEART = (
    "A network learns the wrong labels of its own training images by heart: if the train images "
    "here are among them, it finds fewer of theirs, and their error rates are too low. For these, "
    "give --probabilities of networks that did not see them (cross-validation)."
)


class Contradiction(Protocol):
    """Two answers that exclude each other: `first` present, and `second` present, or absent."""

    @property
    def first(self) -> str:
        """An attribute."""

    @property
    def second(self) -> str:
        """Another one."""

    @property
    def second_present(self) -> bool:
        """Which answer of the second contradicts the presence of the first."""

    @property
    def name(self) -> str:
        """For a person."""


@dataclass(frozen=True)
class Evidence:
    """Labelled images and what a network thinks of them.

    Attributes:
        images: the labelled images.
        attributes: the A names that are looked at.
        probabilities_NA: of these, calibrated, 0 to 1.
        source: where they come from: name of a bundle or of a file.
        notes: what to know before believing them, sentences.
    """

    images: FaceDataset
    attributes: tuple[str, ...]
    probabilities_NA: NDArray[np.float32]
    source: str
    notes: tuple[str, ...] = field(default=())

    @property
    def labels_NA(self) -> NDArray[np.bool_]:
        """The labels of `attributes`, bool [N, A]."""
        columns = [self.images.attributes.index(name) for name in self.attributes]
        return self.images.targets_NA[:, columns] >= 0.5


def choose(dataset: FaceDataset, split: str | None, limit: int | None) -> FaceDataset:
    """The images of a split, or of all; the first `limit` of each.

    Raises:
        DataError: there are none.
    """
    names = list(SPLITS) if split is None else [split]
    rows = [np.flatnonzero(dataset.splits_N == SPLITS[name])[:limit] for name in names]
    rows_N = np.concatenate(rows)
    if len(rows_N) == 0:
        raise DataError(f"no {split or 'labelled'} images: {dataset.describe()}")
    return dataset.take(rows_N)


def from_bundle(
    backend: Backend,
    images: FaceDataset,
    *,
    batch_size: int,
    workers: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """What a bundle thinks of the images, of the attributes that both know.

    Raises:
        DataError: an image cannot be read, or they have no attribute in common.
    """
    card = backend.card
    shared = [name for name in card.attributes if name in images.attributes]
    if not shared:
        raise DataError(f"the data has labels for none of the attributes of {backend.path.name}")
    columns = [card.attributes.index(name) for name in shared]
    scale_A, bias_A = np.array(card.scale), np.array(card.bias)
    parts: list[NDArray[Any]] = []
    done = 0

    def run(batch: loader.Batch) -> NDArray[np.float32]:
        return decisions.probabilities(backend.logits(batch.frames_BHWC), scale_A, bias_A)

    batches = loader.batches(images, np.arange(len(images)), batch_size=batch_size, workers=workers)
    cores = backend.at_once
    for p_BA in loader.ordered_map(run, batches, workers=cores, ahead=cores):
        parts.append(p_BA[:, columns])
        done += len(p_BA)
        if on_progress is not None:
            on_progress(done, len(images))
    trained = card.trained_on.get("data") or "images that its card does not name"
    notes = [f"{backend.path.name} was trained on: {trained}.", _HARD]
    if (images.splits_N == SPLITS["train"]).any():
        notes.insert(1, _BY_HEART)
    return Evidence(images, tuple(shared), np.concatenate(parts), backend.path.name, tuple(notes))


def from_file(path: Path, images: FaceDataset) -> Evidence:
    """What a CSV says of the images that it names, as `celebattr predict --format csv` writes.

    Raises:
        DataError: see `read_probabilities`.
    """
    rows_n, p_nA = read_probabilities(images, path)
    order = np.argsort(rows_n)
    notes = [
        f"The probabilities of {path.name} are taken as they are; they should come from networks "
        "that were not trained on the images they judge.",
        _HARD,
    ]
    if len(rows_n) < len(images):
        notes.insert(
            0,
            f"{path.name} names {len(rows_n):,} of {len(images):,} images: only they "
            "were looked at.",
        )
    return Evidence(
        images.take(rows_n[order]), images.attributes, p_nA[order], path.name, tuple(notes)
    )


def find(
    evidence: Evidence,
    *,
    rules: Sequence[Contradiction] = (),
    copies: Sequence[Sequence[int]] | None = None,
    picture: Callable[[int], bytes] | None = None,
    pictures: int = 0,
) -> LabelReport:
    """Labels that are likely wrong, and how many there may be.

    Each split is judged by itself, since a network is surer of images that it was trained on.

    Args:
        evidence: labels and probabilities.
        rules: what labels of one image should not say together.
        copies: groups of rows that show nearly the same picture, or None if not looked for.
        picture: a small JPEG of a row.
        pictures: how many of the first suspects of each attribute get one.
    """
    images, p_NA, labels_NA = evidence.images, evidence.probabilities_NA, evidence.labels_NA
    reasons: dict[tuple[int, int], list[str]] = defaultdict(list)
    found_NA = np.zeros(labels_NA.shape, np.bool_)
    splits = [name for name, value in SPLITS.items() if (images.splits_N == value).any()]
    for name in splits:
        rows_n = np.flatnonzero(images.splits_N == SPLITS[name])
        found_NA[rows_n] = confident.suspected(p_NA[rows_n], labels_NA[rows_n])
    for row, column in np.argwhere(found_NA).tolist():
        reasons[row, column].append(NETWORK)
    scores_NA = confident.scores(p_NA, labels_NA)
    contradictions = _contradictions(evidence, scores_NA, rules, reasons)
    duplicates = None if copies is None else _copies(evidence, copies, reasons)
    for row, column in reasons:
        found_NA[row, column] = True
    suspects = _ranked(evidence, scores_NA, reasons, picture, pictures)
    estimates = tuple(
        estimate for name in splits for estimate in _estimates(evidence, labels_NA, found_NA, name)
    )
    people = images.identities_N
    return LabelReport(
        data=images.summary,
        source=evidence.source,
        images={name: int((images.splits_N == SPLITS[name]).sum()) for name in splits},
        people=None if people is None else len(np.unique(people)),
        estimates=tuple(sorted(estimates, key=lambda e: evidence.attributes.index(e.attribute))),
        suspects=suspects,
        contradictions=contradictions,
        duplicates=duplicates,
        notes=evidence.notes,
    )


def _estimates(
    evidence: Evidence, labels_NA: NDArray[np.bool_], found_NA: NDArray[np.bool_], split: str
) -> list[LabelEstimate]:
    """Error rates of the attributes in one split."""
    rows_n = np.flatnonzero(evidence.images.splits_N == SPLITS[split])
    people_N = evidence.images.identities_N
    resamples = Resamples.draw(len(rows_n), None if people_N is None else people_N[rows_n])
    whole = confident.once(len(rows_n))
    made = []
    for column, attribute in enumerate(evidence.attributes):
        p_n, labels_n = evidence.probabilities_NA[rows_n, column], labels_NA[rows_n, column]
        absent, present = (float(one[0]) for one in confident.error_rates(p_n, labels_n, whole))
        absent_R, present_R = confident.error_rates(p_n, labels_n, resamples)
        known = math.isfinite(absent)
        made.append(
            LabelEstimate(
                attribute,
                split,
                len(rows_n),
                int(labels_n.sum()),
                error_rate=absent + present if known else None,
                interval=interval(absent_R + present_R) if known else None,
                wrongly_absent=absent if known else None,
                wrongly_present=present if known else None,
                suspects=int(found_NA[rows_n, column].sum()),
            )
        )
    return made


def _contradictions(
    evidence: Evidence,
    scores_NA: NDArray[np.float64],
    rules: Sequence[Contradiction],
    reasons: dict[tuple[int, int], list[str]],
) -> dict[str, int]:
    """Images that break each rule; of the two labels the likelier wrong one is suspected."""
    labels_NA, names = evidence.labels_NA, evidence.attributes
    broken = {}
    for rule in rules:
        if rule.first not in names or rule.second not in names:
            continue
        a, b = names.index(rule.first), names.index(rule.second)
        rows = np.flatnonzero(labels_NA[:, a] & (labels_NA[:, b] == rule.second_present))
        broken[rule.name] = len(rows)
        for row in rows.tolist():
            wrong, other = (a, b) if scores_NA[row, a] > scores_NA[row, b] else (b, a)
            said = names[other] if labels_NA[row, other] else f"no {names[other]}"
            reasons[row, wrong].append(f"contradicts {said}")
    return {name: count for name, count in broken.items() if count}


def _copies(
    evidence: Evidence,
    copies: Sequence[Sequence[int]],
    reasons: dict[tuple[int, int], list[str]],
) -> int:
    """Groups whose labels differ; labels that their mean probability contradicts are suspected."""
    labels_NA, names = evidence.labels_NA, evidence.images.names
    differing = 0
    for group in copies:
        rows = np.array(group)
        shares_A = labels_NA[rows].mean(axis=0)
        columns = np.flatnonzero((shares_A > 0.0) & (shares_A < 1.0))
        differing += len(columns) > 0
        for column in columns.tolist():
            likely = evidence.probabilities_NA[rows, column].mean() >= 0.5
            other = next(row for row in group if labels_NA[row, column] == likely)
            for row in group:
                if labels_NA[row, column] != likely:
                    reasons[row, column].append(f"labelled otherwise in its copy {names[other]}")
    return differing


def _ranked(
    evidence: Evidence,
    scores_NA: NDArray[np.float64],
    reasons: dict[tuple[int, int], list[str]],
    picture: Callable[[int], bytes] | None,
    pictures: int,
) -> tuple[Suspect, ...]:
    """The suspects, most likely wrong first; equal ones in the order of the data."""
    images, labels_NA = evidence.images, evidence.labels_NA
    split_of = {value: name for name, value in SPLITS.items()}
    ranks = [0] * len(evidence.attributes)
    made: dict[int, bytes] = {}  # an image may be suspected for several attributes
    suspects = []
    for row, column in sorted(reasons, key=lambda at: (-scores_NA[at], at)):
        ranks[column] += 1
        if picture is not None and ranks[column] <= pictures and row not in made:
            made[row] = picture(row)
        suspects.append(
            Suspect(
                images.names[row],
                split_of[int(images.splits_N[row])],
                evidence.attributes[column],
                bool(labels_NA[row, column]),
                float(evidence.probabilities_NA[row, column]),
                float(scores_NA[row, column]),
                ranks[column],
                tuple(reasons[row, column]),
                made.get(row) if ranks[column] <= pictures else None,
            )
        )
    return tuple(suspects)
