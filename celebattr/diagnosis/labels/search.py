"""Search for wrong labels: by a network, by the other labels, and by copies of a picture."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import Rule, rules_of
from celebattr.constants import SPLITS
from celebattr.data.layouts.load import load_dataset
from celebattr.diagnosis.config import DoctorConfig
from celebattr.diagnosis.labels import confident, writers
from celebattr.diagnosis.labels import evidence as label_evidence
from celebattr.diagnosis.labels.evidence import Evidence, Progress
from celebattr.diagnosis.labels.report import LabelEstimate, LabelReport, Suspect
from celebattr.evaluation.bootstrap import Interval, Resamples, Samples, interval
from celebattr.evaluation.examples import thumbnail
from celebattr.models.backends import open_backend

NETWORK = "the network"
"""The reason of a suspect by its probability alone."""


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
    writers.check(config)
    dataset = load_dataset(config.data, skip_missing=True)
    images = label_evidence.choose(dataset, config.split, config.limit)
    if config.probabilities is not None:
        evidence = label_evidence.from_file(config.probabilities, images)
    else:
        evidence = label_evidence.from_bundle(
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
        copies=label_evidence.copies(images, workers=config.workers).tolist(),
        picture=(lambda row: thumbnail(images.read(row))) if config.report else None,
        pictures=config.pictures,
    )
    writers.write(report, config)
    return report


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
    """Return the error rates of the attributes in one split."""
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
                interval=_interval(absent_R + present_R, resamples, absent + present),
                wrongly_absent=absent if known else None,
                wrongly_present=present if known else None,
                suspects=int(found_NA[rows_n, column].sum()),
            )
        )
    return made


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
    evidence: Evidence,
    scores_NA: NDArray[np.float64],
    rules: Sequence[Rule],
    reasons: dict[tuple[int, int], list[str]],
) -> dict[str, int]:
    """Count images that break each rule, and suspect the likelier wrong label."""
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
    reasons: dict[tuple[int, int], list[str]],
    picture: Callable[[int], bytes] | None,
    pictures: int,
) -> tuple[Suspect, ...]:
    """Return the suspects, most likely wrong first; equal ones in the order of the data."""
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
