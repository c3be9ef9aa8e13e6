"""Versions of what decides results, as `celebattr info` and HTML pages name them."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from celebattr.constants import VERSION

if TYPE_CHECKING:
    from celebattr.reports.page import Made

PACKAGES = ("onnxruntime", "torch", "torchvision", "opencv-python-headless", "pillow", "numpy")


def versions() -> list[str]:
    """Names and versions: celebattr, Python, and the packages that decide results."""
    return [
        f"celebattr {VERSION}",
        f"Python {platform.python_version()}",
        *(_version(name) for name in PACKAGES),
    ]


def made(data: str) -> Made:
    """Return the origin of a page that is written now: versions, date and `data`."""
    from celebattr.reports.page import Made

    return Made.now(versions(), data)


def _version(name: str) -> str:
    import importlib.metadata  # a third of what --help may take

    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} not installed"
