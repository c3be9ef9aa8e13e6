"""Callbacks: who is told of a run's progress, and signals that end it with a checkpoint."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
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


class Stop:
    """True where the run was asked to stop.

    Args:
        listener: is told of the first time.
        at_once: whether a second time ends the run where it is. Of several processes none does:
            torchrun repeats a signal, and kills who is late.
    """

    def __init__(self, listener: Listener, *, at_once: bool) -> None:
        self.asked = False
        self.listener, self.at_once = listener, at_once

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Takes both signals over meanwhile; in another thread than the main one it cannot.

        Raises:
            KeyboardInterrupt: a second time, if that ends the run at once.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if self.asked and self.at_once:
            raise KeyboardInterrupt
        if not self.asked:
            once_more = "; once more to stop at once" if self.at_once else ""
            self.listener.notice(f"stopping after this step{once_more}")
        self.asked = True
