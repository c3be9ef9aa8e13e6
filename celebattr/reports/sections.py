"""Tables under the main one of an evaluation: contradictions, spoiled images, published figures.

The same rows serve the terminal and Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass

from celebattr.reports.evaluation import between, percent
from celebattr.results import EvalReport

_RULES = 5
"""Contradictions that a short section names."""


@dataclass(frozen=True)
class Section:
    """A table with a line of text under it.

    Attributes:
        titles: of the columns; the first holds names, the others figures.
        rows: of as many cells as there are titles.
        note: what the figures mean.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str

    def markdown(self) -> list[str]:
        """The lines of the section, with an empty one before it."""
        lines = [
            "",
            f"| {' | '.join(self.titles)} |",
            "| --- |" + " ---: |" * (len(self.titles) - 1),
        ]
        for row in self.rows:
            lines.append(f"| {' | '.join(row)} |")
        return [*lines, "", self.note]


def sections(report: EvalReport, *, short: bool = False) -> list[Section]:
    """The sections that a report has something for; a short one fits a terminal."""
    made = [_logic(report, short), _corruptions(report), _published(report, short)]
    return [section for section in made if section is not None]


def signed(value: float, interval: tuple[float, float] | None) -> str:
    """A difference of shares in percentage points, with its sign, and its 95 % interval."""
    ends = "" if interval is None else f" [{_points(interval[0])}, {_points(interval[1])}]"
    return _points(value) + ends


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _logic(report: EvalReport, short: bool) -> Section | None:
    logic = report.logic
    if logic is None:
        return None
    rules = sorted(logic.rules, key=lambda rule: -rule.predicted)
    if short:
        rules = [rule for rule in rules if rule.predicted][:_RULES]
    rows = [(rule.rule, percent(rule.predicted), percent(rule.labelled)) for rule in rules]
    rows.append(("any contradiction", percent(logic.predicted), percent(logic.labelled)))
    difference = signed(logic.difference, logic.interval)
    note = (
        "Share of the images. The most probable answers without contradictions (--consistent) have "
        f"a mean attribute accuracy of {percent(logic.consistent_accuracy)} %, {difference} points."
    )
    if report.consistent:
        note += (
            " The other figures of this report are theirs; the contradictions are those of each "
            "attribute decided by itself."
        )
    return Section(("contradiction", "decisions", "labels"), tuple(rows), note)


def _corruptions(report: EvalReport) -> Section | None:
    if not report.corruptions:
        return None
    clean = ("as they are", percent(report.mean_attribute_accuracy))
    rows = [(*clean, percent(report.mean_average_precision) or "-", "")]
    for one in report.corruptions:
        difference = signed(one.difference, one.interval)
        mean_ap = percent(one.mean_average_precision) or "-"
        name = f"{one.corruption}, {one.level}"
        rows.append((name, percent(one.mean_attribute_accuracy), mean_ap, difference))
    return Section(
        ("images", "accuracy", "mAP", "difference"),
        tuple(rows),
        "Every image spoiled; difference of the mean attribute accuracy to the images as they are, "
        "in percentage points with its 95 % interval, images paired.",
    )


def _published(report: EvalReport, short: bool) -> Section | None:
    if not report.published:
        return None
    ours = report.mean_attribute_accuracy
    interval = between(report.intervals.get("mean_attribute_accuracy"))
    measured = f"{report.images:,} images ({report.split})"
    rows = [("this bundle", "", percent(ours) + interval, measured, "")]
    for one in sorted(report.published, key=lambda one: -one.mean_attribute_accuracy):
        accuracy = percent(one.mean_attribute_accuracy)
        rows.append((one.method, str(one.year or "-"), accuracy, one.source, one.note))
    titles: tuple[str, ...] = ("method", "year", "accuracy", "source", "note")
    if short:
        titles = titles[:3]
    return Section(
        titles,
        tuple(row[: len(titles)] for row in rows),
        "Published figures are of CelebA's whole official test split, 19,962 images, after "
        "training on 162,770: data and protocol differ from ours. They say where we are, not who "
        "wins.",
    )
