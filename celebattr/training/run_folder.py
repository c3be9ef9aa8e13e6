"""Files of a run: history.jsonl, curves.png, report.html, and TensorBoard's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.data.dataset import FaceDataset
from celebattr.errors import needs
from celebattr.evaluation.examples import examples
from celebattr.evaluation.report import Example
from celebattr.io.files import write_bytes, write_text
from celebattr.reports.formatting import made
from celebattr.training import curves, html
from celebattr.training.checkpoint import Progress
from celebattr.training.config import TrainConfig
from celebattr.training.validation import Measured

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
    """

    def __init__(self, config: TrainConfig, device: str, data: str) -> None:
        self.config, self.device, self.data = config, device, data
        self.board: Any = None

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

        Args:
            rows: of history.jsonl.
            validation: the validation images, of which the page shows some when the run is done.
            probabilities_NA: what the network finds in them after the last epoch, [N, A].
            present_NA: its decisions, bool [N, A].
        """
        config = self.config
        curves.curves(rows, config.output / "curves.png")
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
        if config.tensorboard:
            self._scalars(rows[-1])

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
    scores = [_score(row) for row in history]
    if patience is None or not scores:
        return False
    return len(scores) - 1 - scores.index(max(scores)) >= patience


def below_majority(history: Sequence[Mapping[str, Any]]) -> str:
    """Return a warning if the epoch that is kept is no better than the majority baseline."""
    known = [row for row in history if "validation_majority_accuracy" in row]
    best = max(known, key=_score, default=None)
    if best is None:
        return ""
    accuracy = best["validation_mean_attribute_accuracy"]
    majority = best["validation_majority_accuracy"]
    if accuracy > majority:
        return ""
    return (
        f"warning    the best epoch, {best['epoch']}, has {100 * accuracy:.2f} % mean attribute "
        f"accuracy on validation; always the more frequent value has {100 * majority:.2f} %"
    )


def _score(row: Mapping[str, Any]) -> float:
    return row["validation_mean_average_precision"] or 0.0
