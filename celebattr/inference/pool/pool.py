"""Worker processes that open and score inputs, with a time and a memory limit.

A file that crashes, hangs or eats memory ends its process and becomes a failure row; the process is
replaced and the run continues. A process that ends for another reason, killed by the system for
instance, costs nothing: its input is given to a new one.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from celebattr.constants import CROP_SIZE
from celebattr.errors import DeviceError, UnreadableImageError
from celebattr.inference.pool.process import Worker, WorkerDiedError, how_ended
from celebattr.inference.pool.protocol import TICK
from celebattr.predictions import FaceBox, Facts, Failure, Prediction, Result

# Nothing heavy is imported: the processes do that, and this one has not even need of numpy where
# they score too.
if TYPE_CHECKING:
    from PIL.Image import Image

    from celebattr.inference.config import PredictConfig
    from celebattr.inference.faces import Prepared
    from celebattr.inference.inputs.source import Input

R = TypeVar("R")
Answer = tuple[dict[str, Any], list[bytes]]
"""What a process says of an input, and the crops or the picture that come with it."""

_LATE, _CRASHES, _KILLS = 2, 2, 5
"""Overruns and crashes of its process, and kills by the system, until an input is a failure."""

_PATIENCE = 6
"""Wall time per photo, in limits of its processor time: the machine may be busy, or stopped."""

DRAWN_PIXELS = 24_000_000
"""Pixels of a photo that is drawn on: larger ones are divided by 2 or 4."""

_STARTS = 5
"""Consecutive processes that end before they are ready until the machine is to blame."""


class WorkerPool:
    """A pool of processes that open and score inputs, one for each asking thread.

    Args:
        config: the options.
        weights: the ONNX bundle to score with, `bundle_for(config)`; None: they give crops.
        first: a process that was started before to do the same.
    """

    def __init__(
        self,
        config: PredictConfig,
        weights: Path | None = None,
        first: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._config, self._weights = config, weights
        self._lock = threading.Lock()
        # Started at once, so that it imports its libraries while others do their part.
        self._idle: list[Worker] = [Worker(config.faces, weights, first)]
        self._all: list[Worker] = [*self._idle]
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """End processes that do not come to an end, as far as their own timers do not."""
        while not self._closed.wait(TICK):
            with self._lock:
                for worker in self._all:
                    worker.tick(_PATIENCE * self._config.timeout)

    def facts(self) -> Facts | None:
        """Return the facts that all rows share; None if the processes return crops.

        Raises:
            CelebattrError: the processes cannot do what is asked for, or cannot be started.
        """
        return self._with_worker(lambda worker: worker.ready(self._config))

    def prepare(self, items: Sequence[Input]) -> list[Prepared]:
        """Prepare inputs as `Preparer` does; a crash or hang becomes a failure.

        Raises:
            DeviceError: no process can be started.
        """
        answers = iter(self._answers([item for item in items if item.failure is None]))
        return [
            _prepared(item, None if item.failure is not None else next(answers)) for item in items
        ]

    def picture(self, item: Input) -> tuple[Image, int]:
        """Return an upright photo to draw on, RGB, and what its sides were divided by.

        It has at most `DRAWN_PIXELS`, as it is this process that holds it.

        Raises:
            UnreadableImageError: it cannot be opened within the limits.
            DeviceError: no process can be started.
        """
        from PIL import Image

        answer, parts = self._answer(item, DRAWN_PIXELS)
        if "failure" in answer:
            raise UnreadableImageError(answer["failure"][1])
        return Image.frombytes("RGB", tuple(answer["size"]), parts[0]), answer["divisor"]

    def results(self, items: Sequence[Input]) -> list[list[Result]]:
        """Return the results of each input: one per face, or one failure.

        Raises:
            DeviceError: no process can be started.
        """
        answers = iter(self._answers([item for item in items if item.failure is None]))
        return [
            [item.failure] if item.failure is not None else _results(item, next(answers)[0])
            for item in items
        ]

    def _answers(self, items: Sequence[Input]) -> list[Answer]:
        if len(items) > 1:
            # Where a process ends, nobody knows at which of them: each is asked for alone then.
            with contextlib.suppress(WorkerDiedError):
                return self._with_worker(lambda w: w.ask(items, self._config.timeout))
        return [self._answer(item) for item in items]

    def _answer(self, item: Input, pixels: int = 0) -> Answer:
        """Return the answer to one input, even if it ends processes."""
        late = crashes = kills = 0
        while True:
            try:
                ((answer, frames),) = self._with_worker(
                    lambda worker: worker.ask([item], self._config.timeout, pixels)
                )
            except WorkerDiedError as died:
                # Once may be the system's doing: a file that ends two processes is to blame. Killed
                # they are by others, for want of memory, and the next photo may be the victim.
                if died.late:
                    late += 1
                elif died.code == -getattr(signal, "SIGKILL", 0):
                    kills += 1
                else:
                    crashes += 1
                if late == _LATE:
                    failure = "timeout", f"took longer than {self._config.timeout:g} s, twice"
                    break
                if crashes == _CRASHES or kills == _KILLS:
                    times = "twice" if crashes == _CRASHES else f"{kills} times"
                    why = f"crashed the worker process {times} ({how_ended(died.code)})"
                    failure = "unreadable", why
                    break
            else:
                return answer, frames
        return {"failure": [failure[0], f"{item.path}: {failure[1]}"]}, []

    def _with_worker(self, use: Callable[[Worker], R]) -> R:
        """Run a function with a process that is ready and idle.

        Raises:
            WorkerDiedError: it ended while it was used.
            DeviceError: none can be started.
        """
        for _ in range(_STARTS):
            with self._lock:
                if self._idle:
                    worker = self._idle.pop()
                else:
                    worker = Worker(self._config.faces, self._weights)
                    self._all.append(worker)
            try:
                worker.ready(self._config)
                used = use(worker)
            except WorkerDiedError as died:
                with self._lock:
                    self._all.remove(worker)
                if died.ready:
                    raise
                how, said = how_ended(died.code), died.said
            else:
                with self._lock:
                    self._idle.append(worker)
                return used
        why = said or "is there memory for them? Fewer take less: --workers 1"
        raise DeviceError(f"{_STARTS} worker processes ended at start (the last: {how}): {why}")

    def close(self) -> None:
        """End all processes."""
        self._closed.set()
        with self._lock:
            for worker in self._all:
                worker.close()
            self._all.clear()
            self._idle.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _prepared(item: Input, found: Answer | None) -> Prepared:
    import numpy as np

    from celebattr.inference.faces import Prepared

    if found is None:
        return Prepared(item, failure=item.failure)
    answer, data = found
    if "failure" in answer:
        return Prepared(item, failure=Failure(item.path, *answer["failure"]))
    frames = tuple(np.frombuffer(d, np.uint8).reshape(*CROP_SIZE, 3) for d in data)
    boxes = tuple(_box(box) for box in answer["boxes"])
    to_frame = tuple(row and tuple(row) for row in answer["to_frame"])
    return Prepared(item, boxes, frames, to_frame, answer["faces"])


def _results(item: Input, answer: dict[str, Any]) -> list[Result]:
    if "failure" in answer:
        return [Failure(item.path, *answer["failure"])]
    return [
        Prediction(
            item.path,
            told["face"],
            told["faces"],
            _box(told["box"]),
            told["probabilities"],
            told["present"],
            told["unsure"],
            told["to_frame"] and tuple(told["to_frame"]),
        )
        for told in answer["results"]
    ]


def _box(values: list[float] | None) -> FaceBox | None:
    return None if values is None else FaceBox(*values)
