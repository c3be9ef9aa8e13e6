"""A contact sheet of labels that are likely wrong: one HTML page with its pictures inside."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from celebattr.reports.labels import headline, table
from celebattr.results.labels import LabelReport

_TEMPLATES = Path(__file__).parent / "html"


def sheet(report: LabelReport) -> str:
    """The page: figures, then the suspects that have a picture, by attribute.

    It asks nothing of any server, and works in light and dark and on a telephone.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["chance"] = _chance
    attributes = list(dict.fromkeys(one.attribute for one in report.estimates))
    shown = {name: [one for one in report.suspects if one.attribute == name] for name in attributes}
    return environment.get_template("label_sheet.html").render(
        report=report,
        headline=headline(report),
        table=table(report),
        sections={
            name: [one for one in suspects if one.jpeg is not None]
            for name, suspects in shown.items()
        },
        counts={name: len(suspects) for name, suspects in shown.items()},
    )


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _chance(probability: float) -> str:
    """A probability as whole percent; never a full 0 or 100, which nobody can be sure of."""
    if not 0.005 <= probability < 0.995:
        return "over 99\N{NO-BREAK SPACE}%" if probability > 0.5 else "under 1\N{NO-BREAK SPACE}%"
    return f"{100 * probability:.0f}\N{NO-BREAK SPACE}%"
