"""`celebattr doctor --labels`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from celebattr.doctor.config import DoctorConfig
from celebattr.errors import MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from celebattr.doctor.labels.report import LabelReport

_WIDE = 100
"""Columns of a terminal from which three splits and their intervals fit."""

_FIRST = 10  # suspects that are shown


def _search_labels(config: DoctorConfig, *, json: bool, output: Path | None, sheet: Path | None) -> None:
    """Prints which labels are likely wrong; writes them to files where asked for.

    Raises:
        UsageError: `output` has neither of the suffixes .csv and .json.
        DataError: the data cannot be read, or a file not be written.
        MissingExtraError: a sheet needs Jinja2, a safetensors bundle torch.
    """
    from rich.console import Console
    from rich.progress import Progress

    from celebattr.doctor.labels import writers as reports
    from celebattr.io.files import check_target, write_text
    from celebattr.options import format_of_suffix

    check_target(output, sheet)
    suffixes = {suffix: suffix for suffix in reports.FORMATS}
    format = None if output is None else format_of_suffix(output, suffixes)
    render = None if sheet is None else _renderer()
    from celebattr.doctor.labels.search import search

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
    """What makes the sheet; asked for before any work is done."""
    try:
        from celebattr.reports import page as _  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    from celebattr.cli.info import made
    from celebattr.doctor.labels.writers import page

    return lambda report: page(report, made(report.data))


def _print_labels(report: LabelReport, console: Console) -> None:
    """What was found, error rates by attribute, the first suspects, and how far to believe it."""
    from rich.text import Text

    from celebattr.cli.tables import printable
    from celebattr.doctor.labels.writers import headline, table

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
    """The first suspects of all attributes together."""
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
    """Names at the left, figures at the right."""
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
