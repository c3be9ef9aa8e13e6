"""Results of a search for wrong labels, and their forms.

CSV holds the suspects, JSON all of it, the page pictures, and the terminal lines of text.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celebattr.constants import LIST_SEPARATOR, REPORT_SCHEMA
from celebattr.diagnosis.config import DoctorConfig
from celebattr.errors import counted, needs
from celebattr.io.files import check_target, csv_line, write_text
from celebattr.options import format_of_suffix
from celebattr.reports.formatting import Made, between, made, percent


@dataclass(frozen=True)
class Suspect:
    """A label that is likely wrong.

    Attributes:
        image: its name, as in the lists.
        split: train, validation or test.
        label: whether the list says that the attribute is present.
        probability: that it is, by the network.
        score: the probability of the other value: the higher, the likelier the label is wrong.
        rank: among the suspects of its attribute, from 1.
        reasons: why it is suspected, for a person, for instance "the network" or
            "contradicts No_Beard".
        jpeg: a small picture, for the first of each attribute if a page is written.
    """

    image: str
    split: str
    attribute: str
    label: bool
    probability: float
    score: float
    rank: int
    reasons: tuple[str, ...]
    jpeg: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class LabelEstimate:
    """Estimated label errors of an attribute in a split, by confident learning.

    Attributes:
        images, positives: of the split.
        error_rate: estimated share of wrong labels, with its 95 % `interval` over people; None
            where all labels are alike.
        wrongly_absent, wrongly_present: the same share by what the label says.
        suspects: labels that are named.
    """

    attribute: str
    split: str
    images: int
    positives: int
    error_rate: float | None
    interval: tuple[float, float] | None
    wrongly_absent: float | None
    wrongly_present: float | None
    suspects: int


@dataclass(frozen=True)
class LabelReport:
    """The labels of a data set that are likely wrong.

    Attributes:
        data: the data set, for a person.
        source: where the probabilities come from: name of a bundle or of a file.
        images: how many were looked at, by split.
        people: how many different people they show, or None where that is not known.
        estimates: one per attribute and split, attributes in the order of the data.
        contradictions: how many images break each rule, by the rule's name.
        duplicates: pairs of nearly equal pictures whose labels differ; None if not looked for.
        notes: what to know before believing it, sentences.
        suspects: by attribute, most likely wrong first.
    """

    data: str
    source: str
    images: dict[str, int]
    people: int | None
    estimates: tuple[LabelEstimate, ...]
    contradictions: dict[str, int]
    duplicates: int | None
    notes: tuple[str, ...]
    suspects: tuple[Suspect, ...]


COLUMNS = ("image", "split", "attribute", "label", "probability", "score", "rank", "reasons")
"""Columns of the CSV of suspects; `rank` counts within an attribute."""


def row(suspect: Suspect) -> dict[str, Any]:
    """Return a suspect as the cells of `COLUMNS`: label 0 or 1, probabilities to six places."""
    return {name: getattr(suspect, name) for name in COLUMNS} | {
        "label": int(suspect.label),
        "probability": round(suspect.probability, 6),
        "score": round(suspect.score, 6),
        "reasons": LIST_SEPARATOR.join(suspect.reasons),
    }


def to_csv(report: LabelReport) -> str:
    """Return one line per suspect, most likely wrong first."""
    rows = (row(suspect) for suspect in report.suspects)
    return "".join(map(csv_line, [COLUMNS, *([one[name] for name in COLUMNS] for one in rows)]))


def to_json(report: LabelReport) -> str:
    """Return the whole report, without pictures, as one JSON object; null is undefined."""
    plain = dataclasses.replace(report, suspects=())
    values: dict[str, Any] = {"schema": REPORT_SCHEMA, **dataclasses.asdict(plain)}
    values["suspects"] = [row(one) | {"reasons": list(one.reasons)} for one in report.suspects]
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[LabelReport], str]] = {".csv": to_csv, ".json": to_json}
"""Writers by the suffix of the file."""


def check(config: DoctorConfig) -> None:
    """Refuse before any work the files that `write` could not write.

    Raises:
        UsageError: `output` has no suffix of `FORMATS`.
        DataError: a file's folder is missing or takes no files, or the file exists.
        MissingExtraError: a page needs Jinja2.
    """
    check_target(config.output, config.report, overwrite=config.overwrite)
    if config.output is not None:
        format_of_suffix(config.output, {suffix: suffix for suffix in FORMATS})
    if config.report is not None:
        with needs("train"):
            import celebattr.reports.page  # noqa: F401


def write(report: LabelReport, config: DoctorConfig) -> None:
    """Write the suspects and the page where they are asked for; `check` comes before."""
    if config.output is not None:
        write_text(config.output, FORMATS[config.output.suffix.lower()](report))
    if config.report is not None:
        write_text(config.report, page(report, made(report.data)))


def headline(report: LabelReport) -> list[tuple[str, str]]:
    """Return the summary of the search, as pairs of name and text."""
    people = "" if report.people is None else f" of {counted(report.people, 'person', 'people')}"
    images = ", ".join(f"{count:,} {split}" for split, count in report.images.items())
    labels = sum(one.images for one in report.estimates)
    share = percent(len(report.suspects) / labels)
    pairs = [
        ("data", report.data),
        ("probabilities", report.source),
        ("images", f"{images}{people}"),
        ("suspects", f"{len(report.suspects):,} of {labels:,} labels ({share} %)"),
    ]
    if report.contradictions:
        count = sum(report.contradictions.values())
        worst, most = max(report.contradictions.items(), key=lambda pair: pair[1])
        pairs.append(("contradictions", f"{count:,}, most often {worst} ({most:,})"))
    if report.duplicates is not None:
        text = f"{report.duplicates:,} times the same picture with different labels"
        pairs.append(("copies", text))
    return pairs


def table(report: LabelReport, *, intervals: bool = True) -> tuple[list[str], list[list[str]]]:
    """Return titles, and a row per attribute: error rate per split, number of suspects."""
    splits = list(report.images)
    rates = splits if len(splits) > 1 else ["error rate"]
    rows: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for one in report.estimates:
        cell = (percent(one.error_rate) or "-") + (between(one.interval) if intervals else "")
        rows.setdefault(one.attribute, [one.attribute]).append(cell)
        counts[one.attribute] += one.suspects
    cells = [[*row, f"{counts[attribute]:,}"] for attribute, row in rows.items()]
    return ["attribute", *rates, "suspects"], cells


def page(report: LabelReport, origin: Made) -> str:
    """Return the page: figures, then the suspects that have a picture, by attribute."""
    from celebattr.reports.page import render

    suspects: dict[str, list[Suspect]] = {one.attribute: [] for one in report.estimates}
    for suspect in report.suspects:
        suspects[suspect.attribute].append(suspect)
    seen = {name: [one for one in of if one.jpeg is not None] for name, of in suspects.items()}
    return render(
        __package__,
        "labels.html",
        report=report,
        made=origin,
        headline=headline(report),
        table=table(report),
        seen={name: of for name, of in seen.items() if of},
        counts={name: len(of) for name, of in suspects.items()},
        chance=_chance,
    )


def _chance(probability: float) -> str:
    """Return a probability as whole percent, never a full 0 or 100."""
    if not 0.005 <= probability < 0.995:
        return "over 99\N{NO-BREAK SPACE}%" if probability > 0.5 else "under 1\N{NO-BREAK SPACE}%"
    return f"{100 * probability:.0f}\N{NO-BREAK SPACE}%"
