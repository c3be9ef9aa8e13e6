"""Search for wrong labels: by a network, by the other labels, and by copies of a picture."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import Rule, rules_of
from celebattr.constants import SPLITS, Progress
from celebattr.data import duplicates
from celebattr.data.dataset import FaceDataset
from celebattr.data.faces import find_faces, usable
from celebattr.data.layouts.load import load_dataset
from celebattr.data.soft_labels import read_probabilities
from celebattr.diagnosis.config import DoctorConfig
from celebattr.diagnosis.labels import confident
from celebattr.diagnosis.labels import report as reports
from celebattr.diagnosis.labels.report import LabelEstimate, LabelReport, Suspect
from celebattr.diagnosis.pictures import spread
from celebattr.diagnosis.rows import SPLIT_NAMES
from celebattr.errors import DataError
from celebattr.evaluation.bootstrap import Interval, Resamples, Samples, interval
from celebattr.evaluation.examples import thumbnail
from celebattr.evaluation.predict_split import probabilities
from celebattr.models.backends import Backend, open_backend

NETWORK = "the network"
"""The reason of a suspect by its probability alone."""

_HARD = (
    "What the network cannot see counts as a wrong label: for attributes that are hard to predict "
    "the error rate is too high."
)
_BY_HEART = (
    "A network learns the wrong labels of its own training images by heart: if the train images "
    "here are among them, it finds fewer of theirs, and their error rates are too low. For these, "
    "give --probabilities of networks that did not see them, which train --folds writes."
)


Reasons = dict[tuple[int, int], list[str]]
"""Why labels are suspected, by row and column."""


@dataclass(frozen=True)
class Evidence:
    """Labelled images and a network's probabilities for them.

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
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def labels_NA(self) -> NDArray[np.bool_]:
        """The labels of `attributes`, bool [N, A]; False where unknown."""
        return self.images.targets_of(self.attributes) >= 0.5


def search(config: DoctorConfig, on_progress: Progress = lambda done, total: None) -> LabelReport:
    """Find the labels that are likely wrong in some data sets; write `output` and `report`.

    Args:
        config: which, by what, and the files to write.
        on_progress: called after each batch that is scored.

    Raises:
        UsageError: `output` has neither of the suffixes .csv and .json.
        DataError: the data or the probabilities cannot be read, or a file cannot be written.
        WeightsError, DeviceError: see `open_backend`.
        MissingExtraError: a page needs Jinja2.
    """
    reports.check(config)
    dataset = load_dataset(
        config.data,
        skip_missing=True,
        allow_outside=config.allow_outside,
        column=config.column,
        attributes=config.attributes,
    )
    dataset, _ = find_faces(dataset, config.faces, workers=config.workers)
    images = choose(dataset, config.split, config.limit)
    (images,), _ = usable((images,), skip_unreadable=False, workers=config.workers)
    if config.probabilities is not None:
        evidence = from_file(config.probabilities, images)
    else:
        evidence = from_bundle(
            open_backend(config.weights, device=config.device),
            images,
            batch_size=config.batch_size,
            workers=config.workers,
            on_progress=on_progress,
        )
    images = evidence.images
    report = find(
        evidence,
        rules=rules_of(evidence.attributes),
        copies=duplicates.copies(images, workers=config.workers).tolist(),
        picture=(lambda row: thumbnail(images.read(row))) if config.report else None,
        pictures=config.pictures,
    )
    reports.write(report, config)
    return report


def choose(dataset: FaceDataset, split: str, limit: int | None) -> FaceDataset:
    """Return the images of a split, or of `all`: at most `limit` of each, evenly spread.

    Raises:
        DataError: there are none.
    """
    names = list(SPLITS) if split == "all" else [split]
    each = [np.flatnonzero(dataset.splits_N == SPLITS[name]) for name in names]
    rows_N = np.concatenate([rows[spread(len(rows), limit)] for rows in each])
    if len(rows_N) == 0:
        raise DataError(f"no {split} images: {dataset.describe()}")
    return dataset.take(rows_N)


def from_bundle(
    backend: Backend,
    images: FaceDataset,
    *,
    batch_size: int | None,
    workers: int,
    on_progress: Progress = lambda done, total: None,
) -> Evidence:
    """Score images with a bundle, on the attributes that both know.

    Raises:
        DataError: an image cannot be read, or they have no attribute in common.
    """
    card = backend.card
    shared = [name for name in card.attributes if name in images.attributes]
    if not shared:
        raise DataError(f"the data has labels for none of the attributes of {backend.path.name}")
    columns = [card.attributes.index(name) for name in shared]
    p_VNA = probabilities(
        [backend], images, batch_size=batch_size, workers=workers, on_progress=on_progress
    )[0]
    trained = card.trained_on.get("data") or "images that its card does not name"
    notes = [f"{backend.path.name} was trained on: {trained}.", _HARD]
    if (images.splits_N == SPLITS["train"]).any():
        notes.insert(1, _BY_HEART)
    return Evidence(images, tuple(shared), p_VNA[0][:, columns], backend.path.name, tuple(notes))


def from_file(path: Path, images: FaceDataset) -> Evidence:
    """Read the probabilities of a CSV written by `celebattr predict --format csv`.

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
        count = f"{len(rows_n):,} of {len(images):,}"
        notes.insert(0, f"{path.name} names {count} images: only they were looked at.")
    images = images.take(rows_n[order])
    return Evidence(images, images.attributes, p_nA[order], path.name, tuple(notes))


def find(
    evidence: Evidence,
    *,
    rules: Sequence[Rule] = (),
    copies: Sequence[Sequence[int]] | None = None,
    picture: Callable[[int], bytes] | None = None,
    pictures: int = 0,
) -> LabelReport:
    """Find the labels that are likely wrong, and estimate their number.

    Each split is judged by itself, since a network is surer of images that it was trained on.

    Args:
        evidence: labels and probabilities.
        rules: what labels of one image should not say together.
        copies: pairs of rows that show nearly the same picture, or None if not looked for.
        picture: a small JPEG of a row.
        pictures: how many of the first suspects of each attribute get one.
    """
    images, p_NA, labels_NA = evidence.images, evidence.probabilities_NA, evidence.labels_NA
    reasons: Reasons = defaultdict(list)
    known_NA = ~np.isnan(images.targets_of(evidence.attributes))
    found_NA = np.zeros_like(known_NA)
    rows_of = {name: np.flatnonzero(images.splits_N == value) for name, value in SPLITS.items()}
    rows_of = {name: rows_n for name, rows_n in rows_of.items() if len(rows_n)}
    for rows_n in rows_of.values():
        suspected_nA = confident.suspected(p_NA[rows_n], labels_NA[rows_n])
        found_NA[rows_n] = suspected_nA & known_NA[rows_n]
    for row, column in np.argwhere(found_NA).tolist():
        reasons[row, column].append(NETWORK)
    scores_NA = confident.scores(p_NA, labels_NA)
    contradictions = _contradictions(evidence, scores_NA, rules, reasons)
    copies_that_differ = None if copies is None else _copies(evidence, copies, reasons)
    reasons = {at: why for at, why in reasons.items() if known_NA[at]}
    for at in reasons:
        found_NA[at] = True
    people = images.identities_N
    return LabelReport(
        data=images.summary,
        source=evidence.source,
        images={name: len(rows_n) for name, rows_n in rows_of.items()},
        people=None if people is None else len(np.unique(people)),
        estimates=tuple(
            _estimate(evidence, column, name, rows_n[known_NA[rows_n, column]], found_NA)
            for column in range(len(evidence.attributes))
            for name, rows_n in rows_of.items()
            if known_NA[rows_n, column].any()
        ),
        contradictions=contradictions,
        duplicates=copies_that_differ,
        notes=evidence.notes,
        suspects=_ranked(evidence, scores_NA, reasons, picture, pictures),
    )


def _estimate(
    evidence: Evidence, column: int, split: str, rows_n: NDArray[Any], found_NA: NDArray[np.bool_]
) -> LabelEstimate:
    """Return the error rates of an attribute on the rows of a split that have its label."""
    people_N, labels_n = evidence.images.identities_N, evidence.labels_NA[rows_n, column]
    resamples = Resamples.draw(len(rows_n), None if people_N is None else people_N[rows_n])
    whole = confident.once(len(rows_n))
    p_n = evidence.probabilities_NA[rows_n, column]
    absent, present = (float(one[0]) for one in confident.error_rates(p_n, labels_n, whole))
    absent_R, present_R = confident.error_rates(p_n, labels_n, resamples)
    known = math.isfinite(absent)
    return LabelEstimate(
        evidence.attributes[column],
        split,
        len(rows_n),
        int(labels_n.sum()),
        error_rate=absent + present if known else None,
        interval=_interval(absent_R + present_R, resamples, absent + present),
        wrongly_absent=absent if known else None,
        wrongly_present=present if known else None,
        suspects=int(found_NA[rows_n, column].sum()),
    )


def _interval(rates_R: Samples, resamples: Resamples, rate: float) -> Interval | None:
    """Return the 95 % interval of an error rate; None where it is undefined.

    Where nothing was found every resample is 0 too; then it goes up to 3 divided by the people.

    Source: Hanley, Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", JAMA 249, 1983.
    """
    found = interval(rates_R)
    if found is None or not math.isfinite(rate):
        return None
    if rate > 0.0:
        return found
    return 0.0, max(found[1], min(3.0 / resamples.times_RG.shape[1], 1.0))


def _contradictions(
    evidence: Evidence, scores_NA: NDArray[np.float64], rules: Sequence[Rule], reasons: Reasons
) -> dict[str, int]:
    """Count images that break each rule, and suspect the likelier wrong label."""
    labels_NA, names = evidence.labels_NA, evidence.attributes
    broken: dict[str, int] = {}
    for rule in rules:
        if rule.first not in names or rule.second not in names:
            continue
        a, b = names.index(rule.first), names.index(rule.second)
        rows = np.flatnonzero(labels_NA[:, a] & (labels_NA[:, b] == rule.second_present))
        if len(rows):
            broken[rule.name] = len(rows)
        for row in rows.tolist():
            wrong, other = (a, b) if scores_NA[row, a] > scores_NA[row, b] else (b, a)
            said = names[other] if labels_NA[row, other] else f"no {names[other]}"
            reasons[row, wrong].append(f"contradicts {said}")
    return broken


def _copies(evidence: Evidence, copies: Sequence[Sequence[int]], reasons: Reasons) -> int:
    """Count pairs whose labels differ, and suspect labels that the pair's mean contradicts."""
    labels_NA, names = evidence.labels_NA, evidence.images.names
    differing = 0
    for pair in copies:
        rows = np.array(pair)
        shares_A = labels_NA[rows].mean(axis=0)
        columns = np.flatnonzero((shares_A > 0.0) & (shares_A < 1.0))
        differing += len(columns) > 0
        for column in columns.tolist():
            likely = evidence.probabilities_NA[rows, column].mean() >= 0.5
            other = next(row for row in pair if labels_NA[row, column] == likely)
            for row in pair:
                if labels_NA[row, column] != likely:
                    reasons[row, column].append(f"labelled otherwise in its copy {names[other]}")
    return differing


def _ranked(
    evidence: Evidence,
    scores_NA: NDArray[np.float64],
    reasons: Reasons,
    picture: Callable[[int], bytes] | None,
    pictures: int,
) -> tuple[Suspect, ...]:
    """Return the suspects, most likely wrong first; equal ones in the order of the data."""
    images, labels_NA = evidence.images, evidence.labels_NA
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
                SPLIT_NAMES[images.splits_N[row]],
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
