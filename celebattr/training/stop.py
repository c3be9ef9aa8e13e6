"""Ctrl-C and SIGTERM: a run ends after the step under way, with a checkpoint."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from celebattr.training.callbacks import Listener


class Stop:
    """Whether the run was asked to stop.

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
