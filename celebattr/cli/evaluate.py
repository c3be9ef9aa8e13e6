"""`celebattr evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.options import OutputFile, command, format_option, known_format
from celebattr.errors import UsageError
from celebattr.evaluation.config import EvaluateConfig

FORMATS = ("table", "json", "csv", "markdown")


@command(EvaluateConfig)
def evaluate(
    config: EvaluateConfig,
    format: Annotated[
        str | None, format_option(FORMATS, "table on a terminal, json in a pipe")
    ] = None,
    output: OutputFile = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            help="Also write all figures, charts and the images it gets most wrong as one HTML "
            "page that needs no network.",
        ),
    ] = None,
    write_card: Annotated[
        bool,
        typer.Option("--write-card", help="Also write the figures into the bundle's own card."),
    ] = False,
) -> None:
    """Measure a bundle on a labelled split, attribute by attribute.

    Mean attribute accuracy is the number of the papers; beside it stands its floor, what always
    answering the more frequent value would get.
    """
    if not config.data:
        raise UsageError("no data: give --data DIR or set CELEBATTR_DATA")
    known_format(format, FORMATS)
    from celebattr.evaluation import writers as reports
    from celebattr.evaluation.run import run
    from celebattr.io.files import check_target, write_text

    check_target(output, page)
    if output is not None and format is None:
        format = reports.format_of(output)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("evaluating", total=None)
        report = run(
            config,
            page=page,
            write_card=write_card,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    format = format or ("table" if sys.stdout.isatty() else "json")
    if format == "table":
        from celebattr.cli.tables import evaluation_table

        if output is not None:
            raise UsageError("--format table is for the terminal: --output takes json, csv, md")
        Console().print(evaluation_table(report))
    elif output is None:
        sys.stdout.write(reports.render(report, format))
    else:
        write_text(output, reports.render(report, format))
