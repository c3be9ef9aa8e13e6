"""`celebattr predict`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celebattr.cli.options import OutputFile, command
from celebattr.config import PredictConfig
from celebattr.errors import DataError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.console import Console

    from celebattr.data.inputs import Input
    from celebattr.reports.writers import Writer
    from celebattr.results import Result

FORMATS = ("table", "json", "jsonl", "csv")


@command(PredictConfig)
def predict(
    config: PredictConfig,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Photos, folders (searched throughout), globs, or - for standard input: "
            "a list of paths, or one image.",
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="|".join(FORMATS),
            help="How to print.",
            show_default="table on a terminal, jsonl in a pipe",
        ),
    ] = None,
    output: OutputFile = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write each photo there, with boxes and present attributes drawn on it.",
        ),
    ] = None,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="Paths on standard input end in NUL, not newline.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no summary on standard error.")
    ] = False,
) -> None:
    """Tell which attributes the faces in some photos show.

    Each input gives one row a face, or one row that says why there is none. The program ends with
    0, or with 6 if some inputs failed.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"--format {format!r} is not one of {', '.join(FORMATS)}")
    from celebattr.data.inputs import expand
    from celebattr.inference.predictor import Predictor
    from celebattr.inference.scoring import score
    from celebattr.reports.writers import format_of

    if output is not None:
        format = format or format_of(output)
        if format == "table":
            raise UsageError("--format table is for the terminal: --output takes json, jsonl, csv")
    format = format or ("table" if sys.stdout.isatty() else "jsonl")
    predictor = Predictor(config)
    if predictor.never_present and not quiet:
        typer.echo(
            f"{config.operating_point} is out of reach for {', '.join(predictor.never_present)}: "
            "never reported as present",
            err=True,
        )
    counts: Counter[str] = Counter()
    started = time.monotonic()
    with _Out(format, output, predictor.attributes) as write, _Progress(quiet) as progress:
        for item, results in score(
            expand(paths, null=null),
            predictor,
            batch_size=config.batch_size,
            workers=config.workers,
        ):
            write(results)
            if annotate is not None:
                _annotate(item, results, annotate)
            counts["photos"] += 1
            counts.update(result.row()["status"] for result in results)
            progress(counts)
    if not counts["photos"]:
        raise DataError(f"no images in {', '.join(paths)}")
    seconds = time.monotonic() - started
    failed = {k: n for k, n in counts.items() if k not in ("photos", "ok")}
    if not quiet and (counts["photos"] > 1 or failed) and format != "table":
        typer.echo(_summary(counts, failed, seconds), err=True)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _summary(counts: Counter[str], failed: dict[str, int], seconds: float) -> str:
    photos = counts["photos"]
    text = f"{photos:,} photos, {counts['ok']:,} faces, {photos / seconds:.1f} photos/s"
    if failed:
        reasons = ", ".join(f"{n} {status}" for status, n in sorted(failed.items()))
        text += f"; {sum(failed.values())} failed ({reasons}), see their rows"
    return text


def _annotate(item: Input, results: list[Result], folder: Path) -> None:
    """Writes the photo with its predictions drawn on it; a failure has nothing to draw."""
    from celebattr.data.images import open_image
    from celebattr.reports.annotate import annotate, output_name, save
    from celebattr.results import Prediction

    predictions = [result for result in results if isinstance(result, Prediction)]
    if predictions:
        image = open_image(item.path if item.data is None else item.data, name=item.path)
        save(annotate(image, predictions), output_name(item.path, folder))


class _Out:
    """Where results go: the terminal as tables, or a writer of `celebattr.reports`."""

    def __init__(self, format: str, output: Path | None, attributes: tuple[str, ...]) -> None:
        self.format, self.output, self.attributes = format, output, attributes
        self.writer: Writer | None = None
        self.console: Console | None = None

    def __enter__(self) -> Callable[[list[Result]], None]:
        if self.format == "table":
            from rich.console import Console

            from celebattr.cli.tables import result_table

            console = self.console = Console()

            def show(results: list[Result]) -> None:
                for result in results:
                    console.print(result_table(result))

            return show
        from celebattr.reports.writers import open_writer

        writer = self.writer = open_writer(self.output or sys.stdout, self.attributes, self.format)

        def put(results: list[Result]) -> None:
            for result in results:
                writer.write(result)
            writer.flush()

        return put

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.writer is not None:
            self.writer.__exit__(kind, error, trace)
        elif self.console is not None and kind is None:
            from celebattr.cli.tables import footnote

            self.console.print(footnote())


class _Progress:
    """A live count on standard error, on a terminal that does not show the rows themselves."""

    def __init__(self, quiet: bool) -> None:
        self.shown = sys.stderr.isatty() and not sys.stdout.isatty() and not quiet

    def __enter__(self) -> Callable[[Counter[str]], None]:
        if not self.shown:
            return lambda counts: None
        from rich.console import Console

        self.status = Console(stderr=True).status("starting")
        self.status.start()
        started = time.monotonic()

        def update(counts: Counter[str]) -> None:
            speed = counts["photos"] / max(time.monotonic() - started, 1e-9)
            failed = counts.total() - counts["photos"] - counts["ok"]
            self.status.update(
                f"{counts['photos']:,} photos, {failed:,} failed, {speed:.1f} photos/s"
            )

        return update

    def __exit__(self, *error: object) -> None:
        if self.shown:
            self.status.stop()
