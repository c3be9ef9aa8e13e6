"""The program `celebattr`: its commands, and the one place that turns errors into exit codes."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from celebattr import __version__
from celebattr.errors import CelebattrError, ExitCode

COMMANDS = ("predict", "merge", "train", "evaluate", "export", "pack", "align", "doctor", "info")
"""Commands: each is a function in the module of its name."""


class Command(typer.core.TyperCommand):
    """A command with a compact help page."""

    def make_context(
        self, info_name: Any, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Refuse an option of one value that is given twice: the last would win in silence."""
        single = {
            name: parameter
            for parameter in self.params
            if parameter.param_type_name == "option"
            and not getattr(parameter, "multiple", False)
            and not getattr(parameter, "is_flag", False)
            for name in parameter.opts
        }
        given: set[str] = set()
        words = iter(args)
        for word in words:
            if word == "--":
                break
            name, equals, _ = word.partition("=")
            option = single.get(name)
            if option is None:
                continue
            if not equals:
                next(words, None)  # its value, which may look like an option
            if option.name in given:
                typer.echo(f"celebattr: {name} is given twice, and takes one value", err=True)
                sys.exit(ExitCode.USAGE)
            given.add(str(option.name))
        return super().make_context(info_name, args, parent, **extra)

    def get_help_option(self, ctx: Any) -> Any:
        """Return --help, in the last group of options."""
        option: Any = super().get_help_option(ctx)
        option.metavar = ""
        option.rich_help_panel = getattr(self.params[-1], "rich_help_panel", None)
        return option

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help page."""
        from typer import rich_utils  # loads Rich: only here

        # Of the seven columns most are empty: two spaces for each would be too wide.
        rich_utils.STYLE_OPTIONS_TABLE_PADDING = (0, 1, 0, 0)  # type: ignore[assignment]
        super().format_help(ctx, formatter)


class Commands(typer.core.TyperGroup):
    """A command group that imports only the command that runs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: Any = dict.fromkeys(COMMANDS)
        self.commands = names  # of a mistyped command, typer suggests one of these

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"celebattr.cli.{cmd_name}"), cmd_name)
        text, _, examples = (inspect.getdoc(command) or "").partition("\n\nExamples:\n")
        # Typer would keep the line breaks of a docstring: one line per paragraph instead.
        paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
        epilog = "\n".join(["Examples:", *map(str.strip, examples.splitlines())])
        # A Typer of its own: several commands in one would all have to be imported.
        alone = typer.Typer(add_completion=False, **SETTINGS)
        alone.command(cmd_name, cls=Command, help="\n\n".join(paragraphs), epilog=epilog)(
            guard(command)
        )
        return typer.main.get_command(alone)


SETTINGS: dict[str, Any] = {
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,
}

app = typer.Typer(
    name="celebattr",
    cls=Commands,
    help="Tells which of CelebA's 40 face attributes a photo shows.",
    no_args_is_help=True,
    **SETTINGS,
)


def guard(command: Callable[..., None]) -> Callable[..., None]:
    """End a command that raised with its exit code and one message; bugs keep their traceback."""

    @functools.wraps(command)
    def guarded(**values: Any) -> None:
        try:
            command(**values)
            sys.stdout.flush()
        except CelebattrError as error:
            typer.echo(f"celebattr: {error}", err=True)
            _settle_stdout()
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            _settle_stdout()  # whoever read our output has seen enough
            raise typer.Exit(ExitCode.OK) from None
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):  # the terminal may be closed
                typer.echo("celebattr: interrupted", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None

    return guarded


def _settle_stdout() -> None:
    """Send buffered output to /dev/null where stdout is closed: Python flushes at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"celebattr {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log more to standard error.")
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


def main() -> None:
    """Run the program and exit with the code that `celebattr.errors` gives."""
    app()
