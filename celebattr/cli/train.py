"""`celebattr train`."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celebattr.cli.options import Quiet, ShowProgress, command
from celebattr.errors import UsageError, counted, escaped, needs
from celebattr.models import registry
from celebattr.training.config import TrainConfig, read_config

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from celebattr.training.checkpoint import Progress

MUCH_WAITING = 0.1
"""Share of an epoch spent waiting for images above which a notice is printed."""


def _read(context: typer.Context, file: Path | None) -> None:
    """Make the settings of a file the defaults of all options."""
    if file is not None:
        context.default_map = {n: v for n, v in read_config(file).items() if v is not None}


@command(arch=tuple(registry.CATALOG))
def train(
    *,
    config: TrainConfig,
    file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings from a config.json.",
            callback=_read,
            is_eager=True,
            rich_help_panel="Output",
        ),
    ] = None,
    progress: ShowProgress = None,
    quiet: Quiet = False,
) -> None:
    """Train a network on CelebA or on your own attributes.

    With only --data it fine-tunes ResNet50. Ctrl-C saves and exits with 130.

    Examples:
        $ celebattr train --data celeba/ --output runs/first
        $ celebattr train --data celeba/ --output runs/first --resume
        $ torchrun --nproc-per-node 4 -m celebattr train --data celeba/
    """
    if not config.data:
        raise UsageError("no data: give --data DIR or set CELEBATTR_DATA")
    from celebattr.io.files import temporary_beside

    temporary_beside(config.output)  # before matplotlib is imported
    with needs("train"):
        from celebattr.training.distributed import World
        from celebattr.training.folds import train as run
    if not World.here().is_main:  # torchrun started several: rank 0 draws and reports
        run(config)
        return
    with Terminal(live=progress is not False, quiet=quiet) as terminal:
        best = run(config, terminal)
    typer.echo(best)


class Terminal:
    """A run on standard error: a live line on a terminal, one line per epoch anywhere.

    A terminal that was closed does not end the run.


    Args:
        live: show the live line.
        quiet: show neither.
    """

    def __init__(self, *, live: bool = True, quiet: bool = False) -> None:
        from rich.console import Console

        self.quiet, self.epochs = quiet, 0
        # Rich takes a log file for a terminal where FORCE_COLOR is set.
        self.live = live and not quiet and sys.stderr.isatty()
        self.console = Console(stderr=True, highlight=False)
        self.bar: Bar | None = None
        self.started: tuple[float, float] | None = None
        self.task: Any = None

    def __enter__(self) -> Terminal:
        if self.live:
            from rich.progress import BarColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:3.0f}%  {task.fields[info]}"),
                console=self.console,
                transient=True,
            )
            self.bar.start()
            self.task = self.bar.add_task("starting", total=1.0, info="")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            with contextlib.suppress(OSError):
                self.bar.stop()

    def notice(self, text: str) -> None:
        """Print one line for a person."""
        if not self.quiet:
            with contextlib.suppress(OSError):
                self.console.print(escaped(text), markup=False, soft_wrap=True)

    def begin(self, config: TrainConfig) -> None:
        """Print one line that sums up the recipe."""
        self.epochs = config.epochs or 0
        self.notice(
            f"recipe     {counted(self.epochs, 'epoch')} at {config.image_size}, "
            f"{counted(config.batch_size or 0, 'image')} per step, seed {config.seed}"
        )

    def step(self, progress: Progress, batches: int, loss: float, share_done: float) -> None:
        """Move the bar: epoch, images/s, time left, loss."""
        if not self.bar:
            return
        now = time.monotonic()
        if self.started is None:
            self.started = (now, share_done)
        since, share = self.started
        left = "-"
        if share_done > share:
            left = _clock((now - since) / (share_done - share) * (1.0 - share_done))
        speed = progress.images / max(progress.seconds, 1e-9)
        mean = progress.loss_sum / max(progress.images, 1)
        self.bar.update(
            self.task,
            completed=share_done,
            description=f"epoch {progress.epoch + 1}/{self.epochs}",
            info=f"batch {progress.batches}/{batches}  loss {mean:.4f}  "
            f"{speed:.1f} images/s  {left} left",
        )

    def epoch(self, row: dict[str, Any]) -> None:
        """Print one line per epoch, which stays."""
        score = row["validation_mean_average_precision"]
        self.notice(
            f"epoch {row['epoch']}/{self.epochs}  {row['image_size']}  "
            f"train loss {row['train_loss']:.4f}  validation loss {row['validation_loss']:.4f}  "
            f"accuracy {100 * row['validation_mean_attribute_accuracy']:.2f} % "
            f"(majority {100 * row['validation_majority_accuracy']:.2f} %)  "
            f"mAP {'-' if score is None else f'{100 * score:.2f} %'}  "
            f"{row['images_per_second']:.1f} images/s  {_clock(row['seconds'])}"
        )
        if row["data_wait"] > MUCH_WAITING:
            self.notice(
                f"           waited for images {100 * row['data_wait']:.0f} % of the time: "
                "try more --workers, or --cache"
            )


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
