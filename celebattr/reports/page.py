"""Pages from templates: one self-contained file each, without network requests."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from celebattr.reports import formatting

_DASH = "–"  # noqa: RUF001  an undefined figure, as typeset


def render(package: str, template: str, **values: Any) -> str:
    """Return the text of a page.

    Args:
        package: where its template lies, beside the module that fills it.
        template: the name of it.
        values: what the template names; plain values and dataclasses.
    """
    pages = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader(__package__, "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        share=share, between=between, points=points, number=number, figure=figure, jpeg=jpeg
    )
    pages.filters["count"] = "{:,}".format
    style, script = (
        resources.files(__package__).joinpath(name).read_text("utf-8")
        for name in ("page.css", "page.js")
    )
    # Pages show names of files and attributes: no script but this one may run, whatever they hold.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return pages.get_template(template).render(
        style=Markup(style), script=Markup(script), script_hash=digest, **values
    )


def share(value: float | None) -> str:
    """Return a share in percent without the sign, or a dash."""
    return formatting.percent(value) or _DASH


def between(interval: tuple[float, float] | None) -> str:
    """Return a 95 % interval in percent, "91.02 to 92.34"; empty when undefined."""
    if interval is None:
        return ""
    low, high = map(formatting.percent, interval)
    return f"{low} to {high}".replace("-", "−")  # noqa: RUF001


def points(value: float | None) -> str:
    """Return a difference of shares in percentage points, with its sign, or a dash."""
    return formatting.points(value).replace("-", "−") or _DASH  # noqa: RUF001


def number(value: float | None, form: str = ".4f") -> str:
    """Format a number, or return a dash."""
    if value is None or not math.isfinite(value):
        return _DASH
    return format(value, form)


def figure(text: str) -> str:
    """Typeset the figures of a cell; an undefined one is a dash."""
    return text.replace("-", "−") if text not in ("", "-") else _DASH  # noqa: RUF001


def jpeg(data: bytes) -> str:
    """Return a picture as a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def from_markdown(text: str) -> Markup:
    """Render Markdown as HTML, headings two levels down, its HTML shown as text."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 2)}"
    html = reader.renderer.render(tokens, reader.options, {})
    first, *others = html.split("<table>")
    for place, rest in enumerate(others, 1):
        label = f'role="region" aria-label="Model card, table {place}"'
        table = rest.replace("</table>", "</table></div>")
        first += f'<div class="scroll" tabindex="0" {label}><table>{table}'
    return Markup(first)


def picture_rows(examples: Sequence[Any]) -> Mapping[str, list[Any]]:
    """Group examples by reason, in their order."""
    rows: dict[str, list[Any]] = {}
    for one in examples:
        rows.setdefault(one.why, []).append(one)
    return rows
