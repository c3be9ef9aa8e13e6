"""Text for people: shares in percent, intervals, differences, and the versions behind them."""

from __future__ import annotations

import contextlib
import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celebattr.constants import VERSION

PACKAGES = ("onnxruntime", "torch", "torchvision", "opencv-python-headless", "pillow", "numpy")


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


def versions() -> list[str]:
    """Names and versions: celebattr, Python, and the packages that decide results."""
    python = f"Python {platform.python_version()}"
    return [f"celebattr {VERSION}", python, *map(_version, PACKAGES)]


@dataclass(frozen=True)
class Made:
    """The origin of a page.

    Attributes:
        when: date and time, UTC, for a person.
        versions: names and versions of what made it.
        data: what it was measured or trained on, for a person.
    """

    when: str
    versions: Sequence[str]
    data: str


def made(data: str) -> Made:
    """Return the origin of a page that is written now."""
    return Made(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), versions(), data)


def _version(name: str) -> str:
    import importlib.metadata  # a third of what --help may take

    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} not installed"


@contextlib.contextmanager
def headless() -> Iterator[None]:
    """Import matplotlib within the block whatever MPLBACKEND says: no window is ever opened.

    A notebook's names a backend of the notebook's environment, without which the import fails.
    """
    with without("MPLBACKEND"):
        os.environ["MPLBACKEND"] = "agg"
        yield


@contextlib.contextmanager
def without(name: str) -> Iterator[None]:
    """Keep a variable of the environment from what the block imports."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@contextlib.contextmanager
def chart_style(style: Mapping[str, Any]) -> Iterator[None]:
    """Draw with matplotlib's defaults and `style` alone, whatever its configuration file says."""
    from matplotlib import rc_context, rcParamsDefault

    # The backend is the caller's: a notebook goes on to show its own figures.
    own: Any = {n: v for n, v in rcParamsDefault.items() if n != "backend"} | dict(style)
    with rc_context(own):
        yield
