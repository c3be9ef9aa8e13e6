"""Base of the commands' options: frozen dataclasses whose fields carry the help of their option.

The help of a field is the help of the command-line option that `celebattr.cli.options` derives
from it: names, types, defaults and texts stand once.
"""

from __future__ import annotations

import dataclasses
import numbers
import os
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from celebattr.attributes import join_names
from celebattr.constants import PRECISIONS
from celebattr.errors import UsageError, suggestion

T = TypeVar("T")

CACHES: tuple[str, ...] = ("auto", "ram", "disk", "off")
DECISIONS = "Model and decisions"
"""Panel of the options that decide what is reported as present."""


def option(
    default: T,
    text: str,
    panel: str,
    *,
    choices: tuple[str, ...] = (),
    metavar: str = "",
    shown: str = "",
    was: str = "",
) -> T:
    """Return a dataclass field that describes its command-line option.

    Args:
        default: its value without the option.
        text: one line of help; `{choices}` stands for the list of them.
        panel: the group of options in which the help page lists it.
        choices: all values that are allowed.
        metavar: name of the value on the help page.
        shown: words for a default that is None.
        was: an earlier name, which still works but is not shown.
    """
    metadata = {
        "help": text,
        "panel": panel,
        "choices": choices,
        "metavar": metavar,
        "shown": shown,
        "was": was,
    }
    field: T = dataclasses.field(default=default, metadata=metadata)
    return field


def data_option() -> tuple[Location, ...]:
    """Return the field of --data."""
    return option((), "Data set: a folder, a URL or drawn (repeatable).", "Data", metavar="DIR|URL")


def skip_missing_option() -> bool:
    """Return the field of --skip-missing."""
    return option(False, "Use what is there, where some is missing.", "Data")


def allow_outside_option() -> bool:
    """Return the field of --allow-outside, for every command that reads a data set."""
    return option(False, "Read images that lie outside of the folder.", "Data")


def faces_option() -> str:
    """Return the field of --faces, for every command that reads a data set."""
    return option(
        "auto",
        "Align images to the main face: largest, none, or auto (looks at some).",
        "Data",
        choices=("auto", "largest", "none"),
    )


def skip_unreadable_option() -> bool:
    """Return the field of --skip-unreadable."""
    return option(False, "Open all images first, and leave out unreadable ones.", "Data")


def column_option() -> str | None:
    """Return the field of --column."""
    text = "Column of a CSV that names the image."
    return option(None, text, "Data", metavar="NAME", shown="image, file_name, ...")


def attributes_option() -> str | None:
    """Return the field of --attributes."""
    return option(None, "Use only these attributes.", "Data", metavar="NAMES", shown="all")


def weights_option(panel: str, shown: str) -> str | None:
    """Return the field of --weights."""
    text = "Bundle: a file, a run folder, a name or hf://OWNER/NAME."
    return option(None, text, panel, metavar="BUNDLE", shown=shown)


def device_option(panel: str = "Performance") -> str:
    """Return the field of --device."""
    return option(
        "auto",
        "Device: auto, cpu, cuda, cuda:1, mps, openvino, ...",
        panel,
        metavar="DEVICE",
    )


def precision_option(panel: str = "Performance") -> str:
    """Return the field of --precision."""
    return option("auto", "Arithmetic: {choices}.", panel, choices=PRECISIONS)


def decoders_option(panel: str = "Performance") -> int:
    """Return the field of --workers, for every command that decodes in threads."""
    return option(2, "Threads that decode images.", panel)


def overwrite_option(panel: str = "Output") -> bool:
    """Return the field of --overwrite, for every command that writes a result."""
    return option(False, "Replace what exists.", panel)


def operating_point_option(default: str = "default") -> str:
    """Return the field of --operating-point."""
    text = "Thresholds: default, f1, precision=P or recall=P."
    return option(default, text, DECISIONS, metavar="POINT")


def threshold_option() -> str | float | None:
    """Return the field of --threshold."""
    text = "Least probability of a present attribute: P, or NAME=P,NAME=P for some."
    return option(None, text, DECISIONS, metavar="P|NAMES", shown="the bundle's own")


def unsure_below_option() -> float | None:
    """Return the field of --unsure-below."""
    text = "Report decisions below this confidence as unsure."
    return option(None, text, DECISIONS, metavar="P", shown="the bundle's own")


def consistent_option() -> bool:
    """Return the field of --consistent."""
    return option(False, "Avoid contradictions such as No_Beard with Goatee.", DECISIONS)


def thumbnails_option() -> bool:
    """Return the field of --thumbnails, for every command that writes an HTML page."""
    return option(
        True, "Embed images in the HTML page (off for data that may not be shared).", "Output"
    )


class Checks:
    """The base of configs: validates choices, and ranges by name."""

    def _check(self, **ranges: tuple[float, float]) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            choices = field.metadata.get("choices")
            if choices and value is not None and value not in choices:
                raise UsageError(
                    f"{flag(field.name)} {value!r} is not one of {', '.join(choices)}."
                    f"{suggestion(str(value), choices)}"
                )
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{flag(name)} {value} is outside {low:g} to {high:g}")


C = TypeVar("C")


def from_keywords(
    kind: Callable[..., C], values: Mapping[str, Any], others: Sequence[str] = ()
) -> C:
    """Build a config from keyword arguments.

    Paths and URLs may be strings; a field that takes several values also takes one; one that takes
    names separated by commas also takes a list, and NAME=VALUE pairs a mapping.

    Args:
        kind: the config.
        values: its fields by name.
        others: options that the caller has besides, for the message.

    Raises:
        UsageError: there is no such option, or a value is not possible.
    """
    hints = typing.get_type_hints(kind)
    earlier = {f.metadata["was"]: f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {earlier.get(flag(name), name): value for name, value in values.items()}
    for name in values:
        if name not in hints:
            known = [*others, *hints]
            meant = suggestion(name, known) or f" Known: {', '.join(known)}"
            raise UsageError(f"unknown option {name!r}.{meant}")
    return kind(**{name: _fitted(name, value, hints[name]) for name, value in values.items()})


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}


def _fitted(name: str, value: Any, hint: Any) -> Any:
    """Return a value as the field of a config holds it, or refuse its type."""
    if typing.get_origin(hint) is tuple:
        many = value if isinstance(value, list | tuple) else (value,)
        return tuple(_fitted(name, one, typing.get_args(hint)[0]) for one in many)
    kinds = typing.get_args(hint) or (hint,)
    if isinstance(value, Mapping) and str in kinds:
        value = [f"{name}={one}" for name, one in value.items()]
    if isinstance(value, list | tuple) and str in kinds:
        return join_names(map(str, value))
    if isinstance(value, str | Path):
        for kind, made in ((Url, parse_location), (Path, Path), (str, str)):
            if kind in kinds:
                return made(value)
    elif value is None or isinstance(value, bool):
        if type(value) in kinds:
            return value
    elif isinstance(value, numbers.Integral) and int in kinds:
        return int(value)
    elif isinstance(value, numbers.Real) and (float in kinds or str in kinds):
        return float(value) if float in kinds else str(value)
    raise UsageError(f"{flag(name)} {value!r} is not {_WORDS.get(kinds[0], 'text')}")


def flag(name: str) -> str:
    """Return the command-line spelling of a field name."""
    return "--" + name.replace("_", "-")


# At least two letters: C:// is a drive.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_FILE = re.compile(r"file://(?:localhost(?=/))?", re.IGNORECASE | re.ASCII)


class Url(str):
    """A folder on no local disk, `s3://bucket/folder`. A `Path` would drop one of its slashes."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The last part, as of `Path.name`."""
        return self.rstrip("/").rpartition("/")[2]


Location: TypeAlias = Path | Url
"""The place of a data set."""


def parse_location(text: str | Path) -> Location:
    """Parse a path, or a URL of a file system that fsspec knows; `file://` is a path."""
    if isinstance(text, Path) or not _URL.match(text):
        return Path(text)
    file = file_path(text)
    return Url(text.rstrip("/")) if file is None else Path(file)


def file_path(address: str) -> str | None:
    """Return the path of a `file://` address, taken literally (%20 is no space), or None."""
    start = _FILE.match(address)
    if start is None:
        return None
    path = address[start.end() :]
    return path[1:] if os.name == "nt" and path[:1] == "/" and path[2:3] == ":" else path


class OperatingPoint(NamedTuple):
    """The rule of thresholds: `default`, `f1`, or a least `precision` or `recall`."""

    kind: str
    least: float = 0.0


def parse_operating_point(text: str) -> OperatingPoint:
    """Parse `default`, `f1`, `precision=0.9` or `recall=0.9`.

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


def format_of_suffix(path: str | os.PathLike[str], suffixes: Mapping[str, str]) -> str:
    """Return the format of a file's suffix.

    Args:
        path: the file to be written.
        suffixes: format by suffix, dot included and in lower case.

    Raises:
        UsageError: the suffix is missing or unknown.
    """
    suffix = Path(path).suffix.lower()
    if suffix in suffixes:
        return suffixes[suffix]
    known = ", ".join(suffixes)
    if not suffix:
        raise UsageError(
            f"{os.fspath(path)} has no suffix to tell its format by. Give it one of {known}"
        )
    raise UsageError(
        f"{os.fspath(path)}: no format has the suffix {suffix}.{suggestion(suffix, suffixes)} "
        f"Known: {known}"
    )
