"""The smaller tables of an evaluation, the same for a terminal and for Markdown.

A new one is a function and its place in `PARTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from celebattr.errors import counted
from celebattr.evaluation.report import (
    FEW,
    METRICS,
    CorruptionReport,
    Difference,
    EvalReport,
    GapReport,
    PointingReport,
    SliceReport,
)
from celebattr.reports.formatting import between, percent, points

TITLES: dict[str, str] = {
    **{mean: title for _, mean, _, title in METRICS},
    **{name: title for name, _, title, _ in METRICS},
    **{
        "attribute": "attribute",
        "images": "known",
        "positives": "positives",
        "exact_match_ratio": "exact match ratio",
    },
}
"""Short titles for people, of fields of `AttributeReport` and `EvalReport`."""

_LOW_IS_GOOD = ("mean_expected_calibration_error", "mean_brier_score")


def counts(report: EvalReport) -> tuple[str, ...]:
    """Return the counts of the table of attributes: `images` too where some labels are unknown."""
    partly = any(row.images not in (None, report.images) for row in report.attributes)
    return ("images", "positives") if partly else ("positives",)


@dataclass(frozen=True)
class Part:
    """One table.

    Attributes:
        titles: of its columns.
        rows: cells as text.
        named: how many columns at the left are names; the others are figures.
        heading: a line above it, or none.
        notes: lines below it.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    named: int = 1
    heading: str = ""
    notes: tuple[str, ...] = ()


def parts(report: EvalReport, most: int | None = None) -> list[Part]:
    """Return the tables of the computed parts, in their order.

    Args:
        report: what they are of.
        most: rows of a table that is sorted by size: the largest. All of them if None.
    """
    made = (make(report, most) for make in PARTS.values())
    return [part for part in made if part is not None]


def _slices(report: EvalReport, most: int | None) -> Part | None:
    """Return the table of all slices, with notes on the worst and on those too small."""
    if not report.slices:
        return None
    notes = []
    worst = report.worst_slice
    if worst is not None:
        accuracy = percent(worst.mean_attribute_accuracy)
        notes.append(f"lowest mean attribute accuracy: {worst.name}, {accuracy}")
    small = [f"{one.name} ({_count(one)})" for one in report.slices if 0 < _count(one) < FEW]
    if small:
        unit = "images" if report.people is None else "people"
        notes.append(f"warning: fewer than {FEW} {unit} say little: {'; '.join(small)}")
    titles = ("slice", "images", "people", "accuracy", "AP")
    return Part(titles, tuple(map(slice_cells, report.slices)), notes=tuple(notes))


def _count(one: SliceReport) -> int:
    return one.images if one.people is None else one.people


def slice_cells(one: SliceReport) -> tuple[str, ...]:
    """Return a slice as text: name, images, people, accuracy and mean AP with their intervals."""
    shares = (
        percent(getattr(one, name)) + between(one.intervals.get(name))
        for name in ("mean_attribute_accuracy", "mean_average_precision")
    )
    people = "-" if one.people is None else f"{one.people:,}"
    return (one.name, f"{one.images:,}", people, *shares)


def _gaps(report: EvalReport, most: int | None) -> Part | None:
    """Return the largest gaps in recall; those that rest on few images last, or left out."""
    if not report.gaps:
        return None
    ranked = sorted(report.gaps, key=lambda one: (one.few, -one.gap))
    solid = [one for one in ranked if not one.few]
    shown = ranked if most is None else (solid or ranked)[:most]
    notes = []
    if len(shown) < len(ranked):
        notes.append(f"the largest {len(shown)} of {len(ranked)} gaps")
    filled = sum(one.images > 0 for one in report.slices)
    if filled > 2:
        notes.append(f"the two extremes of {filled} slices lie somewhat apart by chance, too")
    few = len(ranked) - len(solid)
    if few:
        verb = "attribute is" if few == 1 else "attributes are"
        mark = "marked !" if any(one.few for one in shown) else "left out here"
        notes.append(
            f"warning: {few} {verb} shown by fewer than {FEW} images of one of the two slices, "
            f"{mark}: such a gap says little, and an interval of it less"
        )
    return Part(
        ("attribute", "lowest and highest recall", "gap", "positives"),
        tuple(map(gap_cells, shown)),
        named=2,
        heading="recall by slice",
        notes=tuple(notes),
    )


def gap_cells(one: GapReport) -> tuple[str, ...]:
    """Return a gap as text: attribute, slices, gap with interval, images of the smaller."""
    pair = f"{one.worst} {percent(one.worst_recall)}; {one.best} {percent(one.best_recall)}"
    # Of one image the bootstrap knows one outcome: its interval has no width.
    gap = percent(one.gap) + ("" if one.few else between(one.interval))
    return (one.attribute, pair, gap, f"{one.positives:,}{'!' if one.few else ''}")


def _against(report: EvalReport, most: int | None) -> Part | None:
    """Return the differences of the means, then the significant ones of attributes."""
    if report.against is None:
        return None
    means, clear, noise = report.against.ranked
    each, shown = [*clear, *noise], clear[:most]
    shared = len({one.attribute for one in each})
    over = "" if shared == len(report.attributes) else f"over the {shared} that both predict; "
    rest = "" if len(shown) == len(clear) else f", the largest {len(shown)} shown"
    return Part(
        ("figure", "ours", "theirs", "difference", ""),
        tuple(map(difference_cells, [*means, *shown])),
        heading=f"against {report.against.weights}, the same images",
        notes=(
            f"{over}noise: 0 lies in the 95 % interval of the difference",
            f"attribute by attribute {len(clear)} of {len(each)} differences are not noise{rest}; "
            f"of two equal bundles {_by_chance(len(each))} would not be, by chance",
        ),
    )


def _by_chance(count: int) -> str:
    expected = round(0.05 * count)
    return f"about {expected}" if expected else "hardly any"


def difference_cells(one: Difference) -> tuple[str, ...]:
    """Return a difference as text: metric, ours, theirs, its interval, verdict."""
    title = TITLES[one.metric]
    if one.attribute is not None:
        title = f"{one.attribute} {title}"
    verdict = "noise"
    if one.difference is None:
        verdict = ""
    elif not one.noise:
        good = (one.difference > 0.0) != (one.metric in _LOW_IS_GOOD)
        verdict = "better" if good else "worse"
    change = points(one.difference, one.interval)
    return (title, percent(one.ours), percent(one.theirs), change, verdict)


def _pointing(report: EvalReport, most: int | None) -> Part | None:
    if not report.pointing:
        return None
    titles = ("map of", "peaks in", "images", "share", "centre", "area")
    return Part(titles, tuple(map(pointing_cells, report.pointing)), named=2)


def pointing_cells(one: PointingReport) -> tuple[str, ...]:
    """Return a row of the pointing game as text."""
    shares = (percent(one.inside) or "-", percent(one.centre), percent(one.area))
    return (one.attribute, one.region, f"{one.images:,}", *shares)


def _logic(report: EvalReport, most: int | None) -> Part | None:
    """Return contradictions, most frequent first, and the accuracy without them."""
    logic = report.logic
    if logic is None:
        return None
    rules = sorted(logic.rules, key=lambda rule: -rule.predicted)
    if most is not None:
        rules = [rule for rule in rules if rule.predicted][: most // 2]
    rows = [(rule.rule, percent(rule.predicted), percent(rule.labelled)) for rule in rules]
    rows.append(("any contradiction", percent(logic.predicted), percent(logic.labelled)))
    note = (
        "the most probable answers without contradictions (--consistent): mean attribute accuracy "
        f"{percent(logic.consistent_accuracy)}, {points(logic.difference, logic.interval)} points"
    )
    if report.consistent:
        note += (
            "; the other figures of this report are theirs, the contradictions those of each "
            "attribute decided by itself"
        )
    return Part(
        ("contradiction", "decisions", "labels"),
        tuple(rows),
        heading="contradictions, share of the images",
        notes=(note,),
    )


def _corruptions(report: EvalReport, most: int | None) -> Part | None:
    if not report.corruptions:
        return None
    rows = [("as they are", *_means(report), "")]
    rows += [
        (f"{one.corruption}, {one.level}", *_means(one), points(one.difference, one.interval))
        for one in report.corruptions
    ]
    return Part(
        ("images", "accuracy", "mAP", "difference"),
        tuple(rows),
        heading="corrupted images",
        notes=("difference of the mean attribute accuracy in points, images paired",),
    )


def _means(one: EvalReport | CorruptionReport) -> tuple[str, str]:
    return percent(one.mean_attribute_accuracy), percent(one.mean_average_precision)


def _published(report: EvalReport, most: int | None) -> Part | None:
    """Return ours among published figures; the short table names no sources."""
    if not report.published:
        return None
    interval = between(report.intervals.get("mean_attribute_accuracy"))
    accuracy = percent(report.mean_attribute_accuracy) + interval
    rows = [
        ("this bundle", "", accuracy, f"{counted(report.images, 'image')} ({report.split})", "")
    ]
    for one in sorted(report.published, key=lambda one: -one.mean_attribute_accuracy):
        accuracy = percent(one.mean_attribute_accuracy)
        rows.append((one.method, str(one.year or "-"), accuracy, one.source, one.note))
    titles = ("method", "year", "accuracy", "source", "note")
    shown = len(titles) if most is None else 3
    return Part(
        titles[:shown],
        tuple(row[:shown] for row in rows),
        heading="published mean attribute accuracies",
        notes=(
            "of CelebA's whole official test split, 19,962 images, after training on 162,770: data "
            "and protocol differ from ours. They say where we are, not who wins",
        ),
    )


PARTS: dict[str, Callable[[EvalReport, int | None], Part | None]] = {
    "against": _against,
    "slices": _slices,
    "gaps": _gaps,
    "pointing": _pointing,
    "corruptions": _corruptions,
    "logic": _logic,
    "published": _published,
}
"""Functions of the tables by their field of `EvalReport`, in the order shown."""
