"""`celebattr doctor`, with and without --labels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celebattr.cli.options import OutputFile, command
from celebattr.diagnosis.config import DoctorConfig
from celebattr.errors import ExitCode, MissingExtraError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from celebattr.diagnosis.labels.report import LabelReport
    from celebattr.diagnosis.report import DoctorReport, Finding

SCHEMA = 1
"""Version of the keys that --json prints."""

_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}


@command(DoctorConfig)
def doctor(
    config: DoctorConfig,
    json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON, for programs.")
    ] = False,
    output: OutputFile = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet", metavar="FILE", help="--labels: write the first suspects as an HTML page."
        ),
    ] = None,
) -> None:
    """Say what is wrong with a data set, and what to do about it.

    Ends with exit code 3 if training on it would fail, else with 0. Warnings do not stop training,
    but its figures may not be what they seem.

    With --labels it names labels that are likely wrong instead; --output takes .csv or .json.
    """
    if not config.data:
        raise UsageError("no data: give --data DIR or set CELEBATTR_DATA")
    if config.labels:
        _search_labels(config, json=json, output=output, sheet=sheet)
        return
    if output is not None or sheet is not None:
        raise UsageError("--output and --sheet are for the search for wrong labels: add --labels")
    from rich.console import Console
    from rich.progress import Progress

    from celebattr.diagnosis.examine import examine

    with Progress(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("opening images", total=None)
        report = examine(config, lambda done, total: bar.update(task, completed=done, total=total))
    if json:
        _print_json(report)
    else:
        _print_report(report, Console())
    if not report.trains:
        raise typer.Exit(ExitCode.DATA)


def _print_json(report: DoctorReport) -> None:
    import dataclasses
    import json

    values = {"schema": SCHEMA, "trains": report.trains, **dataclasses.asdict(report)}
    sys.stdout.write(json.dumps(values, indent=2) + "\n")


def _print_report(report: DoctorReport, console: Console) -> None:
    """Print each folder's splits and findings, the gravest first, then the verdict."""
    from rich.text import Text

    from celebattr.cli.tables import printable

    ascii_only = console.options.ascii_only
    for folder in report.folders:
        title = Text(printable(folder.path, ascii_only=ascii_only), style="bold")
        title.append(f"  {folder.layout or 'cannot be read'}", style="not bold")
        console.print(title)
        for split in folder.splits:
            people = f", {split.people:,} people" if split.people else ""
            console.print(Text(f"  {split.split:<10}{split.images:>9,} images{people}"))
        _print_findings([f for f in report.findings if f.where == folder.path], console)
        console.print()
    paths = {folder.path for folder in report.folders}
    together = [finding for finding in report.findings if finding.where not in paths]
    if together:
        console.print(Text("all folders together", style="bold"))
        _print_findings(together, console)
        console.print()
    console.print(_summary(report))


def _print_findings(findings: list[Finding], console: Console) -> None:
    from celebattr.diagnosis.report import SEVERITIES

    for finding in sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity)):
        if finding.check != "layout":  # it stands above
            _print_finding(finding, console)


def _print_finding(finding: Finding, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from celebattr.cli.tables import printable

    ascii_only = console.options.ascii_only
    text = finding.what
    if finding.examples:
        text += f" ({', '.join(finding.examples)})"
    what = Text(printable(text, ascii_only=ascii_only))
    if finding.remedy:
        arrow = "->" if ascii_only else "→"
        what.append(f"\n{arrow} {printable(finding.remedy, ascii_only=ascii_only)}", style="italic")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9)
    grid.add_column(ratio=1, overflow="fold")
    grid.add_row(Text(f"  {finding.severity}", style=_COLOURS[finding.severity]), what)
    console.print(grid)


def _summary(report: DoctorReport) -> str:
    counts = [
        f"{report.count(severity)} {severity}{'s' if report.count(severity) != 1 else ''}"
        for severity in ("problem", "warning", "note")
        if report.count(severity)
    ]
    verdict = "Training would start" if report.trains else "Training would fail"
    opened = f"; {report.images_opened:,} images opened" if report.images_opened else ""
    return f"{verdict}: {', '.join(counts) or 'nothing to remark'}{opened}."


_WIDE = 100
"""Columns of a terminal from which three splits and their intervals fit."""

_FIRST = 10  # suspects that are shown


def _search_labels(
    config: DoctorConfig, *, json: bool, output: Path | None, sheet: Path | None
) -> None:
    """Print the labels that are likely wrong; write them to files where asked for.

    Raises:
        UsageError: `output` has neither of the suffixes .csv and .json.
        DataError: the data cannot be read, or a file not be written.
        MissingExtraError: a sheet needs Jinja2, a safetensors bundle torch.
    """
    from rich.console import Console
    from rich.progress import Progress

    from celebattr.diagnosis.labels import report as reports
    from celebattr.io.files import check_target, write_text
    from celebattr.options import format_of_suffix

    check_target(output, sheet)
    suffixes = {suffix: suffix for suffix in reports.FORMATS}
    format = None if output is None else format_of_suffix(output, suffixes)
    render = None if sheet is None else _renderer()
    from celebattr.diagnosis.labels.search import search

    with Progress(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("scoring", total=None)
        report = search(
            config,
            lambda done, total: bar.update(task, completed=done, total=total),
            pictures=render is not None,
        )
    if output is not None and format is not None:
        write_text(output, reports.FORMATS[format](report))
    if sheet is not None and render is not None:
        write_text(sheet, render(report))
    if json:
        sys.stdout.write(reports.to_json(report))
    else:
        _print_labels(report, Console())


def _renderer() -> Callable[[LabelReport], str]:
    """Return the function that renders the sheet; fails before any work is done."""
    try:
        import celebattr.reports.page  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    from celebattr.diagnosis.labels.report import page
    from celebattr.reports.formatting import made

    return lambda report: page(report, made(report.data))


def _print_labels(report: LabelReport, console: Console) -> None:
    """Print the summary, error rates by attribute, the first suspects, and the caveats."""
    from rich.text import Text

    from celebattr.cli.tables import printable
    from celebattr.diagnosis.labels.report import headline, table

    ascii_only = console.options.ascii_only
    for name, value in headline(report):
        line = Text(f"{name:<16}", style="dim")
        console.print(line.append(printable(value, ascii_only=ascii_only), style="bold not dim"))
    console.print()
    console.print(
        _table(*table(report, intervals=console.width >= _WIDE or len(report.images) == 1))
    )
    console.print()
    if report.suspects:
        console.print(_suspects(report, console))
        console.print()
    console.print(
        Text("estimated share of wrong labels in percent, 95 % interval in brackets", style="dim")
    )
    for note in report.notes:
        console.print(Text(printable(note, ascii_only=ascii_only), style="dim"))


def _suspects(report: LabelReport, console: Console) -> Table:
    """Return a table of the first suspects of all attributes together."""
    from celebattr.cli.tables import percentage, printable

    rows = [
        [
            printable(one.image, ascii_only=console.options.ascii_only),
            printable(one.attribute, ascii_only=console.options.ascii_only),
            "present" if one.label else "absent",
            percentage(one.probability),
        ]
        for one in report.suspects[:_FIRST]
    ]
    return _table(["most likely wrong", "attribute", "label", "network"], rows)


def _table(titles: list[str], rows: list[list[str]]) -> Table:
    """Return a table with names at the left and figures at the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for title in titles:
        named = title in ("most likely wrong", "attribute", "split", "label")
        table.add_column(
            title, justify="left" if named else "right", no_wrap=True, overflow="ellipsis"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table
