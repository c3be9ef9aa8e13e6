"""The curves of a training run by epoch, and the epoch that is kept."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebattr.errors import needs
from celebattr.io.files import write_bytes
from celebattr.reports.formatting import chart_style, headless

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (12.0, 8.0)
_DPI = 100  # 1200 x 800 pixels
_BLUE, _ORANGE, _GREEN, _PURPLE, _GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#555555"

Row = Mapping[str, Any]
"""A row of history.jsonl: one epoch."""


def best(history: Sequence[Row]) -> Row:
    """Return the row of the epoch that is kept: the first that no other beats."""
    return max(history, key=_score)


def _score(row: Row) -> tuple[float, float]:
    """Return validation mAP, then loss: mAP is undefined or tied where labels have one value."""
    loss = _number(row.get("validation_loss"))
    precision = row.get("validation_mean_average_precision") or 0.0
    return precision, -math.inf if math.isnan(loss) else -loss


def curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw losses, validation metrics and the learning rate by epoch as a PNG.

    Args:
        history: rows of history.jsonl, one per epoch; missing or undefined values leave a gap.
        path: the picture, 1200 x 800 pixels. Nothing is written for an empty history.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DataError: the picture cannot be written.
    """
    if not history:
        return
    with needs("train"), headless():
        # The object interface, which draws with Agg: pyplot would keep global state.
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

    picture = io.BytesIO()
    with chart_style({}):
        margins = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout=margins, facecolor="white")
        _draw(figure, history)
        figure.savefig(picture, format="png")
    write_bytes(path, picture.getvalue())


def _draw(figure: Figure, history: Sequence[Mapping[str, Any]]) -> None:
    axes = figure.subplot_mosaic("LM;LM;LM;RR", sharex=True)
    losses, metrics, rate = axes["L"], axes["M"], axes["R"]
    epochs = [float(row["epoch"]) for row in history]

    _line(losses, epochs, _column(history, "train_loss"), "training", _BLUE, "{:.4f}")
    _line(losses, epochs, _column(history, "validation_loss"), "validation", _ORANGE, "{:.4f}")
    losses.set_title("Loss", loc="left", fontsize=15)

    precision = _column(history, "validation_mean_average_precision", 100)
    accuracy = _column(history, "validation_mean_attribute_accuracy", 100)
    majority = _column(history, "validation_majority_accuracy", 100)
    _line(metrics, epochs, accuracy, "mean attribute accuracy", _GREEN, "{:.2f}")
    _line(metrics, epochs, majority, "always the more frequent value", _GREY, "{:.2f}")
    _line(metrics, epochs, precision, "mAP", _PURPLE, "{:.2f}")
    metrics.set_title("Validation, %", loc="left", fontsize=15)
    kept = best(history)["epoch"]
    metrics.axvline(kept, color=_GREY, linestyle=":", linewidth=1.5, label=f"best: epoch {kept}")

    _line(rate, epochs, _column(history, "lr"), "learning rate", _GREY, "{:.2g}")
    rate.set_title("Learning rate", loc="left", fontsize=15)
    rate.set_ylim(bottom=0)
    rate.set_xlabel("epoch", fontsize=13)
    for ax in (losses, metrics, rate):
        _tidy(ax, epochs)


def _column(history: Sequence[Mapping[str, Any]], name: str, factor: float = 1.0) -> list[float]:
    """Return one value per row; NaN, which leaves a gap, if missing or not finite."""
    return [factor * _number(row.get(name)) for row in history]


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and math.isfinite(value) else math.nan


def _line(
    ax: Axes, epochs: list[float], values: list[float], label: str, colour: str, form: str
) -> None:
    """Draw one curve, its last value in the legend: beside the curves, labels could overlap."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return
    marker = "o" if len(epochs) <= 40 else ""
    label = f"{label}  {form.format(known[-1])}"
    ax.plot(epochs, values, color=colour, linewidth=2.2, marker=marker, markersize=5, label=label)


def _tidy(ax: Axes, epochs: list[float]) -> None:
    """Draw a light grid and whole epochs on the axis."""
    from matplotlib.ticker import MaxNLocator

    ax.grid(color="#dddddd", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=12, labelbottom=True)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    span = max(max(epochs) - min(epochs), 1.0)
    ax.set_xlim(min(epochs) - 0.04 * span, max(epochs) + 0.04 * span)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=12, framealpha=0.85, edgecolor="none")
