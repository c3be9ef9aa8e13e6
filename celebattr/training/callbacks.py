"""Who watches a run: the command line draws it, the default writes to the log."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from celebattr.training.checkpoint import Progress
from celebattr.training.config import TrainConfig

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Is told what happens, as it happens."""

    def notice(self, text: str) -> None:
        """Something a person should know."""

    def begin(self, config: TrainConfig) -> None:
        """The run begins, with every setting decided."""

    def step(self, progress: Progress, batches: int, loss: float, share_done: float) -> None:
        """A gradient step is done: `batches` in this epoch, `share_done` of the run's work."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is validated: the row of history.jsonl."""


class Logger:
    """A listener for programs: writes to the log."""

    def notice(self, text: str) -> None:
        """Logs."""
        log.info("%s", text)

    def begin(self, config: TrainConfig) -> None:
        """Logs."""
        log.info("%s", config)

    def step(self, progress: Progress, batches: int, loss: float, share_done: float) -> None:
        """Says nothing: there are too many."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Logs."""
        log.info("%s", row)


class Silence:
    """The listener of all processes but the first: one of them talks."""

    def notice(self, text: str) -> None:
        """Nothing."""

    def begin(self, config: TrainConfig) -> None:
        """Nothing."""

    def step(self, progress: Progress, batches: int, loss: float, share_done: float) -> None:
        """Nothing."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Nothing."""
