"""A `LabelReport` as CSV (the suspects) or JSON (all of it), and its figures as text."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import Any

from celebattr.reports.evaluation import between, percent
from celebattr.reports.writers import LIST_SEPARATOR
from celebattr.results import SCHEMA
from celebattr.results.labels import LabelEstimate, LabelReport, Suspect

COLUMNS = ("image", "split", "attribute", "label", "probability", "score", "rank", "reasons")
"""Columns of the CSV of suspects; `rank` counts within an attribute."""


def row(suspect: Suspect) -> dict[str, Any]:
    """A suspect as the cells of `COLUMNS`: label 0 or 1, probabilities to six places."""
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
    """One line a suspect, most likely wrong first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(row, report.suspects))
    return text.getvalue()


def to_json(report: LabelReport) -> str:
    """The whole report, without pictures, as one JSON object of schema 1; null is undefined."""
    values: dict[str, Any] = {"schema": SCHEMA, "data": report.data, "source": report.source}
    values |= {"images": report.images, "people": report.people}
    values["estimates"] = [dataclasses.asdict(one) for one in report.estimates]
    values |= {"contradictions": report.contradictions, "duplicates": report.duplicates}
    values["notes"] = list(report.notes)
    values["suspects"] = [row(one) | {"reasons": list(one.reasons)} for one in report.suspects]
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def headline(report: LabelReport) -> list[tuple[str, str]]:
    """What was looked at and found, as pairs of name and text."""
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
        pairs.append(("copies", f"{report.duplicates:,} groups of near-duplicates labelled unlike"))
    return pairs


ESTIMATE = ("attribute", "split", "positives", "error rate", "of absent", "of present", "suspects")
"""Titles of the cells of `estimate_cells`; the rates in percent."""


def estimate_cells(one: LabelEstimate) -> list[str]:
    """An estimate as text; the error rate is of all labels, then of either value."""
    absent, present = one.images - one.positives, one.positives
    return [
        one.attribute,
        one.split,
        f"{one.positives:,}",
        (percent(one.error_rate) or "-") + between(one.interval),
        _share_of(one.wrongly_absent, one.images, absent),
        _share_of(one.wrongly_present, one.images, present),
        f"{one.suspects:,}",
    ]


def _share_of(share: float | None, images: int, labels: int) -> str:
    """A share of all labels as the share of those with one value."""
    return "-" if share is None or labels == 0 else percent(share * images / labels)
