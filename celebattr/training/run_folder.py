"""Files of a run: history.jsonl, curves.png, report.html, and TensorBoard's."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.data.dataset import FaceDataset
from celebattr.errors import DataError, needs, reason
from celebattr.evaluation.examples import examples
from celebattr.evaluation.report import Example
from celebattr.io.files import reporting, write_bytes, write_text
from celebattr.io.locks import open_locked
from celebattr.reports.formatting import made
from celebattr.training import curves, html
from celebattr.training.checkpoint import NAME, Progress
from celebattr.training.config import TrainConfig
from celebattr.training.distributed import World
from celebattr.training.validation import Measured

log = logging.getLogger(__name__)

EXAMPLES = 6
"""Validation images of each kind that the page shows once the run is done."""

SCALARS: tuple[str, ...] = (
    "train_loss",
    "validation_loss",
    "validation_mean_attribute_accuracy",
    "validation_majority_accuracy",
    "validation_mean_average_precision",
    "lr",
    "images_per_second",
)
"""Columns of history.jsonl that TensorBoard draws."""


LOCK = ".lock"
"""A file of the run folder, locked while a run writes there."""


@contextlib.contextmanager
def claim(config: TrainConfig, world: World) -> Iterator[None]:
    """Make the run folder, and lock it within the block, in rank 0 for all.

    Raises:
        DataError: it cannot be written, another run has it, it holds a run that is not to be
            resumed, or none that could be.
        MissingExtraError: TensorBoard is asked for and not installed.
    """
    folder = config.output
    with contextlib.ExitStack() as held:
        with world.propagate_errors(), reporting(folder):
            if config.tensorboard:
                summary_writer()  # before any work: it may not be installed
            if world.is_main and (not config.resume or folder.exists()):
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(open_locked(folder / LOCK, folder))
            begun = world.is_main and (folder / NAME).exists()
            if begun and not config.resume and world.restarts == 0:
                raise DataError(
                    f"{folder} already holds a run: give --resume to continue, or another --output"
                )
            if config.resume and world.is_main and not begun:
                raise DataError(
                    f"nothing to resume: {folder / NAME} does not exist. Start without --resume"
                )
        yield


def row(progress: Progress, measured: Measured, size: tuple[int, int], lr: float) -> dict[str, Any]:
    """Return an epoch's row of history.jsonl, before `progress` moves to the next."""
    return {
        "epoch": progress.epoch + 1,
        "step": progress.step,
        "image_size": f"{size[0]}x{size[1]}",
        "train_loss": progress.loss_sum / progress.images,
        "validation_loss": measured.loss,
        "validation_mean_attribute_accuracy": measured.summary.mean_attribute_accuracy,
        "validation_majority_accuracy": measured.majority,
        "validation_mean_average_precision": measured.summary.mean_average_precision,
        "lr": lr,
        "images_per_second": progress.images / max(progress.seconds, 1e-9),
        "seconds": progress.seconds,
        "data_wait": progress.waited / max(progress.seconds, 1e-9),
    }


class RunFolder:
    """The files of a run; every file is complete or absent.

    Args:
        config: the run's settings, nothing left open.
        device: which, and why.
        data: what it trains on, for a person.
        notice: told, once, what could not be drawn.
    """

    def __init__(
        self, config: TrainConfig, device: str, data: str, notice: Callable[[str], None]
    ) -> None:
        self.config, self.device, self.data, self.notice = config, device, data, notice
        self.board: Any = None
        self.told = False

    def history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write history.jsonl, before the checkpoint that ends an epoch."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(self.config.output / "history.jsonl", lines.encode())

    def pictures(
        self,
        rows: Sequence[Mapping[str, Any]],
        validation: FaceDataset,
        probabilities_NA: NDArray[np.floating[Any]],
        present_NA: NDArray[np.bool_],
    ) -> None:
        """Draw the curves, write the page, and send the last epoch to TensorBoard.

        What fails is told once and left out: a picture must not end a training.

        Args:
            rows: of history.jsonl.
            validation: the validation images, of which the page shows some when the run is done.
            probabilities_NA: what the network finds in them after the last epoch, [N, A].
            present_NA: its decisions, bool [N, A].
        """
        draw: dict[str, Callable[[], None]] = {
            "curves.png": lambda: curves.curves(rows, self.config.output / "curves.png"),
            "report.html": lambda: self._page(rows, validation, probabilities_NA, present_NA),
        }
        if self.config.tensorboard:
            draw["tensorboard/"] = lambda: self._scalars(rows[-1])
        for name, one in draw.items():
            try:
                one()
            except Exception as error:  # of matplotlib, its fonts, LaTeX, the disk, ...
                log.info("%s", name, exc_info=True)
                if not self.told:
                    self.notice(f"warning    {name} could not be written: {reason(error)}")
                self.told = True

    def _page(
        self,
        rows: Sequence[Mapping[str, Any]],
        validation: FaceDataset,
        probabilities_NA: NDArray[np.floating[Any]],
        present_NA: NDArray[np.bool_],
    ) -> None:
        config = self.config
        shown: tuple[Example, ...] = ()
        done = rows[-1]["epoch"] == config.epochs or out_of_patience(rows, config.patience)
        if done:
            shown = examples(
                validation,
                probabilities_NA,
                validation.targets_NA,
                present_NA,
                validation.attributes,
                count=EXAMPLES,
                thumbnails=config.thumbnails,
            )
        text = html.page(
            rows,
            name=config.output.resolve().name,
            epochs=config.epochs or 0,
            done=done,
            recipe=config.recipe(),
            device=self.device,
            made=made(self.data),
            examples=shown,
        )
        write_text(config.output / "report.html", text)

    def _scalars(self, row: Mapping[str, Any]) -> None:
        epoch = row["epoch"]
        if self.board is None:
            # What a run that was cut off wrote from this epoch on is replaced.
            self.board = summary_writer()(str(self.config.output / "tensorboard"), purge_step=epoch)
        for name in SCALARS:
            if row.get(name) is not None:
                self.board.add_scalar(name, row[name], epoch)
        self.board.flush()

    def close(self) -> None:
        """Close the TensorBoard writer, however the run ends."""
        if self.board is not None:
            self.board.close()


def summary_writer() -> Any:
    """Import and return TensorBoard's writer class.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needs("tensorboard", "tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter


def out_of_patience(history: Sequence[Mapping[str, Any]], patience: int | None) -> bool:
    """Return True if the last `patience` epochs have brought no better one."""
    if patience is None or not history:
        return False
    return int(history[-1]["epoch"] - curves.best(history)["epoch"]) >= patience


def below_majority(history: Sequence[Mapping[str, Any]]) -> str:
    """Return a warning if the epoch that is kept is no better than the majority baseline."""
    known = [row for row in history if "validation_majority_accuracy" in row]
    if not known:
        return ""
    best = curves.best(known)
    accuracy = best["validation_mean_attribute_accuracy"]
    majority = best["validation_majority_accuracy"]
    if accuracy > majority:
        return ""
    return (
        f"warning    the best epoch, {best['epoch']}, has {100 * accuracy:.2f} % mean attribute "
        f"accuracy on validation; always the more frequent value has {100 * majority:.2f} %"
    )
