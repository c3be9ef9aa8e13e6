"""Figures as text for people: shares in percent, intervals, differences."""

from __future__ import annotations

import math


def percent(value: float | None) -> str:
    """Return a share as percent to two places, without the sign; empty when undefined."""
    return "" if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def between(interval: tuple[float, float] | None) -> str:
    """Return a 95 % interval in percent, in brackets after a space; empty when undefined."""
    return "" if interval is None else f" [{percent(interval[0])}, {percent(interval[1])}]"


def points(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """Return a difference of shares in signed points, and its interval if there is one."""
    if value is None or not math.isfinite(value):
        return ""
    bounds = "" if interval is None else f" [{_signed(interval[0])}, {_signed(interval[1])}]"
    return _signed(value) + bounds


def _signed(value: float) -> str:
    # Of what is rounded to nothing the sign tells on which side of it; minus zero has no side.
    return f"{100 * value + 0.0:+.2f}"
