"""`celebattr predict`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TextIO

import typer

from celebattr.cli.options import command, format_option, known_format
from celebattr.errors import ExitCode, TooManyFailuresError, UsageError
from celebattr.inference.config import PredictConfig
from celebattr.inference.run import ScoreOptions, Summary, failures, score
from celebattr.predictions import NO_FACE

if TYPE_CHECKING:
    from rich.status import Status

    from celebattr.inference.output.sinks import Output


FORMATS = ("table", "json", "jsonl", "csv", "parquet")


@command(PredictConfig)
def predict(
    config: PredictConfig,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Photos, folders (searched throughout), globs, archives (zip, tar), lists (CSV, "
            "Parquet), or - for standard input: a list of paths, or one image.",
        ),
    ],
    format: Annotated[
        str | None, format_option(FORMATS, "table on a terminal, jsonl in a pipe")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to a file; its suffix tells the format. With --engine ray, a folder or a "
            "URL for the parts, in Parquet.",
        ),
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write each photo there, with boxes and present attributes drawn on it.",
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="With --annotate: also a heat map of where the network sees each of these "
            "attributes, for example Smiling,Eyeglasses. Needs a .safetensors bundle, and torch.",
        ),
    ] = None,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="Paths on standard input end in NUL, not newline.")
    ] = False,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="PATH is a CSV or Parquet file, with the photos in this column.",
            show_default="of a CSV or Parquet file: image, path or the like",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an --output that was not finished.")
    ] = False,
    shard: Annotated[
        str,
        typer.Option(metavar="i/N", help="Score every N-th input only, beginning with the i-th."),
    ] = "1/1",
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first input that fails.")
    ] = False,
    max_failures: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Stop when more inputs than this failed.")
    ] = None,
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="A live count on standard error.",
            show_default="on a terminal",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no summary on standard error.")
    ] = False,
) -> None:
    """Tell which attributes the faces in some photos show.

    Each input gives one row a face, or one row that says why there is none. The program ends with
    0, or with 6 if some inputs failed; a photo without a face has not. An --output grows as
    NAME.part and has its name once it is complete; cut off, it is gone on with by the same command
    and --resume.
    """
    known_format(format, FORMATS)
    if output is None and config.engine == "local":
        format = format or ("table" if sys.stdout.isatty() else "jsonl")
    target: str | TextIO | Output = sys.stdout if output is None else output
    if format == "table" and config.engine == "local":
        if output is not None:
            raise UsageError("--format table is for the terminal: --output takes a file's format")
        from celebattr.cli.tables import Tables

        target = Tables()
    options = ScoreOptions(
        format=format,
        annotate=annotate,
        explain=explain,
        null=null,
        column=column,
        resume=resume,
        shard=shard,
        max_failures=0 if fail_fast else max_failures,
    )
    notice = (lambda text: None) if quiet else partial(typer.echo, err=True)
    try:
        with _Progress(progress, quiet, config.strict) as show:
            done = score(paths, target, config, options, notice=notice, on_progress=show)
    except TooManyFailuresError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_code) from error
    if done.complete:
        typer.echo(f"{output} is complete already", err=True)
    if not quiet and format != "table" and (done.counts["inputs"] > 1 or not done.counts["ok"]):
        typer.echo(_told(done, output or "standard output"), err=True)
    if done.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _told(done: Summary, where: str) -> str:
    """One line: how many inputs, how fast, and which failures."""
    text = f"{done.counts['inputs']:,} inputs, {done.counts['ok']:,} faces"
    if done.seconds:
        text += f", {done.scored / done.seconds:.1f} inputs/s"
    if done.counts[NO_FACE] and not done.strict:
        text += f"; {done.counts[NO_FACE]:,} without a face"
    if done.failed:
        answers = ("inputs", "ok") if done.strict else ("inputs", "ok", NO_FACE)
        each = sorted((k, n) for k, n in done.counts.items() if k not in answers)
        reasons = ", ".join(f"{n:,} {k}" for k, n in each if n)
        text += f"; {done.failed:,} failed ({reasons}), see their rows in {where}"
    return text


class _Progress:
    """A live count on standard error, on a terminal that does not show the rows themselves."""

    def __init__(self, wanted: bool | None, quiet: bool, strict: bool) -> None:
        self.strict = strict
        alone = sys.stderr.isatty() and not sys.stdout.isatty() and not quiet
        self.shown = alone if wanted is None else wanted
        self.status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, counts: Counter[str]) -> None:
        """Shows the counts so far."""
        if not self.shown:
            return
        if self.status is None:  # not before: notices come first
            from rich.console import Console

            self.status = Console(stderr=True).status("starting")
            self.status.start()
            self.started, self.first = time.monotonic(), counts["inputs"] - 1
        failed = failures(counts, strict=self.strict)
        speed = (counts["inputs"] - self.first) / max(time.monotonic() - self.started, 1e-9)
        text = f"{counts['inputs']:,} inputs, {failed:,} failed, {speed:.1f} inputs/s"
        self.status.update(text)

    def __exit__(self, *error: object) -> None:
        if self.status is not None:
            self.status.stop()
