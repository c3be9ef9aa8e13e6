"""An `EvalReport` as JSON, CSV or Markdown; an undefined metric is null or an empty cell."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable
from typing import Any

from celebattr.attributes import suggestion
from celebattr.errors import UsageError
from celebattr.files import StrPath
from celebattr.reports.formats import format_of_suffix
from celebattr.results import SCHEMA, AttributeReport, EvalReport

COLUMNS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(AttributeReport))
"""Columns of the table of attributes, in order."""

MEANS: dict[str, str] = {
    "accuracy": "mean_attribute_accuracy",
    "majority_accuracy": "majority_accuracy",
    "balanced_accuracy": "mean_balanced_accuracy",
    "f1": "mean_f1",
    "average_precision": "mean_average_precision",
    "roc_auc": "mean_roc_auc",
    "expected_calibration_error": "mean_expected_calibration_error",
}
"""For a column, the field of `EvalReport` that holds its average over attributes."""

TITLES: dict[str, str] = {
    "attribute": "attribute",
    "positives": "positives",
    "accuracy": "accuracy",
    "majority_accuracy": "majority",
    "balanced_accuracy": "balanced",
    "f1": "F1",
    "average_precision": "AP",
    "roc_auc": "ROC AUC",
    "expected_calibration_error": "ECE",
}
"""Short column titles for people."""


def _defined(value: Any) -> Any:
    """Numbers to six places; None for what is undefined, NaN included: JSON has no NaN."""
    if not isinstance(value, float):
        return value
    return round(value, 6) if math.isfinite(value) else None


def percent(value: float | None) -> str:
    """A share as percent to two places, without the sign; empty when undefined."""
    return "" if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def headline(report: EvalReport) -> list[tuple[str, str]]:
    """The numbers of the whole split, as pairs of name and text."""
    floor = percent(report.majority_accuracy)
    pairs = [
        ("mean attribute accuracy", f"{percent(report.mean_attribute_accuracy)} % (floor {floor})"),
        ("mAP", _percent_or_none(report.mean_average_precision)),
        ("exact match ratio", _percent_or_none(report.exact_match_ratio)),
        ("images", f"{report.images:,} ({report.split})"),
    ]
    if report.images_per_second is not None:
        pairs.append(("images/s", f"{report.images_per_second:,.1f}"))
    return pairs


def _percent_or_none(value: float | None) -> str:
    return f"{percent(value)} %" if percent(value) else "undefined"


def to_json(report: EvalReport) -> str:
    """The whole report as one JSON object of schema 1."""
    values = dataclasses.asdict(report)
    rows = values.pop("attributes")
    plain: dict[str, Any] = {"schema": SCHEMA}
    plain.update({name: _defined(value) for name, value in values.items()})
    plain["attributes"] = [{name: _defined(value) for name, value in row.items()} for row in rows]
    return json.dumps(plain, indent=2, allow_nan=False) + "\n"


def to_csv(report: EvalReport) -> str:
    """One line an attribute, then the line `mean`. Exact match ratio and speed: see `to_json`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in report.attributes:
        values = dataclasses.asdict(row)
        writer.writerow({name: _defined(value) for name, value in values.items()})
    means = {column: _defined(getattr(report, field)) for column, field in MEANS.items()}
    writer.writerow({"attribute": "mean", **means})
    return text.getvalue()


def to_markdown(report: EvalReport) -> str:
    """A summary and a table in percent, as a README shows it."""
    lines = [f"- {name}: {value}" for name, value in headline(report)]
    lines.insert(0, f"- weights: {_cell(report.weights)}")
    titles = [TITLES[name] for name in COLUMNS]
    lines += ["", f"| {' | '.join(titles)} |", "| --- |" + " ---: |" * (len(titles) - 1)]
    for row in report.attributes:
        cells = [_cell(row.attribute), str(row.positives)]
        cells += [percent(getattr(row, name)) for name in MEANS]
        lines.append(f"| {' | '.join(cells)} |")
    means = [f"**{text}**" if (text := percent(getattr(report, f))) else "" for f in MEANS.values()]
    lines.append(f"| **mean** |  | {' | '.join(means)} |")
    lines += ["", "All but the counts in percent; empty where a metric is undefined."]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


FORMATS: dict[str, Callable[[EvalReport], str]] = {
    "json": to_json,
    "csv": to_csv,
    "markdown": to_markdown,
}
SUFFIXES: dict[str, str] = {".json": "json", ".csv": "csv", ".md": "markdown"}


def format_of(path: StrPath) -> str:
    """The name of the format that the suffix of a report file stands for.

    Raises:
        UsageError: the suffix is missing or unknown.
    """
    return format_of_suffix(path, SUFFIXES)


def render(report: EvalReport, format: str) -> str:
    """The report as text in one of `FORMATS`.

    Raises:
        UsageError: no such format.
    """
    if format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}.{suggestion(format, FORMATS)} Known: {', '.join(FORMATS)}"
        )
    return FORMATS[format](report)
