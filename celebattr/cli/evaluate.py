"""`celebattr evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.options import (
    OutputFile,
    command,
    format_option,
    known_format,
    progress_bar,
)
from celebattr.cli.streams import say
from celebattr.errors import UsageError
from celebattr.evaluation.config import MEASURES, EvaluateConfig
from celebattr.options import DECISIONS

FORMATS = ("table", "json", "csv", "markdown")


@command("Data", DECISIONS, MEASURES)
def evaluate(
    *,
    output: OutputFile = None,
    format: Annotated[str | None, format_option(FORMATS, "table, or json in a pipe")] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Also write an HTML page with charts and images.",
            rich_help_panel="Output",
        ),
    ] = None,
    write_card: Annotated[
        bool,
        typer.Option(
            "--write-card",
            metavar="",
            help="Also write the metrics into the bundle's card.",
            rich_help_panel="Output",
        ),
    ] = False,
    config: EvaluateConfig,
) -> None:
    """Measure a bundle on a labelled split, attribute by attribute.

    Compare the mean attribute accuracy with its majority baseline.

    Examples:
        $ celebattr evaluate --data celeba/ --report report.html
        $ celebattr evaluate --data celeba/ --weights runs/b --against runs/a
        $ celebattr evaluate --data celeba/ --slices Male,Young --corrupt all
    """
    if not config.data:
        raise UsageError("no data: give --data DIR or set CELEBATTR_DATA")
    known_format(format, FORMATS)
    from celebattr.evaluation import writers as reports
    from celebattr.evaluation.run import run
    from celebattr.io.files import check_target, write_text

    check_target(output, page, overwrite=config.overwrite)
    if output is not None and format is None:
        format = reports.format_of(output)
    with progress_bar("evaluating") as show:
        report = run(
            config,
            page=page,
            write_card=write_card,
            on_progress=show,
            notice=say,
        )
    format = format or ("table" if sys.stdout.isatty() else "json")
    if format == "table":
        from rich.console import Console

        from celebattr.cli.tables import evaluation_table

        if output is not None:
            raise UsageError("--format table is for the terminal: --output takes json, csv, md")
        Console().print(evaluation_table(report))
    elif output is None:
        sys.stdout.write(reports.render(report, format))
    else:
        write_text(output, reports.render(report, format))
