"""What the configs are made of: a field with the text of its option, and its validation."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from celebattr.attributes import suggestion
from celebattr.errors import UsageError

T = TypeVar("T")

CACHES: tuple[str, ...] = ("auto", "ram", "disk", "off")


def option(default: T, text: str, *, choices: tuple[str, ...] = (), metavar: str = "") -> T:
    """A dataclass field with the help text and choices of its command-line option."""
    metadata = {"help": text, "choices": choices, "metavar": metavar}
    field: T = dataclasses.field(default=default, metadata=metadata)
    return field


def operating_point_option() -> str:
    """--operating-point, of every command that decides."""
    return option(
        "default",
        "Where thresholds lie: default, the bundle's own (0.5); f1, the best F1; precision=P or "
        "recall=R, at least that much on the validation images.",
        metavar="POINT",
    )


def unsure_below_option() -> float | None:
    """--unsure-below, likewise."""
    return option(
        None,
        "Decisions less likely right than this are reported as unsure. Without it, the bundle's "
        "own.",
    )


def consistent_option() -> bool:
    """--consistent, likewise."""
    return option(
        False,
        "Decide for the most probable answers that do not contradict each other, as No_Beard and "
        "Goatee do.",
    )


def thumbnails_option() -> bool:
    """--thumbnails, of every command that writes an HTML page."""
    return option(
        True,
        "Small pictures of the images that the HTML page names; --no-thumbnails for data that must "
        "not leave.",
    )


class Checks:
    """Shared validation: declared choices, and ranges by name."""

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


def flag(name: str) -> str:
    """The command-line spelling of a field name."""
    return "--" + name.replace("_", "-")
