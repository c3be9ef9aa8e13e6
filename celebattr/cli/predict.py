"""`celebattr predict`."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Self, TextIO

import typer

from celebattr.cli.options import OutputPlace, Quiet, ShowProgress, command
from celebattr.cli.streams import say
from celebattr.errors import ExitCode, counted
from celebattr.inference.config import PredictConfig, ScoreOptions
from celebattr.inference.run import Summary, failures, score
from celebattr.predictions import NO_FACE

if TYPE_CHECKING:
    from rich.status import Status

    from celebattr.inference.output.sinks import Output

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        help="Photos, folders, globs, archives (zip, tar), lists (CSV, Parquet), or - for standard "
        "input: paths, or one image.",
    ),
]


@command("Input", "Output")
def predict(
    *,
    paths: Paths,
    output: OutputPlace = None,
    options: ScoreOptions,
    progress: ShowProgress = None,
    quiet: Quiet = False,
    config: PredictConfig,
) -> None:
    """Predict the face attributes that photos show.

    One row per face, or one row per input that says why there is none. --output is written to
    NAME.part and renamed when complete. Exit code 6: some inputs failed.

    Examples:
        $ celebattr predict photo.jpg
        $ celebattr predict photos/ --output rows.csv --resume
        $ celebattr predict inbox/ --output rows.csv --append
        $ celebattr predict group.jpg --faces all --annotate drawn/
        $ find . -name '*.jpg' -print0 | celebattr predict - --null --format csv
    """
    format = options.format
    target: str | TextIO | Output = sys.stdout if output is None else output
    if output is None and config.engine == "local":
        format = format or ("table" if sys.stdout.isatty() else "jsonl")
        if format == "table":
            from celebattr.cli.tables import Tables

            target = Tables()
    options = dataclasses.replace(options, format=format)
    notice = (lambda text: None) if quiet else say
    live = sys.stderr.isatty() and not quiet  # a log file gets no line that moves
    if progress is None:
        live &= output is not None or not sys.stdout.isatty()  # which shows the rows themselves
    with _Progress(live and progress is not False, config.strict) as show:
        done = score(paths, target, config, options, notice=notice, on_progress=show)
    if done.complete:
        say(f"{output} is complete already")
    if not quiet and format != "table" and (done.counts["inputs"] > 1 or not done.counts["ok"]):
        say(_told(done, output or "standard output"))
    if done.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _told(done: Summary, where: str) -> str:
    """One line: how many inputs, how fast, and which failures."""
    text = f"{counted(done.counts['inputs'], 'input')}, {counted(done.counts['ok'], 'face')}"
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
    """A live count on standard error."""

    def __init__(self, shown: bool, strict: bool) -> None:
        self.shown, self.strict = shown, strict
        self.status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, counts: Counter[str]) -> None:
        """Show the counts so far."""
        if not self.shown:
            return
        if self.status is None:  # not before: notices come first
            from rich.console import Console

            self.status = Console(stderr=True).status("starting")
            self.status.start()
            self.started, self.first = time.monotonic(), counts["inputs"] - 1
        failed = failures(counts, strict=self.strict)
        speed = (counts["inputs"] - self.first) / max(time.monotonic() - self.started, 1e-9)
        inputs = counted(counts["inputs"], "input")
        text = f"{inputs}, {failed:,} failed, {speed:.1f} inputs/s"
        self.status.update(text)

    def __exit__(self, *error: object) -> None:
        if self.status is not None:
            self.status.stop()
