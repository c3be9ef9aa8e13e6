"""`celebattr evaluate --report`: an evaluation as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from celebattr.attributes import SENSITIVE, SUBJECTIVE
from celebattr.evaluation import tables
from celebattr.evaluation.model_card import markdown
from celebattr.evaluation.report import (
    FEW,
    MEANS,
    AttributeReport,
    Difference,
    EvalReport,
    GapReport,
)
from celebattr.evaluation.tables import TITLES
from celebattr.reports import svg
from celebattr.reports.formatting import Made
from celebattr.reports.page import from_markdown, picture_rows, render
from celebattr.reports.svg import Dot, Line

_MOST = 20  # rows of a chart of differences: the largest


def page(report: EvalReport, card: Mapping[str, Any], made: Made) -> str:
    """Return the page of an evaluation; a part that was not asked for is left out.

    Args:
        report: the figures.
        card: of the bundle, as the plain values of its JSON.
        made: when, with what and on what.
    """
    return render(
        __package__,
        "evaluation.html",
        report=report,
        # Every run folder's is best.safetensors; the card has architecture and run.
        title=card["name"] if report.weights == "best.safetensors" else report.weights,
        card=from_markdown(markdown(card)),
        terms=card["trained_on"].get("terms", ""),
        made=made,
        charts=charts(report),
        chosen=chosen(report),
        examples=picture_rows(report.examples),
        gaps=gaps(report),
        differences=differences(report),
        difference_cells=tables.difference_cells,
        few=FEW,
        subjective=SUBJECTIVE,
        sensitive=SENSITIVE,
        titles=TITLES,
        tables={name: make(report, None) for name, make in tables.PARTS.items()},
        means=MEANS,
        counts=tables.counts(report),
    )


def charts(report: EvalReport) -> dict[str, Markup]:
    """Return the charts of the report's parts, by name."""
    rows = report.attributes
    found = {
        "accuracy": svg.dots(
            "accuracy",
            "Accuracy of each attribute",
            "Each attribute's accuracy with its 95 % interval, and the accuracy of always "
            "answering the more frequent value. The table below holds the same numbers.",
            [_dot(row, "accuracy", row.majority_accuracy) for row in rows],
            x="accuracy, %",
        ),
        "precision": svg.dots(
            "precision",
            "Average precision of each attribute",
            "Each attribute's average precision with its 95 % interval, and the share of images "
            "that show it. The table below holds the same numbers.",
            [
                _dot(row, "average_precision", row.positives / (row.images or report.images))
                for row in rows
            ],
            x="average precision, %",
        ),
    }
    found |= _curves(rows)
    if report.reliability:
        found["reliability"] = svg.lines(
            "reliability",
            "Reliability of all decisions together",
            "For decisions of similar probability, the share in which the attribute is there: "
            + "; ".join(
                f"{b.mean_probability:.2f} gives {b.share_present:.2f}" for b in report.reliability
            ),
            [_DIAGONAL, Line(_reliability(report.reliability), dots=True)],
            x="probability",
            y="share present",
            shares=True,
        )
    if gaps(report)[0]:
        found["gaps"] = svg.dots(
            "gaps",
            "Gap in recall between groups",
            "For each attribute the difference in recall between the group in which it is found "
            "best and the one in which it is found worst, with its 95 % interval.",
            [Dot(g.attribute, g.gap, g.interval) for g in gaps(report)[0][:_MOST]],
            x="gap, percentage points",
            zero=True,
        )
    if report.against is not None:
        found["against"] = svg.dots(
            "against",
            f"Differences to {report.against.weights}",
            "The difference of each figure, this bundle minus the other, with its 95 % interval.",
            [
                Dot(tables.difference_cells(d)[0], d.difference, d.interval)
                for d in differences(report)[0][:_MOST]
            ],
            x="difference, percentage points",
            zero=True,
        )
    if report.corruptions:
        found["corruptions"] = svg.dots(
            "corruptions",
            "Accuracy lost on corrupted images",
            "The difference in mean attribute accuracy to the images as they are, with its 95 % "
            "interval, for each corruption.",
            [
                Dot(f"{c.corruption}, {c.level}", c.difference, c.interval)
                for c in report.corruptions
            ],
            x="difference, percentage points",
            zero=True,
        )
    return found


def chosen(report: EvalReport) -> list[tuple[int, AttributeReport]]:
    """Return the attributes whose curves can be chosen, with their numbers in the charts."""
    return [(i, row) for i, row in enumerate(report.attributes) if row.curves is not None]


def gaps(report: EvalReport) -> tuple[list[GapReport], list[GapReport]]:
    """Return the gaps, largest first, and those that rest on few images."""
    ranked = sorted(report.gaps, key=lambda one: -one.gap)
    return [one for one in ranked if not one.few], [one for one in ranked if one.few]


def differences(report: EvalReport) -> tuple[list[Difference], list[Difference]]:
    """Return the means and significant differences, largest first, and the others."""
    if report.against is None:
        return [], []
    means, clear, noise = report.against.ranked
    return [*means, *clear], noise


_DIAGONAL = Line([(0.0, 0.0), (1.0, 1.0)], "reference")


def _curves(rows: Sequence[AttributeReport]) -> dict[str, Markup]:
    """Return four charts of the curves of every attribute; the page shows one at a time."""
    known = [(i, row.curves) for i, row in enumerate(rows) if row.curves is not None]
    if not known:
        return {}
    text = "The curve of the attribute that is chosen above; its caption holds the numbers."
    roc = [Line(c.roc, series=i) for i, c in known]
    precision = [Line(c.precision_recall, series=i) for i, c in known]
    reliable = [Line(_reliability(c.reliability), series=i, dots=True) for i, c in known]
    kinds = (("precision", "main"), ("recall", "second"), ("f1", "fourth"), ("accuracy", "third"))
    thresholds = [
        Line(
            [(t.threshold, getattr(t, name)) for t in c.thresholds], kind, TITLES.get(name, name), i
        )
        for name, kind in kinds
        for i, c in known
    ]
    drawn: tuple[tuple[str, str, list[Line], str, str], ...] = (
        ("roc", "ROC curve", [_DIAGONAL, *roc], "false positive rate", "true positive rate"),
        ("pr", "Precision and recall", precision, "recall", "precision"),
        ("reliable", "Reliability", [_DIAGONAL, *reliable], "probability", "share present"),
        ("thresholds", "Figures by threshold", thresholds, "threshold", "share"),
    )
    return {
        name: svg.lines(name, title, text, lines, x=x, y=y, shares=True)
        for name, title, lines, x, y in drawn
    }


def _dot(row: AttributeReport, metric: str, reference: float) -> Dot:
    return Dot(row.attribute, getattr(row, metric), row.intervals.get(metric), reference)


def _reliability(bins: Sequence[Any]) -> list[tuple[float, float | None]]:
    return [(b.mean_probability, b.share_present) for b in bins]
