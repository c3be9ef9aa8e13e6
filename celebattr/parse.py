"""What the text of an option means: places of data, sizes, widths, operating points."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from celebattr.errors import UsageError

# At least two letters: C:// is a drive.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_FILE = re.compile(r"file://(?:localhost(?=/))?", re.IGNORECASE | re.ASCII)


class Url(str):
    """A folder that is on no disk here, `s3://bucket/folder`. A `Path` would lose a slash of it."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Its last part, as `Path.name`."""
        return self.rstrip("/").rpartition("/")[2]


Location: TypeAlias = Path | Url
"""Where a data set lies."""


def parse_location(text: str | Path) -> Location:
    """Reads a path, or a URL of a file system that fsspec knows; `file://` is a path."""
    if isinstance(text, Path) or not _URL.match(text):
        return Path(text)
    file = file_path(text)
    return Url(text.rstrip("/")) if file is None else Path(file)


def file_path(address: str) -> str | None:
    """The path in a `file://` address, taken as it stands (%20 is no space); else None."""
    start = _FILE.match(address)
    if start is None:
        return None
    path = address[start.end() :]
    return path[1:] if os.name == "nt" and path[:1] == "/" and path[2:3] == ":" else path


def parse_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Reads `"128x104,176x144"` as ((128, 104), (176, 144)): heights and widths in pixels.

    Raises:
        UsageError: not sizes, or a side under 32 or over 1024 pixels.
    """
    sizes = []
    for part in text.split(","):
        height, _, width = part.strip().lower().partition("x")
        if not (height.isdecimal() and width.isdecimal()):
            raise UsageError(f"image size {part!r} is not HEIGHTxWIDTH, for example 176x144")
        if not (32 <= int(height) <= 1024 and 32 <= int(width) <= 1024):
            raise UsageError(f"image size {part!r}: both sides must be 32 to 1024 pixels")
        sizes.append((int(height), int(width)))
    return tuple(sizes)


def parse_widths(text: str) -> tuple[int, ...]:
    """Reads the hidden layers of a head: "linear" is (), "512,256" is (512, 256).

    Raises:
        UsageError: neither "linear" nor positive whole numbers.
    """
    if text.strip().lower() == "linear":
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"head {text!r} is neither 'linear' nor widths such as 512,256")
    return tuple(int(part) for part in parts)


@dataclass(frozen=True)
class OperatingPoint:
    """How thresholds are chosen: `default`, `f1`, or a least `precision` or `recall` (0 to 1)."""

    kind: str
    least: float = 0.0


def parse_operating_point(text: str) -> OperatingPoint:
    """Reads `default`, `f1`, `precision=0.9` or `recall=0.9`.

    Raises:
        UsageError: none of these, or a share outside 0 to 1.
    """
    kind, equals, share = text.strip().lower().partition("=")
    if kind in ("default", "f1") and not equals:
        return OperatingPoint(kind)
    if kind in ("precision", "recall"):
        try:
            least = float(share)
        except ValueError:
            least = -1.0
        if 0.0 < least <= 1.0:
            return OperatingPoint(kind, least)
    raise UsageError(
        f"--operating-point {text!r} is none of default, f1, precision=P, recall=R, "
        "with P and R over 0 and up to 1, for example precision=0.9"
    )
