"""Results on a terminal: one compact table per face, and the table of an evaluation.

Everything fits the console's width from 60 columns on, and is plain ASCII where the console's
encoding is not Unicode. Names of files are made printable: none can send codes to the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from celebattr.constants import SURE_SCORE
from celebattr.errors import printable
from celebattr.evaluation.report import MEANS, EvalReport
from celebattr.evaluation.tables import TITLES, Part, counts, parts
from celebattr.evaluation.writers import headline
from celebattr.inference.output.sinks import Output
from celebattr.predictions import Failure, Prediction, Result
from celebattr.reports.formatting import percent

if TYPE_CHECKING:
    from celebattr.inference.output.manifest import Shard

FOOTNOTE = (
    "? uncertain. Attributes are annotators' opinions of a picture, not facts about a person."
)
LOW_SCORE = (
    f"* below {SURE_SCORE}: perhaps no person's face, but an animal's or none (--min-score)."
)

_BAR_WIDTHS = (10, 40)
_ABSENT = 6
"""Attributes named as absent, besides every uncertain one."""

_LARGEST = 10
"""Rows of a table that is sorted by size."""

_NARROW = ("accuracy", "majority_accuracy", "average_precision")
_MEDIUM = ("accuracy", "majority_accuracy", "balanced_accuracy", "f1", "average_precision")
_MEDIUM_WIDTH, _WIDE_WIDTH = 76, 100


def result_table(result: Result) -> RenderableType:
    """Return the table of a face, or the line of a failure."""
    if isinstance(result, Failure):
        return failure_line(result)
    return prediction_table(result)


def failure_line(failure: Failure) -> RenderableType:
    """Return one line: the input, the kind of failure and its reason."""
    return _FailureLine(failure)


def prediction_table(prediction: Prediction) -> RenderableType:
    """Return a face: a bar per present attribute, then the closest absent ones."""
    return _PredictionTable(prediction)


def evaluation_table(report: EvalReport) -> RenderableType:
    """Return the metrics of a split, a row per attribute; fewer columns if narrow."""
    return _EvaluationTable(report)


def footnote() -> RenderableType:
    """Return the legend of the marks; print it once, after the last face."""
    return Text(FOOTNOTE, style="dim")


def percentage(probability: float) -> str:
    """Return a probability as whole percent, never a full 0 or 100."""
    if probability >= 0.995:
        return ">99 %"
    if probability < 0.005:
        return "<1 %"
    return f"{100 * probability:.0f} %"


def _name(attribute: str, options: ConsoleOptions) -> str:
    return printable(attribute.replace("_", " "), ascii_only=options.ascii_only)


@dataclass(frozen=True)
class _FailureLine:
    failure: Failure

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        one, ascii_only = self.failure, options.ascii_only
        line = Text(printable(one.path, ascii_only=ascii_only), style="bold")
        line.append(f"  {one.status.replace('_', ' ')}", style="bold red")
        line.append(f"  {printable(one.error, ascii_only=ascii_only)}", style="not bold")
        yield line


@dataclass(frozen=True)
class _PredictionTable:
    prediction: Prediction

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        one = self.prediction
        chances, unsure = one.probabilities, set(one.unsure)
        yield self._title(options)
        present = sorted(one.present, key=lambda name: -chances[name])
        if present:
            yield self._bars(present, unsure, options)
        else:
            yield Text("  none of the attributes is present", style="dim")
        gone = set(present)
        absent = sorted((n for n in chances if n not in gone), key=lambda name: -chances[name])
        yield from self._absent(absent, unsure, options)

    def _title(self, options: ConsoleOptions) -> Text:
        one = self.prediction
        title = Text(printable(one.path, ascii_only=options.ascii_only), style="bold")
        if one.faces > 1:
            title.append(f"  face {one.face} of {one.faces}", style="dim not bold")
        if one.box is not None and one.box.score < SURE_SCORE:
            title.append(f"  detector's score {one.box.score:.2f} *", style="yellow not bold")
        return title

    def _bars(self, names: Sequence[str], unsure: set[str], options: ConsoleOptions) -> Table:
        label = min(max(len(_name(name, options)) for name in names), 32)
        low, high = _BAR_WIDTHS
        bar = min(max(options.max_width - label - 14, low), high)
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(width=label, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=bar, no_wrap=True)
        grid.add_column(justify="right", width=5, no_wrap=True)
        grid.add_column(width=1)
        for name in names:
            chance, doubt = self.prediction.probabilities[name], name in unsure
            colour = "yellow" if doubt else "green"
            mark = Text("?" if doubt else "", style="bold yellow")
            grid.add_row(
                "",
                Text(_name(name, options)),
                _bar(chance, bar, colour, options.ascii_only),
                percentage(chance),
                mark,
            )
        return grid

    def _absent(
        self, names: Sequence[str], unsure: set[str], options: ConsoleOptions
    ) -> Iterable[Text]:
        if not names:
            return
        shown = [name for i, name in enumerate(names) if i < _ABSENT or name in unsure]
        if len(names) - len(shown) == 1:
            shown = list(names)  # "1 more" would take the room of its name
        chances = self.prediction.probabilities
        cells = []
        for name in shown:
            cell = Text(f"{_name(name, options)} {percentage(chances[name])}", style="dim")
            if name in unsure:
                cell.append(" ?", style="yellow not dim")
            cells.append(cell)
        rest = [name for name in names if name not in set(shown)]
        if rest:
            highest = percentage(chances[rest[0]]).lstrip("<>")
            cells.append(Text(f"and {len(rest)} more of {highest} or less", style="dim"))
        yield from _wrapped(Text("  absent: ", style="dim"), cells, options.max_width)


def _wrapped(start: Text, cells: Sequence[Text], width: int) -> Iterable[Text]:
    """Yield lines of at most `width` of unbroken cells, indented to the text after `start`."""
    line, indent = start.copy(), len(start)
    for i, cell in enumerate(cells):
        piece = cell.copy()
        if i < len(cells) - 1:
            piece.append(",", style="dim")
        if len(line) > indent and len(line) + 1 + len(piece) > width:
            yield line
            line = Text(" " * indent)
        if len(line) > indent:
            line.append(" ")
        line.append_text(piece)
    yield line


def _bar(share: float, width: int, colour: str, ascii_only: bool) -> Text:
    """Return a bar of up to `width` characters, in half steps where the console has them."""
    if ascii_only:
        return Text("#" * round(share * width), style=colour)
    halves = round(2 * share * width)
    return Text("━" * (halves // 2) + "╸" * (halves % 2), style=colour)


@dataclass(frozen=True)
class _EvaluationTable:
    report: EvalReport

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        report, width = self.report, options.max_width
        columns: Sequence[str] = tuple(MEANS)
        if width < _WIDE_WIDTH:
            columns = _MEDIUM if width >= _MEDIUM_WIDTH else _NARROW
        for name, value in (
            ("weights", printable(report.weights, ascii_only=options.ascii_only)),
            *headline(report),
        ):
            yield Text(f"{name:<25}", style="dim").append(value, style="bold not dim")
        yield Text()
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
        table.add_column(TITLES["attribute"], no_wrap=True, overflow="ellipsis")
        for name in (*counts(report), *columns):
            title = TITLES[name] + (" " if name == columns[0] else "")
            table.add_column(title, justify="right", no_wrap=True)
        for row in report.attributes:
            # Below the majority baseline a model is worse than none: that is worth a mark.
            below = row.accuracy < row.majority_accuracy
            shares = [percent(getattr(row, name)) or "-" for name in columns]
            shares[0] += "!" if below else " "
            label = Text(_name(row.attribute, options))
            numbers = (str(getattr(row, name)) for name in counts(report))
            table.add_row(label, *numbers, *shares, style="red" if below else "")
        means = [percent(getattr(report, MEANS[name])) or "-" for name in columns]
        means[0] += " "
        table.add_row(Text("mean"), *("" for _ in counts(report)), *means, style="bold")
        yield table
        for part in parts(report, most=_LARGEST):
            yield from _part(part, options)
        note = "percent; - is undefined; ! is below the majority's answer"
        if "images" in counts(report):
            note += "; known: images whose label is known"
        if len(columns) < len(MEANS):
            note += "; more columns in a wider terminal or with --format csv"
        yield Text(note, style="dim")


def _part(part: Part, options: ConsoleOptions) -> Iterable[RenderableType]:
    """Yield a smaller table under the main one: names at the left, figures at the right."""
    yield Text()
    if part.heading:
        yield Text(_name(part.heading, options), style="bold")
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for i, title in enumerate(part.titles):
        if i < part.named:
            table.add_column(title, overflow="fold")
        else:
            table.add_column(title, justify="right", no_wrap=True)
    for row in part.rows:
        table.add_row(*(Text(_name(cell, options)) for cell in row))
    yield table
    for note in part.notes:
        style = "yellow" if note.startswith("warning") else "dim"
        yield Text(_name(note, options), style=style)


class Tables(Output):
    """The terminal: one table per face."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console()
        self._low = False

    def write(self, results: Sequence[Result]) -> None:
        """Show results."""
        for result in results:
            self._console.print(result_table(result))
            box = None if isinstance(result, Failure) else result.box
            self._low |= box is not None and box.score < SURE_SCORE
        super().write(results)

    def finish(self, shard: Shard) -> None:
        """Print the legend of the marks, once."""
        self._console.print(footnote())
        if self._low:
            self._console.print(Text(LOW_SCORE, style="dim"))
