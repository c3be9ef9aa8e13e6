"""`celebattr doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celebattr.cli.options import OutputFile, command
from celebattr.doctor.config import DoctorConfig
from celebattr.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from celebattr.doctor.report import DoctorReport, Finding

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

    from celebattr.doctor.examine import examine

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
    """Each folder, its splits and its findings, the gravest first; then whether training starts."""
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
    from celebattr.doctor.report import SEVERITIES

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
