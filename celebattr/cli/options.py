"""Command-line options from the fields of a config, where each is described once."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import os
import re
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from celebattr.errors import UsageError
from celebattr.options import Location, flag, parse_location

ENVIRONMENT = {"data": "CELEBATTR_DATA"}
SHORT = {"data": "-d", "out": "-o", "weights": "-w", "batch_size": "-b", "format": "-f"}

OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write to a file; its suffix tells the format."
    ),
]


def format_option(formats: tuple[str, ...], default: str, help: str = "How to print.") -> Any:
    """Return the option --format of a command; `default` is for a person."""
    return typer.Option(
        "--format", "-f", metavar="|".join(formats), help=help, show_default=default
    )


def known_format(format: str | None, formats: tuple[str, ...]) -> None:
    """Refuse a --format that a command does not have.

    Raises:
        UsageError: it is not None, and none of them.
    """
    if format is not None and format not in formats:
        raise UsageError(f"--format {format!r} is not one of {', '.join(formats)}")


def data_sets(given: Sequence[str] | None) -> tuple[Location, ...]:
    """Return the places that --data or, without it, CELEBATTR_DATA names (a list like PATH).

    Typer would split the variable at spaces, or at the colon of a URL.
    """
    if not given:
        listed = os.environ.get(ENVIRONMENT["data"], "")
        given = [part for part in re.split(rf"{re.escape(os.pathsep)}(?!//)", listed) if part]
    return tuple(map(parse_location, given))


def from_config(config: type, **choices: tuple[str, ...]) -> list[inspect.Parameter]:
    """Return one Typer option per field, in the order of the fields.

    Args:
        config: a dataclass whose fields were made with `celebattr.options.option`.
        choices: allowed values by field name, for those that a table elsewhere lists.
    """
    hints = typing.get_type_hints(config)
    parameters = []
    for field in dataclasses.fields(config):
        allowed = choices.get(field.name) or field.metadata["choices"]
        kind: Any = hints[field.name]
        default: Any = field.default
        if allowed:  # Typer shows and checks choices of an enum only
            make: Any = enum.StrEnum
            kind = make(field.name, {c: c for c in allowed})
            default = kind(field.default)
        elif kind == tuple[Path, ...]:
            kind, default = list[Path], []
        elif kind in (tuple[str, ...], tuple[Location, ...]):  # a Path would lose a slash
            kind, default = list[str], []
        elif kind == Location | None:
            kind = str | None
        variable, text = ENVIRONMENT.get(field.name), field.metadata["help"]
        if variable is not None and kind == list[str]:
            variable, text = None, f"{text} Without it, what {variable} names."
        names = [flag(field.name)]
        if kind is bool:
            names = [f"{names[0]}/--no-{names[0][2:]}"] if default else names
        if field.name in SHORT:
            names.append(SHORT[field.name])
        option = typer.Option(
            *names,
            help=text,
            metavar=field.metadata["metavar"] or None,
            envvar=variable,
            show_default=not (default is None or default == []),
        )
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[kind, option],
            )
        )
    return parameters


def command(
    config: type, **choices: tuple[str, ...]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a function with the options of a config; it is called with `config`.

    The function's own parameters stay, before those of the config.
    """

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        own = [
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for p in inspect.signature(function, eval_str=True).parameters.values()
            if p.name != "config"
        ]
        derived = from_config(config, **choices)
        hints = typing.get_type_hints(config)

        def run(**values: Any) -> None:
            plain = {k: _plain(v, hints[k]) for k, v in values.items() if k in hints}
            rest = {k: v for k, v in values.items() if k not in hints}
            function(config=config(**plain), **rest)

        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        # Typer reads the options from the signature, and their types from the annotations.
        run.__signature__ = inspect.Signature([*own, *derived])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*own, *derived]}
        return run

    return wrap


def _plain(value: Any, kind: Any) -> Any:
    if kind == tuple[Location, ...]:
        return data_sets(value)
    if kind == Location | None and value is not None:
        return parse_location(value)
    if isinstance(value, enum.Enum):
        return value.value
    return tuple(value) if isinstance(value, list) else value
