"""`celebattr evaluate`."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.options import OutputFile, command, format_option, known_format
from celebattr.errors import MissingExtraError, UsageError
from celebattr.evaluation.config import EvaluateConfig
from celebattr.evaluation.report import EvalReport
from celebattr.options import Location, Url

FORMATS = ("table", "json", "csv", "markdown")

_EXAMPLES = 12  # of each kind on the page, where nothing else is asked for


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
    if write_card and config.weights is None:
        raise UsageError("--write-card changes a bundle: name it with --weights")
    from celebattr.evaluation import writers as reports
    from celebattr.io.files import check_target, write_text

    check_target(output, page)

    if output is not None and format is None:
        format = reports.format_of(output)
    try:
        from celebattr.evaluation.evaluate import evaluate as run

        if page is not None:
            config = _with_page(config, page)
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    from rich.console import Console
    from rich.progress import Progress

    with Progress(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("evaluating", total=None)
        report = run(config, lambda done, total: bar.update(task, completed=done, total=total))
    if write_card:
        from celebattr import weights
        from celebattr.evaluation.model_card import record

        record(weights.bundle_file(config.weights), report)
    if page is not None:
        write_text(page, _page(report, config))

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


def _with_page(config: EvaluateConfig, page: Path) -> EvaluateConfig:
    """Return the config with everything that the page shows turned on.

    Raises:
        ModuleNotFoundError: what makes the page is not installed; better now than after the work.
    """
    import celebattr.evaluation.html  # noqa: F401

    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {page}: the page is HTML, so name it FILE.html")
    if config.examples is None:
        config = dataclasses.replace(config, examples=_EXAMPLES)
    return dataclasses.replace(config, curves=True)


def _name(place: Location) -> str:
    return place.name if isinstance(place, Url) else place.resolve().name


def _page(report: EvalReport, config: EvaluateConfig) -> str:
    """Return the text of the page."""
    from celebattr import weights
    from celebattr.cli.info import made
    from celebattr.evaluation import html
    from celebattr.models import bundle

    # Names of folders, not paths: a page may be passed on.
    data = ", ".join(_name(path) for path in config.data)
    card = bundle.card_of(weights.bundle_file(config.weights))
    return html.page(report, json.loads(card.to_json()), made(data))
