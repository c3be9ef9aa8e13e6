"""The sheet of `celebattr doctor --labels`: labels that are likely wrong, with their pictures."""

from __future__ import annotations

from celebattr.doctor.labels.report import LabelReport
from celebattr.doctor.labels.writers import headline, table
from celebattr.reports.page import Made, render


def page(report: LabelReport, made: Made) -> str:
    """The page: figures, then the suspects that have a picture, by attribute.

    Args:
        report: what was found.
        made: when, with what and on what.
    """
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
    """A probability as whole percent; never a full 0 or 100, which nobody can be sure of."""
    if not 0.005 <= probability < 0.995:
        return "over 99\N{NO-BREAK SPACE}%" if probability > 0.5 else "under 1\N{NO-BREAK SPACE}%"
    return f"{100 * probability:.0f}\N{NO-BREAK SPACE}%"
