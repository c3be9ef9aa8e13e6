"""`celebattr predict`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celebattr.cli.options import command, format_option, known_format
from celebattr.errors import DataError, ExitCode, UsageError
from celebattr.inference.config import PredictConfig
from celebattr.inference.output.sinks import Growing, Output, Text, complete

if TYPE_CHECKING:
    from collections.abc import Callable


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
    0, or with 6 if some inputs failed. An --output grows as NAME.part and has its name once it is
    complete; cut off, it is gone on with by the same command and --resume.
    """
    known_format(format, FORMATS)
    limit = 0 if fail_fast else max_failures
    if config.engine == "ray":
        alone = {"--shard": shard != "1/1", "--annotate": annotate, "--explain": explain}
        given = [name for name, value in alone.items() if value]
        if given or format not in (None, "parquet") or output is None:
            raise UsageError(
                f"--engine ray does not go with {given[0]}"
                if given
                else "--engine ray writes Parquet into a folder: name it with --output"
            )
        _on_ray(config, paths, output, null, column, resume, limit, progress, quiet)
        return
    if explain is not None and annotate is None:
        raise UsageError("--explain draws pictures: say where with --annotate DIR")
    from celebattr.inference.output.journal import FORMATS_THAT_GROW
    from celebattr.inference.output.writers import format_of
    from celebattr.inference.scorer import Scorer

    target = None if output is None else Path(output)
    if target is not None:
        format = format or format_of(target)
    format = format or ("table" if sys.stdout.isatty() else "jsonl")
    if output is not None and format == "table":
        raise UsageError("--format table is for the terminal: --output takes a file's format")
    if output is None and format == "parquet":
        raise UsageError("--format parquet is for a file: give --output")
    # What is no regular file, a pipe for instance, is written like standard output.
    file = target if target is not None and (not target.exists() or target.is_file()) else None
    grows = file is not None and format in FORMATS_THAT_GROW
    if resume and not grows:
        raise UsageError("--resume goes on with an --output in jsonl, csv or parquet")
    started = time.monotonic()
    with Scorer(config) as scorer:
        from celebattr.inference.inputs.expand import expand
        from celebattr.inference.output.manifest import Run, Shard

        share = Shard.parse(shard)
        facts = scorer.facts
        if facts.never_present and not quiet:
            typer.echo(
                f"{config.operating_point} is out of reach for "
                f"{', '.join(facts.never_present)}: never reported as present",
                err=True,
            )
        pictures = None
        if annotate is not None:
            from celebattr.inference.draw.pictures import Pictures

            pictures = Pictures(annotate, explain, config.bundle)
        out: Output
        if grows:
            assert file is not None
            run = Run.of(facts, config, format, share)
            if resume and (counts := complete(file, run)) is not None:
                typer.echo(f"{file} is complete already", err=True)
                _end(counts, 0, 0.0, quiet=quiet, where=str(file))
                return
            out = Growing(file, facts.attributes, run, resume=resume, quiet=quiet)
        elif format == "table":
            from celebattr.cli.tables import Tables

            out = Tables()
        else:
            out = Text(target, facts.attributes, format)
        allow = config.allow_protocol
        inputs = share.take(expand(paths, null=null, column=column, allow=allow))
        with out, _Progress(progress, quiet) as show:
            out.skip(item.path for item in inputs)
            before = out.counts["inputs"]
            for item, results in scorer.stream(inputs, keep_data=pictures is not None):
                out.write(results)
                if pictures is not None:
                    pictures.write(item, results)
                show(out.counts)
                _stop_after(limit, out.counts)
            if not share.inputs:
                raise DataError(f"no images in {', '.join(paths)}")
            out.finish(share)
    seconds = time.monotonic() - started
    where = "" if format == "table" else str(output or "standard output")
    _end(out.counts, out.counts["inputs"] - before, seconds, quiet=quiet, where=where)


def _on_ray(
    config: PredictConfig,
    paths: list[str],
    output: str,
    null: bool,
    column: str | None,
    resume: bool,
    limit: int | None,
    progress: bool | None,
    quiet: bool,
) -> None:
    """Score on a Ray cluster, into a folder of Parquet parts."""
    from celebattr.inference.inputs.expand import expand
    from celebattr.inference.ray import plan
    from celebattr.inference.ray.run import score_into_folder

    started = time.monotonic()
    with _Progress(progress, quiet) as show:

        def watch(counts: Counter[str]) -> None:
            show(counts)
            _stop_after(limit, counts)

        counts = score_into_folder(
            config,
            lambda: expand(
                paths,
                null=null,
                column=column,
                archive=plan.archive,
                allow=config.allow_protocol,
            ),
            output,
            resume=resume,
            show=watch,
        )
    seconds = time.monotonic() - started
    _end(counts, counts["inputs"], seconds, quiet=quiet, where=output)


def _failed(counts: Counter[str]) -> int:
    return counts.total() - counts["inputs"] - counts["ok"]


def _stop_after(limit: int | None, counts: Counter[str]) -> None:
    """End the run when more inputs have failed than allowed."""
    failed = _failed(counts)
    if limit is not None and failed > limit:
        typer.echo(f"stopped after {failed:,} failures", err=True)
        raise typer.Exit(ExitCode.SOME_FAILED)


def _end(counts: Counter[str], now: int, seconds: float, *, quiet: bool, where: str) -> None:
    """Print a summary, and exit with 6 if some inputs failed."""
    failed = _failed(counts)
    if not quiet and where and (counts["inputs"] > 1 or failed):
        text = f"{counts['inputs']:,} inputs, {counts['ok']:,} faces"
        if seconds:
            text += f", {now / seconds:.1f} inputs/s"
        if failed:
            each = sorted((k, n) for k, n in counts.items() if k not in ("inputs", "ok"))
            reasons = ", ".join(f"{n:,} {k}" for k, n in each if n)
            text += f"; {failed:,} failed ({reasons}), see their rows in {where}"
        typer.echo(text, err=True)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


class _Progress:
    """A live count on standard error, on a terminal that does not show the rows themselves."""

    def __init__(self, wanted: bool | None, quiet: bool) -> None:
        alone = sys.stderr.isatty() and not sys.stdout.isatty() and not quiet
        self.shown = alone if wanted is None else wanted

    def __enter__(self) -> Callable[[Counter[str]], None]:
        if not self.shown:
            return lambda counts: None
        from rich.console import Console

        self.status = Console(stderr=True).status("starting")
        self.status.start()
        started = time.monotonic()
        first: int | None = None

        def update(counts: Counter[str]) -> None:
            nonlocal first
            first = counts["inputs"] - 1 if first is None else first
            speed = (counts["inputs"] - first) / max(time.monotonic() - started, 1e-9)
            self.status.update(
                f"{counts['inputs']:,} inputs, {_failed(counts):,} failed, {speed:.1f} inputs/s"
            )

        return update

    def __exit__(self, *error: object) -> None:
        if self.shown:
            self.status.stop()
