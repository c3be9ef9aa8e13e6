"""Command-line options from the fields of a config, where each is described once."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from celebattr.errors import UsageError
from celebattr.options import Location, flag, from_keywords, parse_location

ENVIRONMENT = {"data": "CELEBATTR_DATA"}
SHORT = {
    "data": "-d",
    "output": "-o",
    "weights": "-w",
    "batch_size": "-b",
    "format": "-f",
    "null": "-0",
}
_METAVARS = {bool: "", int: "N", float: "X"}

_OUTPUT = typer.Option(
    "--output",
    "-o",
    metavar="FILE",
    help="Write to a file; its suffix sets the format.",
    rich_help_panel="Output",
)
OutputFile = Annotated[Path | None, _OUTPUT]
OutputPlace = Annotated[str | None, _OUTPUT]
"""The same where it may be an address too."""

Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", metavar="", help="Replace what exists.", rich_help_panel="Output"),
]


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", metavar="", help="No progress, no summary.", rich_help_panel="Output"
    ),
]
ShowProgress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        metavar="",
        help="Show a live count.",
        show_default="on a terminal",
        rich_help_panel="Output",
    ),
]


def format_option(formats: tuple[str, ...], default: str | bool) -> Any:
    """Return the option --format of a command; `default` is for a person."""
    return typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help=f"Format: {', '.join(formats)}.",
        show_default=default,
        rich_help_panel="Output",
    )


def known_format(format: str | None, formats: tuple[str, ...]) -> None:
    """Refuse a --format that a command does not have.

    Raises:
        UsageError: it is not None, and none of them.
    """
    if format is not None and format not in formats:
        raise UsageError(f"--format {format!r} is not one of {', '.join(formats)}")


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error, where that is a terminal; yield what moves it."""
    from rich.console import Console
    from rich.progress import Progress

    shown = sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def data_sets(given: Sequence[str] | None) -> tuple[Location, ...]:
    """Return the places that --data or, without it, CELEBATTR_DATA names (a list like PATH).

    Typer would split the variable at spaces, or at the colon of a URL.
    """
    if not given:
        listed = os.environ.get(ENVIRONMENT["data"], "")
        given = [part for part in re.split(rf"{re.escape(os.pathsep)}(?!//)", listed) if part]
    return tuple(map(parse_location, given))


def from_config(config: type, choices: Mapping[str, Sequence[str]]) -> list[inspect.Parameter]:
    """Return one Typer option per field, in the order of the fields, and hidden earlier names.

    Args:
        config: a dataclass whose fields were made with `celebattr.options.option`.
        choices: values by field name, for those that a table elsewhere lists.
    """
    hints = typing.get_type_hints(config)
    parameters = []
    for field in dataclasses.fields(config):
        said, kind, default = field.metadata, hints[field.name], field.default
        listed = choices.get(field.name) or said["choices"]
        if typing.get_origin(kind) is tuple:
            kind, default = list[str], []
        elif Path in (kind, *typing.get_args(kind)) or str in typing.get_args(kind):
            kind = str | None  # a Path would lose a slash of a URL
        plain = (typing.get_args(kind) or (kind,))[0]
        usual = "NAME" if not listed else field.name.upper()
        shown = f"${ENVIRONMENT[field.name]}" if field.name in ENVIRONMENT else said["shown"]
        names = [flag(field.name)]
        if kind is bool and default:
            names = [f"{names[0]}/--no-{names[0][2:]}"]
        option = typer.Option(
            *names,
            *([SHORT[field.name]] if field.name in SHORT else []),
            help=said["help"].replace("{choices}", ", ".join(listed)),
            metavar=said["metavar"] or _METAVARS.get(plain, usual),
            show_default=shown or default not in (None, []),
            rich_help_panel=said["panel"],
        )
        parameters.append(_parameter(field.name, kind, default, option))
        if said["was"]:
            old = typer.Option(
                said["was"],
                hidden=True,
                help=f"Earlier name of {names[0]}.",
                rich_help_panel=said["panel"],
            )
            parameters.append(_parameter(_earlier(field.name), str | None, None, old))
    return parameters


def _earlier(name: str) -> str:
    return f"earlier_{name}"


def _parameter(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=Annotated[kind, option])


def command(
    *panels: str, **choices: Sequence[str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a function: a parameter that is a config becomes the options of its fields.

    Args:
        panels: groups of options that come first on the help page, in this order.
        choices: values by field name, for those that a table elsewhere lists.
    """

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        given = inspect.signature(function, eval_str=True).parameters.values()
        configs: dict[str, Any] = {
            p.name: p.annotation for p in given if dataclasses.is_dataclass(p.annotation)
        }
        options: list[inspect.Parameter] = []
        for parameter in given:
            if parameter.name in configs:
                options += from_config(configs[parameter.name], choices)
            else:
                options.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        places = dict(zip(panels, range(-len(panels), 0), strict=True))
        options.sort(key=lambda p: places.get(p.annotation.__metadata__[0].rich_help_panel, 0))

        def run(**values: Any) -> None:
            built = {name: _build(config, values) for name, config in configs.items()}
            function(**values, **built)

        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        # Typer reads the options from the signature, and their types from the annotations.
        run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in options}
        return run

    return wrap


def _build(config: Callable[..., Any], values: dict[str, Any]) -> Any:
    """Take the options of a config out of `values`, and make it."""
    taken = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        taken[field.name] = values.pop(field.name)
        earlier = values.pop(_earlier(field.name), None)
        if earlier is not None:
            taken[field.name] = earlier
    if "data" in taken:
        taken["data"] = data_sets(taken["data"])
    return from_keywords(config, taken)
