"""`report.html` of a run folder: the training, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from celebattr.evaluation.report import Example
from celebattr.reports import svg
from celebattr.reports.formatting import Made
from celebattr.reports.page import picture_rows, render
from celebattr.reports.svg import Line
from celebattr.training.curves import Row, best

_ACCURACY, _PRECISION = "validation_mean_attribute_accuracy", "validation_mean_average_precision"
_MAJORITY = "validation_majority_accuracy"
_DOTS = 40  # epochs up to which each is marked


def page(
    history: Sequence[Row],
    *,
    name: str,
    epochs: int,
    recipe: Mapping[str, Any],
    device: str,
    made: Made,
    done: bool = False,
    examples: Sequence[Example] = (),
) -> str:
    """Return the page of a run after an epoch.

    Args:
        history: rows of history.jsonl, at least one.
        name: of the run.
        epochs: how many the run will have at most.
        recipe: the settings that decide the result.
        device: which, and why.
        made: when, with what and on what.
        done: whether the run has ended.
        examples: validation images, once the run is done.
    """
    return render(
        __package__,
        "training.html",
        history=history,
        best=best(history),
        last=history[-1],
        name=name,
        epochs=epochs,
        done=done,
        recipe=recipe,
        device=device,
        made=made,
        charts=charts(history),
        examples=picture_rows(examples),
    )


def charts(history: Sequence[Row]) -> dict[str, Markup]:
    """Return the curves by epoch, by name."""
    text = "By epoch; the table below holds the same numbers."
    dots = len(history) <= _DOTS

    def line(column: str, kind: str = "main", label: str = "") -> Line:
        points = [(float(row["epoch"]), _finite(row.get(column))) for row in history]
        return Line(points, kind, label, dots=dots)

    losses = [
        line("train_loss", "second", "training"),
        line("validation_loss", "main", "validation"),
    ]
    accuracies = [
        line(_MAJORITY, "second", "always the more frequent value"),
        line(_ACCURACY, "main", "network"),
    ]
    drawn: tuple[tuple[str, str, list[Line], str, int], ...] = (
        ("loss", "Loss", losses, "loss", 300),
        ("accuracy", "Mean attribute accuracy on validation", accuracies, "%", 300),
        ("precision", "Mean average precision on validation", [line(_PRECISION)], "%", 300),
        ("rate", "Learning rate", [line("lr")], "rate", 150),
        ("speed", "Images per second", [line("images_per_second")], "images/s", 150),
    )
    return {
        name: svg.lines(name, title, text, lines, x="epoch", y=y, percent=y == "%", height=height)
        for name, title, lines, y, height in drawn
    }


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
