"""Charts as SVG inside a page: drawn by matplotlib, coloured by the page's style sheet.

matplotlib draws with four stand-in colours, which become variables of the style sheet, so that one
chart serves the light and the dark theme. Text stays text, in the page's font.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from celebattr.reports.formatting import chart_style, headless

with headless():
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator

INK, MUTED, LINE, ACCENT = "#010101", "#020202", "#030303", "#040404"
_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", ACCENT: "var(--accent)"}

WIDTH = 400
"""Units across a chart; on the narrowest phone 360 pixels, so text of 10.5 units can be read."""

_UNITS = 72.0  # of an SVG by matplotlib, an inch
_FONT = 10.5
_STYLE: Any = {  # newer versions of matplotlib list the names in its type
    "svg.fonttype": "none",
    "svg.hashsalt": "celebattr",  # the same names at every run
    "font.size": _FONT,
    "text.parse_math": False,  # names of attributes are no formulas
    "text.color": INK,
    **dict.fromkeys(("axes.edgecolor", "grid.color"), LINE),
    **dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), MUTED),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
}

KINDS: dict[str, dict[str, Any]] = {
    "main": {"color": ACCENT},
    "second": {"color": INK, "dashes": (5, 2)},
    "third": {"color": MUTED, "dashes": (1.2, 1.6)},
    "fourth": {"color": ACCENT, "dashes": (1.5, 1.5)},
    "reference": {"color": MUTED, "linewidth": 1.0, "dashes": (2, 3)},
}
"""Styles of lines, which differ in more than their colour."""


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        points: (x, y); y is None where there is a gap.
        kind: a key of `KINDS`.
        label: in the legend; the same label once.
        series: the line is only shown where this number is chosen on the page.
        dots: whether points are marked.
    """

    points: Sequence[tuple[float, float | None]]
    kind: str = "main"
    label: str = ""
    series: int | None = None
    dots: bool = False


@dataclass(frozen=True)
class Dot:
    """A row of a chart of dots: a value, its 95 % interval, and a reference value."""

    label: str
    value: float | None
    interval: tuple[float, float] | None = None
    reference: float | None = None


def lines(
    name: str,
    title: str,
    text: str,
    curves: Sequence[Line],
    *,
    x: str,
    y: str,
    shares: bool = False,
    percent: bool = False,
    height: int = 300,
) -> Markup:
    """Draw curves in one pair of axes.

    Args:
        name: of the chart on its page, for ids.
        title: what it is.
        text: what it says, for those who do not see it.
        curves: the lines.
        x: label of the axis across.
        y: label of the axis upwards.
        shares: both axes go from 0 to 1.
        percent: the ticks of y are written in percent.
        height: in units, beside a width of `WIDTH`.
    """

    def draw(ax: Axes) -> None:
        labels: set[str] = set()
        for curve in curves:
            ys = [math.nan if value is None else value for _, value in curve.points]
            (drawn,) = ax.plot([place for place, _ in curve.points], ys, **KINDS[curve.kind])
            drawn.set(marker="o" if curve.dots else "", markersize=4)
            drawn.set_label("_" if curve.label in labels else curve.label or "_")
            labels.add(curve.label)
            if curve.series is not None:
                drawn.set_gid(f"series{curve.series}")
        ax.set(xlabel=x, ylabel=y)
        if shares:
            ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        else:
            ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
            ax.margins(x=0.03)
        if percent:
            ax.yaxis.set_major_formatter(_percent)
        if labels - {""}:
            narrow: Any = {"borderpad": 0.1, "columnspacing": 1.2, "handlelength": 1.8}
            columns = 4 if len(labels) > 2 else 2
            ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, **narrow)

    return _svg(name, title, text, draw, height)


def dots(
    name: str, title: str, text: str, rows: Sequence[Dot], *, x: str, zero: bool = False
) -> Markup:
    """Draw shares in percent as dots with their intervals, a row each, the first at the top.

    The arguments are those of `lines`; `zero` draws a line at 0, for values that are differences.
    """

    def draw(ax: Axes) -> None:
        for place, row in enumerate(rows):
            if row.interval is not None:
                ax.plot(row.interval, (place, place), color=ACCENT, linewidth=2.2, alpha=0.45)
            if row.value is not None and math.isfinite(row.value):
                ax.plot(row.value, place, "o", color=ACCENT, markersize=5)
            if row.reference is not None and math.isfinite(row.reference):
                ax.plot(row.reference, place, "|", color=INK, markersize=9, markeredgewidth=1.6)
        if zero:
            ax.axvline(0.0, color=MUTED, linewidth=1.0)
        ax.set_yticks(range(len(rows)), [row.label for row in rows], color=INK)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
        ax.xaxis.set_major_formatter(_percent)
        ax.set_xlabel(x)

    return _svg(name, title, text, draw, 52 + 17 * len(rows))


def _percent(value: float, place: float) -> str:
    """Return a tick: 100 times the value, without trailing zeros."""
    return f"{round(100 * value, 6):g}".replace("-", "−")  # noqa: RUF001


def _svg(name: str, title: str, text: str, draw: Callable[[Axes], None], height: int) -> Markup:
    """Return the <svg> element, named for screen readers."""
    with chart_style(_STYLE):
        margins = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03)
        figure = Figure(figsize=(WIDTH / _UNITS, height / _UNITS), layout=margins)
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # Hundredths of a unit suffice in tags; text outside of them stays exact.
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), svg)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)  # the page's
    svg = re.sub(r"<style.*?</style>\s*", "", svg, flags=re.DOTALL)  # it would be the whole page's
    first = re.search(r'id="series\d+"', svg)
    if first is not None:  # until another is chosen
        svg = svg.replace(first[0], f'class="shown" {first[0]}')
    svg = re.sub(r'id="series(\d+)"', r'data-series="\1"', svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    # What ids are left name clip paths and markers of one picture: several stand on a page.
    svg = svg.replace(' id="', f' id="chart-{name}-')
    svg = svg.replace("url(#", f"url(#chart-{name}-").replace('href="#', f'href="#chart-{name}-')
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None
    inside = svg[svg.index(">") + 1 :]
    ids = f"chart-{name}-title", f"chart-{name}-text"
    return Markup(
        f'<svg class="chart" role="img" aria-labelledby="{ids[0]} {ids[1]}" {view[0]}>'
        f'<title id="{ids[0]}">{escape(title)}</title><desc id="{ids[1]}">{escape(text)}</desc>'
        f"{inside}"
    )
