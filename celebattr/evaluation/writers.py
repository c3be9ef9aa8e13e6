"""An `EvalReport` as JSON, CSV or Markdown; an undefined metric is null or an empty cell."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

from celebattr.constants import REPORT_SCHEMA
from celebattr.errors import UsageError, counted, suggestion
from celebattr.evaluation.report import (
    MEANS,
    Difference,
    EvalReport,
    GapReport,
)
from celebattr.evaluation.tables import TITLES, Part, counts, parts
from celebattr.io.files import StrPath, csv_line
from celebattr.options import format_of_suffix
from celebattr.reports.formatting import between, percent

BOUNDS: tuple[str, ...] = tuple(f"{name}_{end}" for name in MEANS for end in ("low", "high"))
"""Further columns of a CSV: both ends of each metric's 95 % interval."""


def _defined(value: Any) -> Any:
    """Round numbers to six places; NaN and undefined become None, since JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _defined(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_defined(inner) for inner in value]
    if not isinstance(value, float):
        return value
    return round(value, 6) if math.isfinite(value) else None


def headline(report: EvalReport) -> list[tuple[str, str]]:
    """Return the metrics of the whole split, as pairs of name and text."""
    pairs = [
        (
            TITLES[name],
            _percent_or_none(getattr(report, name)) + between(report.intervals.get(name)),
        )
        for name in _HEADLINE
    ]
    baseline = f", majority baseline {percent(report.majority_accuracy)}"
    pairs[0] = (pairs[0][0], pairs[0][1] + baseline)
    if report.accuracy_where_unsure is not None:
        pairs.append(
            (
                "unsure",
                f"{percent(report.unsure_share)} % of the decisions, right in "
                f"{percent(report.accuracy_where_unsure)} %, the others in "
                f"{_percent_or_none(report.accuracy_where_sure)}",
            )
        )
    people = "" if report.people is None else f" of {counted(report.people, 'person', 'people')}"
    pairs.append(("images", f"{report.images:,}{people} ({report.split})"))
    if report.images_per_second is not None:
        pairs.append(("images/s", f"{report.images_per_second:,.1f}"))
    return pairs


def _percent_or_none(value: float | None) -> str:
    return f"{percent(value)} %" if percent(value) else "undefined"


_HEADLINE = (
    "mean_attribute_accuracy",
    "mean_average_precision",
    "mean_balanced_accuracy",
    "mean_f1",
    "mean_expected_calibration_error",
    "exact_match_ratio",
)


def to_json(report: EvalReport) -> str:
    """Return the whole report as one JSON object of schema 1."""
    values = dataclasses.asdict(report)
    rows = values.pop("attributes")
    del values["examples"]  # pictures: for the HTML report
    plain = {"schema": REPORT_SCHEMA, **_defined(values)}
    plain["worst_slice"] = None if report.worst_slice is None else report.worst_slice.name
    plain["attributes"] = _defined(rows)
    return json.dumps(plain, indent=2, allow_nan=False) + "\n"


def to_csv(report: EvalReport) -> str:
    """Return one line per attribute, then the line `mean`; some metrics are only in JSON.

    `images`, how many labels are known, is there where some are not. Exact match ratio and speed:
    see `to_json`. With columns for the differences to another bundle, and for the gaps between
    slices, where there are any.
    """
    gaps = {one.attribute: _gap(one) for one in report.gaps}
    against: dict[str | None, dict[str, Any]] = {}
    for one in report.against.differences if report.against is not None else ():
        against.setdefault(one.attribute, {}).update(_difference(one))
    # Some attributes have no gap or no counterpart: the columns are those that any has.
    extra = dict.fromkeys(name for rows in (against, gaps) for row in rows.values() for name in row)
    own = ("attribute", *counts(report), *MEANS)
    columns = [*own, *BOUNDS, *extra]
    rows: list[dict[str, Any]] = []
    for row in report.attributes:
        values = {name: _defined(getattr(row, name)) for name in own}
        values |= _bounds({name: row.intervals.get(name) for name in MEANS})
        rows.append(values | against.get(row.attribute, {}) | gaps.get(row.attribute, {}))
    means = {column: _defined(getattr(report, field)) for column, field in MEANS.items()}
    ends = _bounds({column: report.intervals.get(field) for column, field in MEANS.items()})
    rows.append({"attribute": "mean", **means, **ends, **against.get(None, {})})
    lines = ([row.get(name, "") for name in columns] for row in rows)
    return "".join(map(csv_line, [columns, *lines]))


def _difference(one: Difference) -> dict[str, Any]:
    """Return a difference as cells of a CSV; none for the exact match ratio."""
    column = {field: column for column, field in MEANS.items()}.get(one.metric, one.metric)
    if column not in MEANS:
        return {}
    cells = {f"{column}_against": one.theirs, f"{column}_difference": one.difference}
    return {**_defined(cells), **_bounds({f"{column}_difference": one.interval})}


def _gap(one: GapReport) -> dict[str, Any]:
    """Return a gap as cells of a CSV."""
    cells = {"recall_best": one.best, "recall_worst": one.worst, "recall_gap": one.gap}
    ends = _bounds({"recall_gap": one.interval})
    return {**_defined(cells), **ends, "recall_gap_few": one.few}


def _bounds(intervals: dict[str, tuple[float, float] | None]) -> dict[str, Any]:
    """Return intervals by metric as the cells of `BOUNDS`."""
    return {
        f"{name}_{end}": _defined(value)
        for name, found in intervals.items()
        if found is not None
        for end, value in zip(("low", "high"), found, strict=True)
    }


def to_markdown(report: EvalReport) -> str:
    """Return a summary and a table in percent, as a README shows it."""
    lines = [f"- {name}: {value}" for name, value in headline(report)]
    lines.insert(0, f"- weights: {_cell(report.weights)}")
    titles = [TITLES[name] for name in ("attribute", *counts(report), *MEANS)]
    lines += ["", f"| {' | '.join(titles)} |", "| --- |" + " ---: |" * (len(titles) - 1)]
    for row in report.attributes:
        cells = [_cell(row.attribute), *(str(getattr(row, name)) for name in counts(report))]
        cells += [percent(getattr(row, name)) for name in MEANS]
        lines.append(f"| {' | '.join(cells)} |")
    means = [f"**{text}**" if (text := percent(getattr(report, f))) else "" for f in MEANS.values()]
    lines.append(f"| **mean** |{'  |' * len(counts(report))} {' | '.join(means)} |")
    for part in parts(report):
        lines += _part(part)
    lines += [
        "",
        "All but the counts in percent, 95 % intervals in brackets; empty where a metric is "
        "undefined.",
    ]
    return "\n".join(lines) + "\n"


def _part(part: Part) -> list[str]:
    rule = ["---"] * part.named + ["---:"] * (len(part.titles) - part.named)
    lines = ["", f"{_cell(part.heading)}:"] if part.heading else []
    lines += ["", f"| {' | '.join(part.titles)} |", f"| {' | '.join(rule)} |"]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in part.rows]
    return [*lines, *([""] if part.notes else []), *(f"- {_cell(note)}" for note in part.notes)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


FORMATS: dict[str, Callable[[EvalReport], str]] = {
    "json": to_json,
    "csv": to_csv,
    "markdown": to_markdown,
}
SUFFIXES: dict[str, str] = {".json": "json", ".csv": "csv", ".md": "markdown"}


def format_of(path: StrPath) -> str:
    """Return the name of the format that the suffix of a report file stands for.

    Raises:
        UsageError: the suffix is missing or unknown.
    """
    return format_of_suffix(path, SUFFIXES)


def render(report: EvalReport, format: str) -> str:
    """Return the report as text in one of `FORMATS`.

    Raises:
        UsageError: no such format.
    """
    if format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}.{suggestion(format, FORMATS)} Known: {', '.join(FORMATS)}"
        )
    return FORMATS[format](report)
