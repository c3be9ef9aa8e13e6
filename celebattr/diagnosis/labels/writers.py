"""A `LabelReport` as CSV (suspects), JSON (all of it), a page (with pictures) or lines of text."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celebattr.constants import LIST_SEPARATOR
from celebattr.diagnosis.labels.report import LabelReport, Suspect
from celebattr.reports.formatting import between, percent

if TYPE_CHECKING:
    from celebattr.reports.page import Made

SCHEMA = 1
"""Of the JSON of a report."""
COLUMNS = ("image", "split", "attribute", "label", "probability", "score", "rank", "reasons")
"""Columns of the CSV of suspects; `rank` counts within an attribute."""


def row(suspect: Suspect) -> dict[str, Any]:
    """Return a suspect as the cells of `COLUMNS`: label 0 or 1, probabilities to six places."""
    return {
        "image": suspect.image,
        "split": suspect.split,
        "attribute": suspect.attribute,
        "label": int(suspect.label),
        "probability": round(suspect.probability, 6),
        "score": round(suspect.score, 6),
        "rank": suspect.rank,
        "reasons": LIST_SEPARATOR.join(suspect.reasons),
    }


def to_csv(report: LabelReport) -> str:
    """Return one line per suspect, most likely wrong first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(row, report.suspects))
    return text.getvalue()


def to_json(report: LabelReport) -> str:
    """Return the whole report, without pictures, as one JSON object; null is undefined."""
    values: dict[str, Any] = {"schema": SCHEMA, "data": report.data, "source": report.source}
    values |= {"images": report.images, "people": report.people}
    values["estimates"] = [dataclasses.asdict(one) for one in report.estimates]
    values |= {"contradictions": report.contradictions, "duplicates": report.duplicates}
    values["notes"] = list(report.notes)
    values["suspects"] = [row(one) | {"reasons": list(one.reasons)} for one in report.suspects]
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[LabelReport], str]] = {".csv": to_csv, ".json": to_json}
"""Writers by the suffix of the file."""


def headline(report: LabelReport) -> list[tuple[str, str]]:
    """Return the summary of the search, as pairs of name and text."""
    people = "" if report.people is None else f" of {report.people:,} people"
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
        worst = max(report.contradictions, key=lambda name: report.contradictions[name])
        pairs.append(
            ("contradictions", f"{count:,}, most often {worst} ({report.contradictions[worst]:,})")
        )
    if report.duplicates is not None:
        pairs.append(
            ("copies", f"{report.duplicates:,} times the same picture with different labels")
        )
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
    return (
        ["attribute", *rates, "suspects"],
        [[*cells, f"{counts[attribute]:,}"] for attribute, cells in rows.items()],
    )


def page(report: LabelReport, made: Made) -> str:
    """Return the page: figures, then the suspects that have a picture, by attribute.

    Args:
        report: what was found.
        made: when, with what and on what.
    """
    from celebattr.reports.page import render

    attributes = list(dict.fromkeys(one.attribute for one in report.estimates))
    suspects = {
        name: [one for one in report.suspects if one.attribute == name] for name in attributes
    }
    seen = {name: [one for one in of if one.jpeg is not None] for name, of in suspects.items()}
    return render(
        __package__,
        "labels.html",
        report=report,
        made=made,
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
