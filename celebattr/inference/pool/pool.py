"""Worker processes that open and score inputs, with a time and a memory limit.

A file that crashes, hangs or eats memory ends its process and becomes a failure row; the process is
replaced and the run continues. A process that ends for another reason, killed by the system for
instance, costs nothing: its input is given to a new one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar, cast

from celebattr import errors
from celebattr.constants import CROP_SIZE
from celebattr.errors import DeviceError
from celebattr.inference.output.manifest import Facts
from celebattr.inference.pool import protocol
from celebattr.inference.pool.protocol import receive, send
from celebattr.predictions import FaceBox, Failure, Prediction, Result

# Nothing heavy is imported: the processes do that, and this one has not even need of numpy where
# they score too.
if TYPE_CHECKING:
    from celebattr.inference.config import PredictConfig
    from celebattr.inference.faces import Prepared
    from celebattr.inference.inputs.source import Input

R = TypeVar("R")

CROP_BYTES = CROP_SIZE[0] * CROP_SIZE[1] * 3
_PIPE_BYTES = 1 << 20

_LATE, _CRASHES, _KILLS = 2, 2, 5
"""Overruns and crashes of its process, and kills by the system, until an input is a failure."""

_PATIENCE = 6
"""Wall time per photo, in limits of its processor time: the machine may be busy, or stopped."""

_TICK = 0.5
"""Seconds between two looks at the processes. The time that this process is stopped, with the
others, is one look: so looks are counted, and no clock is read."""

_STARTS = 5
"""Consecutive processes that end before they are ready until the machine is to blame."""


class WorkerDiedError(Exception):
    """A worker process ended; `code` as of `subprocess`, negative for a signal.

    `ready` says whether it had begun: a process that ends earlier has not seen its input; `late`
    that it was ended as a photo took too long.
    """

    def __init__(self, code: int, *, ready: bool, late: bool = False) -> None:
        super().__init__(f"ended with {code}")
        self.code, self.ready, self.late = code, ready, late


class Worker:
    """One process, asked a few inputs at a time.

    Args:
        faces: `PredictConfig.faces`.
        weights: the ONNX bundle it scores with; None: it gives crops.
        process: the same, started before.
    """

    def __init__(
        self,
        faces: str,
        weights: Path | None = None,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._process = process or protocol.start(faces, str(weights or ""))
        self._requests = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        self._is_ready = self._is_late = False
        self._waited: float | None = None  # seconds for a photo; None: for none
        self._facts: Facts | None = None
        _widen(self._answers)

    def ready(self, config: PredictConfig) -> Facts | None:
        """Wait until the process can begin: its start is not the first photo's time.

        Returns:
            What its rows have in common; None of a process that gives crops.

        Raises:
            CelebattrError: it cannot do what is asked for.
            WorkerDiedError: it ended before.
        """
        if not self._is_ready:
            try:
                send(self._requests, dataclasses.asdict(config))
                answer = self._receive()
            except (EOFError, OSError) as error:
                raise WorkerDiedError(self._ended(), ready=False) from error
            if "refused" in answer:
                kind, message = answer["refused"]
                raise getattr(errors, kind)(message)
            told = answer["facts"]
            self._facts = None if told is None else Facts.of(told)
            self._is_ready = True
        return self._facts

    def ask(
        self, items: Sequence[Input], seconds: float
    ) -> list[tuple[dict[str, Any], list[bytes]]]:
        """Send some inputs and return, for each, the answer and its crops.

        Raises:
            WorkerDiedError: it ended before it had answered.
        """
        photos = [
            {
                "path": item.path,
                "file": item.file,
                "bytes": None if item.data is None else len(item.data),
                "packed": item.packed,
            }
            for item in items
        ]
        try:
            request = {"photos": photos, "seconds": seconds}
            send(self._requests, request, *(item.data for item in items if item.data is not None))
            for _ in items:
                self._waited = 0.0
                self._receive()  # it is opened
            self._waited = None
            return [self._answer() for _ in items]
        except (EOFError, OSError) as error:
            code = self._ended()
            late = self._is_late or -code == getattr(signal, "SIGPROF", None)
            raise WorkerDiedError(code, ready=True, late=late) from error

    def tick(self, most: float) -> None:
        """Count the time of a photo at work; end the process when it is more than `most` s."""
        if self._waited is not None:
            self._waited += _TICK
            if self._waited > most:
                self._is_late = True
                self._process.kill()

    def _answer(self) -> tuple[dict[str, Any], list[bytes]]:
        answer = self._receive()
        frames = [self._answers.read(CROP_BYTES) for _ in answer.get("boxes", ())]
        if any(len(frame) < CROP_BYTES for frame in frames):
            raise EOFError
        return answer, frames

    def close(self) -> None:
        """End the process at once: it has nothing to save."""
        self._process.kill()  # SIGKILL, which no library can catch or delay
        self._ended()

    def _ended(self) -> int:
        """Return the exit code; kill the process a second after its pipes broke."""
        for stream in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                stream.close()
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _receive(self) -> dict[str, Any]:
        answer = receive(self._answers)
        if answer is None:
            raise EOFError
        return answer


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
        while not self._closed.wait(_TICK):
            with self._lock:
                for worker in self._all:
                    worker.tick(_PATIENCE * self._config.timeout)

    def facts(self) -> Facts | None:
        """Return the facts that all rows share; None if the processes return crops.

        Raises:
            CelebattrError: the processes cannot do what is asked for, or cannot be started.
        """
        return self._with_worker(lambda worker: worker.ready(self._config))

    def frames(self, item: Input) -> Prepared:
        """Prepare an input as `Preparer` does; a crash or hang becomes a failure.

        Raises:
            DeviceError: no process can be started.
        """
        import numpy as np

        from celebattr.inference.faces import Prepared

        if item.failure is not None:
            return Prepared(item, failure=item.failure)
        answer, data = self._answer(item)
        if "failure" in answer:
            return Prepared(item, failure=Failure(item.path, *answer["failure"]))
        frames = tuple(np.frombuffer(d, np.uint8).reshape(*CROP_SIZE, 3) for d in data)
        boxes = tuple(_box(box) for box in answer["boxes"])
        to_frame = tuple(row and tuple(row) for row in answer["to_frame"])
        return Prepared(item, boxes, frames, to_frame, answer["faces"])

    def results(self, items: Sequence[Input]) -> list[list[Result]]:
        """Return the results of each input: one per face, or one failure.

        Raises:
            DeviceError: no process can be started.
        """
        answers = iter(self._answers([item for item in items if item.failure is None]))
        return [
            [item.failure] if item.failure is not None else _results(item, next(answers))
            for item in items
        ]

    def _answers(self, items: Sequence[Input]) -> list[dict[str, Any]]:
        if len(items) > 1:
            # Where a process ends, nobody knows at which of them: each is asked for alone then.
            with contextlib.suppress(WorkerDiedError):
                found = self._with_worker(lambda w: w.ask(items, self._config.timeout))
                return [answer for answer, _ in found]
        return [self._answer(item)[0] for item in items]

    def _answer(self, item: Input) -> tuple[dict[str, Any], list[bytes]]:
        """Return the answer to one input, even if it ends processes."""
        late = crashes = kills = 0
        while True:
            try:
                ((answer, frames),) = self._with_worker(
                    lambda worker: worker.ask([item], self._config.timeout)
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
                    why = f"crashed the worker process {times} ({_how(died.code)})"
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
                how = _how(died.code)
            else:
                with self._lock:
                    self._idle.append(worker)
                return used
        raise DeviceError(
            f"{_STARTS} worker processes ended at start, one after the other "
            f"(the last: {how}). Is there memory for them? Fewer take less: --workers 1"
        )

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


def _how(code: int) -> str:
    """Describe for a person how a process ended."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _widen(pipe: BinaryIO) -> None:
    """Enlarge a pipe to hold a whole crop, where possible: fewer process switches."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
