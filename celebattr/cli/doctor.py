"""`celebattr doctor`, with and without --labels."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from celebattr.cli.options import command, format_option, known_format, progress_bar
from celebattr.diagnosis.config import DoctorConfig
from celebattr.errors import ExitCode, UsageError, counted, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from celebattr.diagnosis.labels.report import LabelReport
    from celebattr.diagnosis.report import DoctorReport, Finding

FORMATS = ("text", "json")

_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}


@command()
def doctor(
    *,
    config: DoctorConfig,
    format: Annotated[str, format_option(FORMATS, True)] = "text",
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            hidden=True,
            help="Earlier name of --format json.",
            rich_help_panel="Output",
        ),
    ] = False,
) -> None:
    """Check a data set, or search it for wrong labels.

    Exit code 3: training would fail. Warnings do not stop training.

    Examples:
        $ celebattr doctor --data celeba/
        $ celebattr doctor --data celeba/ --labels --report suspects.html
    """
    known_format(format, FORMATS)
    as_json = json or format == "json"
    if not config.data:
        raise UsageError("no data: give --data DIR or set CELEBATTR_DATA")
    from rich.console import Console

    if config.labels:
        from celebattr.diagnosis.labels.report import to_json
        from celebattr.diagnosis.labels.search import search

        with progress_bar("scoring") as show:
            found = search(config, show)
        sys.stdout.write(to_json(found)) if as_json else _print_labels(found, Console())
        return
    from celebattr.diagnosis.examine import examine

    with progress_bar("opening images") as show:
        report = examine(config, show)
    sys.stdout.write(report.to_json()) if as_json else _print_report(report, Console())
    if not report.trains:
        raise typer.Exit(ExitCode.DATA)


def _print_report(report: DoctorReport, console: Console) -> None:
    """Print each folder's splits and findings, most severe first, then the verdict."""
    from rich.text import Text

    ascii_only = console.options.ascii_only
    for folder in report.folders:
        title = Text(printable(folder.path, ascii_only=ascii_only), style="bold")
        title.append(f"  {folder.layout or 'cannot be read'}", style="not bold")
        console.print(title)
        for split in folder.splits:
            people = f", {counted(split.people, 'person', 'people')}" if split.people else ""
            console.print(Text(f"  {split.split:<10}{counted(split.images, 'image'):>16}{people}"))
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
    opened = f"; {counted(report.images_opened, 'image')} opened" if report.images_opened else ""
    return f"{verdict}: {', '.join(counts) or 'nothing to remark'}{opened}."


_WIDE = 100
"""Columns of a terminal from which three splits and their intervals fit."""

_FIRST = 10  # suspects that are shown


def _print_labels(report: LabelReport, console: Console) -> None:
    """Print the summary, error rates by attribute, the first suspects, and the caveats."""
    from rich.text import Text

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
    from celebattr.cli.tables import percentage

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
