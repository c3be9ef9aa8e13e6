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
from celebattr.results import (
    MEANS,
    SCHEMA,
    AttributeReport,
    EvalReport,
    PointingReport,
    SliceReport,
)

COLUMNS: tuple[str, ...] = tuple(
    field.name
    for field in dataclasses.fields(AttributeReport)
    if field.name not in ("intervals", "curves")
)
"""Columns of the table of attributes, in order."""

BOUNDS: tuple[str, ...] = tuple(f"{name}_{end}" for name in MEANS for end in ("low", "high"))
"""Columns of a CSV after those: both ends of each metric's 95 % interval."""

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
    "brier_score": "Brier",
}
"""Short column titles for people."""


def _defined(value: Any) -> Any:
    """Numbers to six places; None for what is undefined, NaN included: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _defined(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_defined(inner) for inner in value]
    if not isinstance(value, float):
        return value
    return round(value, 6) if math.isfinite(value) else None


def percent(value: float | None) -> str:
    """A share as percent to two places, without the sign; empty when undefined."""
    return "" if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def headline(report: EvalReport) -> list[tuple[str, str]]:
    """The numbers of the whole split, as pairs of name and text."""
    pairs = [
        (title, _percent_or_none(getattr(report, name)) + between(report.intervals.get(name)))
        for title, name in _HEADLINE
    ]
    pairs[0] = (pairs[0][0], f"{pairs[0][1]}, floor {percent(report.majority_accuracy)}")
    if report.accuracy_where_unsure is not None:
        pairs.append(
            (
                "unsure",
                f"{percent(report.unsure_share)} % of the decisions, right in "
                f"{percent(report.accuracy_where_unsure)} %, the others in "
                f"{_percent_or_none(report.accuracy_where_sure)}",
            )
        )
    people = "" if report.people is None else f" of {report.people:,} people"
    pairs.append(("images", f"{report.images:,}{people} ({report.split})"))
    if report.images_per_second is not None:
        pairs.append(("images/s", f"{report.images_per_second:,.1f}"))
    return pairs


def between(interval: tuple[float, float] | None) -> str:
    """A 95 % interval in percent, in brackets after a space; empty when undefined."""
    return "" if interval is None else f" [{percent(interval[0])}, {percent(interval[1])}]"


def _percent_or_none(value: float | None) -> str:
    return f"{percent(value)} %" if percent(value) else "undefined"


_HEADLINE = (
    ("mean attribute accuracy", "mean_attribute_accuracy"),
    ("mAP", "mean_average_precision"),
    ("balanced accuracy", "mean_balanced_accuracy"),
    ("F1", "mean_f1"),
    ("calibration error", "mean_expected_calibration_error"),
    ("exact match ratio", "exact_match_ratio"),
)


def to_json(report: EvalReport) -> str:
    """The whole report as one JSON object of schema 1."""
    values = dataclasses.asdict(report)
    rows = values.pop("attributes")
    del values["examples"]  # pictures: for the HTML report
    plain: dict[str, Any] = {"schema": SCHEMA}
    plain.update({name: _defined(value) for name, value in values.items()})
    plain["attributes"] = [{name: _defined(value) for name, value in row.items()} for row in rows]
    return json.dumps(plain, indent=2, allow_nan=False) + "\n"


def to_csv(report: EvalReport) -> str:
    """One line an attribute, then the line `mean`. Exact match ratio and speed: see `to_json`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *BOUNDS], restval="", lineterminator="\n")
    writer.writeheader()
    for row in report.attributes:
        values = {name: _defined(getattr(row, name)) for name in COLUMNS}
        writer.writerow(values | _bounds({name: row.intervals.get(name) for name in MEANS}))
    means = {column: _defined(getattr(report, field)) for column, field in MEANS.items()}
    ends = _bounds({column: report.intervals.get(field) for column, field in MEANS.items()})
    writer.writerow({"attribute": "mean", **means, **ends})
    return text.getvalue()


def slice_cells(one: SliceReport) -> list[str]:
    """A slice as text: name, images, people, accuracy and mean AP with their intervals."""
    cells = [one.name, f"{one.images:,}", "-" if one.people is None else f"{one.people:,}"]
    for name in ("mean_attribute_accuracy", "mean_average_precision"):
        cells.append(percent(getattr(one, name)) + between(one.intervals.get(name)))
    return cells


POINTING: tuple[str, ...] = ("map of", "peaks in", "images", "share", "centre", "area")
"""Titles of the cells of `pointing_cells`."""


def pointing_cells(one: PointingReport) -> list[str]:
    """A line of the pointing test as text."""
    shares = (percent(one.inside) or "-", percent(one.centre), percent(one.area))
    return [one.attribute, one.region, f"{one.images:,}", *shares]


def _bounds(intervals: dict[str, tuple[float, float] | None]) -> dict[str, Any]:
    """Intervals by metric as the cells of `BOUNDS`."""
    return {
        f"{name}_{end}": _defined(value)
        for name, found in intervals.items()
        if found is not None
        for end, value in zip(("low", "high"), found, strict=True)
    }


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
    if report.slices:
        lines += ["", "| slice | images | people | accuracy | AP |", "| --- |" + " ---: |" * 4]
        for one in report.slices:
            lines.append(f"| {' | '.join(slice_cells(one))} |")
    if report.pointing:
        lines += ["", f"| {' | '.join(POINTING)} |", "| --- | --- |" + " ---: |" * 4]
        for point in report.pointing:
            lines.append(f"| {' | '.join(pointing_cells(point))} |")
    from celebattr.reports.sections import sections  # which takes its words for shares from here

    for section in sections(report):
        lines += section.markdown()
    lines += [
        "",
        "All but the counts in percent, 95 % intervals in brackets; empty where a metric is "
        "undefined.",
    ]
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
