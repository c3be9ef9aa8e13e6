"""The program `celebattr`: its commands, and the one place that turns errors into exit codes."""

from __future__ import annotations

import contextlib
import errno
import importlib
import inspect
import logging
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from celebattr import __version__
from celebattr.cli.streams import Escaped, say
from celebattr.constants import IMAGE_SUFFIXES
from celebattr.errors import CelebattrError, ExitCode, UsageError, printable

COMMANDS = (
    "predict",
    "merge",
    "train",
    "evaluate",
    "calibrate",
    "export",
    "download",
    "pack",
    "align",
    "doctor",
    "info",
    "demo",
)
"""Commands: each is a function in the module of its name."""

DISK = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS)
"""Failures of a disk, which may end any command and are no bug."""


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
            name, attached, _ = word.partition("=")
            if word[:1] == "-" != word[1:2]:  # letters, the last one's value may follow: -qwNAME
                at = next((i for i, c in enumerate(word) if f"-{c}" in single), len(word) - 1)
                name, attached = f"-{word[at]}", word[at + 1 :]
            option = single.get(name)
            if option is None:
                continue
            if not attached:
                next(words, None)  # its value, which may look like an option
            chosen = str(option.name).removeprefix("earlier_")
            if chosen in given:
                raise UsageError(f"{name} is given twice, and takes one value")
            given.add(chosen)
        # Help comes before the callback of an option, which may read a file that is not there.
        args = sorted(args, key=lambda word: word not in ("--help", "-h"))
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

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run a command line; `python -m celebattr` has the same name, for shell completion."""
        with ending():
            return super().main(*arguments, **settings | {"prog_name": "celebattr"})

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Read the options before the command."""
        with ending():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what ends it is handled before Typer sees it."""
        with ending():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command; to a photo in its place the answer is the one that takes it."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and _is_photo(args[0]):
            words = shlex.join(["celebattr", "predict", *args])
            raise UsageError(f"no command {args[0]!r}. Did you mean: {words}")
        return super().resolve_command(ctx, args)

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
        alone.command(cmd_name, cls=Command, help="\n\n".join(paragraphs), epilog=epilog)(command)
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


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Turn what ends a command into its exit code and one message; bugs keep their traceback."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, where a full disk can still be told
    except CelebattrError as error:
        say(f"celebattr: {error}")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(ExitCode.OK)  # whoever read our output has seen enough
    except MemoryError:
        say("celebattr: out of memory: free some, or give fewer --workers, a smaller --batch-size")
        sys.exit(ExitCode.DEVICE)
    except KeyboardInterrupt:
        say("celebattr: interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK:
            from celebattr.io.files import output_error

            failed = output_error(error.filename or "a file", error)
            say(f"celebattr: {failed}")
            sys.exit(failed.exit_code)
        if hasattr(error, "message"):  # Typer's, which prints it
            error.message = printable(str(error.message))
        raise


def _is_photo(word: str) -> bool:
    return "://" in word or Path(word).suffix.lower() in IMAGE_SUFFIXES or Path(word).exists()


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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Escaped("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])


def main() -> None:
    """Run the program and exit with the code that `celebattr.errors` gives."""
    app()
