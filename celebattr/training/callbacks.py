"""Callbacks for a run's progress, and signals that end it with a checkpoint."""

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

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that end a run with a checkpoint; Windows has no SIGHUP."""


class Listener(Protocol):
    """A callback that is told of a run's events."""

    def notice(self, text: str) -> None:
        """Report something a person should know."""

    def begin(self, config: TrainConfig) -> None:
        """Report the start of the run, with every setting decided."""

    def step(self, progress: Progress, batches: int, loss: float, share_done: float) -> None:
        """Report a gradient step: `batches` in this epoch, `share_done` of the run's work."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Report a validated epoch: the row of history.jsonl."""


class Silence:
    """The callback of all processes but rank 0, which alone reports; a base for others."""

    def notice(self, text: str) -> None:
        """Do nothing."""

    def begin(self, config: TrainConfig) -> None:
        """Do nothing."""

    def step(self, progress: Progress, batches: int, loss: float, share_done: float) -> None:
        """Do nothing."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Do nothing."""


class Logger(Silence):
    """A callback for programs: writes all but steps to the log."""

    def notice(self, text: str) -> None:
        """Log the notice."""
        log.info("%s", text)

    def begin(self, config: TrainConfig) -> None:
        """Log the start."""
        log.info("%s", config)

    def epoch(self, row: dict[str, Any]) -> None:
        """Log the epoch."""
        log.info("%s", row)


class Stop:
    """A flag that is true once the run was asked to stop.

    Args:
        listener: is told of the first time.
        at_once: whether a second Ctrl-C ends the run where it is. Of several processes none does:
            torchrun repeats a signal, and kills who is late.
    """

    def __init__(self, listener: Listener, *, at_once: bool) -> None:
        self.asked = False
        self.listener, self.at_once = listener, at_once

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Handle `SIGNALS` within the block, if it runs in the main thread.

        One that is ignored stays so: nohup ignores SIGHUP, a script SIGINT in its background jobs.

        Raises:
            KeyboardInterrupt: a second time, if that ends the run at once.
        """
        # Python lets the main thread alone set handlers; a program may train in another.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
        before = {s: signal.signal(s, self._ask) for s in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        # Not a second SIGHUP: the shell and the system send one each when a terminal closes.
        if self.asked and self.at_once and number == signal.SIGINT:
            raise KeyboardInterrupt
        before, self.asked = self.asked, True
        if not before:
            once_more = "; press Ctrl-C again to stop at once" if self.at_once else ""
            self.listener.notice(f"stopping after this step{once_more}")
