"""Prepares inputs in processes of their own, each with a time limit and a memory limit.

A file that crashes, hangs or eats memory ends its process and becomes a failure row; the process is
replaced and the run goes on. A process that ends for another reason, killed by the system for
instance, costs nothing: its input is given to a new one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

import celebattr
from celebattr.config import FRAME_SIZE
from celebattr.errors import DeviceError
from celebattr.inference.worker import FRAME_BYTES, receive, send
from celebattr.results import FaceBox, Failure

# Nothing heavy is imported before the first process starts: it has as much to import, beside this.
if TYPE_CHECKING:
    from celebattr.data.inputs import Input
    from celebattr.inference.prepare import Prepared

MEMORY_MEGABYTES = 1024
"""What a process may take beside its libraries: room for a photo of 89 megapixels and a copy."""

_PIPE_BYTES = 1 << 20
_ENVIRONMENT = {
    # There are as many processes as the processor can use; threads in each would be in the way, and
    # on large machines take gigabytes of address space.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    # Arrays of a photo's size are kept for the next one. glibc would give each back to the system
    # and get it anew, zeroed: 5 % of the time that un-cropped photos take.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 26),
}


_STARTS = 5
"""So many processes end before they are ready, one after the other, and the machine is to blame."""


class WorkerDiedError(Exception):
    """A worker process ended; `code` as of `subprocess`, negative for a signal.

    `ready` says whether it had begun: a process that ends earlier has not seen its input.
    """

    def __init__(self, code: int, *, ready: bool) -> None:
        super().__init__(f"ended with {code}")
        self.code, self.ready = code, ready


class Worker:
    """One process, asked one input at a time."""

    def __init__(self, faces: str) -> None:
        # -P: the folder one stands in, which may be full of photos, is no place to import from.
        command = [sys.executable, "-P", "-m", "celebattr.inference.worker"]
        package = str(Path(celebattr.__file__).resolve().parent.parent)
        paths = [package, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self._process = subprocess.Popen(
            [*command, faces, str(MEMORY_MEGABYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(p for p in paths if p)},
        )
        self._requests = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        self._ready = False
        _widen(self._answers)

    def ask(self, item: Input, seconds: float) -> Prepared:
        """What the process makes of an input.

        Raises:
            WorkerDiedError: it ended before it answered.
        """
        import numpy as np

        from celebattr.inference.prepare import Prepared

        head = {
            "path": item.path,
            "file": item.file,
            "bytes": None if item.data is None else len(item.data),
            "seconds": seconds,
        }
        try:
            if not self._ready:
                self._receive()  # it says when it can begin: its start is not the photo's time
                self._ready = True
            send(self._requests, head, item.data or b"")
            answer = self._receive()
            if "failure" in answer:
                return Prepared(item, failure=Failure(item.path, *answer["failure"]))
            frames = []
            for _ in answer["boxes"]:
                data = self._answers.read(FRAME_BYTES)
                if len(data) < FRAME_BYTES:
                    raise EOFError
                frames.append(np.frombuffer(data, np.uint8).reshape(*FRAME_SIZE, 3))
        except (EOFError, OSError) as error:
            raise WorkerDiedError(self._ended(), ready=self._ready) from error
        boxes = tuple(None if box is None else FaceBox(*box) for box in answer["boxes"])
        to_frame = tuple(row and tuple(row) for row in answer["to_frame"])
        return Prepared(item, boxes, tuple(frames), to_frame, answer["faces"])

    def close(self) -> None:
        """Ends the process at once: it has nothing to save."""
        self._process.kill()
        self._ended()

    def _ended(self) -> int:
        """How the process ended; a second after its pipes broke it is made to."""
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


class Workers:
    """Prepares inputs from any number of threads, as many processes as ask at the same time.

    Args:
        faces: `PredictConfig.faces`.
        seconds: how long one input may take.
    """

    def __init__(self, faces: str, *, seconds: float) -> None:
        self._faces, self._seconds = faces, seconds
        self._lock = threading.Lock()
        # Started at once, so that it imports its libraries while the model is loaded.
        self._idle: list[Worker] = [Worker(faces)]
        self._all: list[Worker] = [*self._idle]

    def __call__(self, item: Input) -> Prepared:
        """What `Preparer` would make of an input, and a failure where that would not end well.

        Raises:
            DeviceError: no process can be started.
        """
        from celebattr.inference.prepare import Prepared

        if item.failure is not None:
            return Prepared(item, failure=item.failure)
        crashes = unborn = 0
        while True:
            worker = self._take()
            try:
                prepared = worker.ask(item, self._seconds)
            except WorkerDiedError as error:
                with self._lock:
                    self._all.remove(worker)
                died = error
            else:
                with self._lock:
                    self._idle.append(worker)
                return prepared
            if died.code == -getattr(signal, "SIGALRM", 0):
                status, reason = "timeout", f"took longer than {self._seconds:g} s"
                break
            # Once may be the system's doing; a file that ends two processes is to blame. One that
            # a process never saw is not.
            crashes, unborn = crashes + died.ready, unborn + (not died.ready)
            if crashes == 2:
                status, reason = "unreadable", f"crashed its reader twice ({_how(died.code)})"
                break
            if unborn == _STARTS:
                raise DeviceError(
                    f"{_STARTS} processes that read photos ended as they started, one after the "
                    f"other (the last: {_how(died.code)}). Is there memory for them? Fewer take "
                    "less: --workers 1"
                )
        return Prepared(item, failure=Failure(item.path, status, f"{item.path}: {reason}"))

    def _take(self) -> Worker:
        """A process that nobody asks now; it belongs to no thread, and outlives them."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            worker = Worker(self._faces)
            self._all.append(worker)
            return worker

    def close(self) -> None:
        """Ends all processes."""
        with self._lock:
            for worker in self._all:
                worker.close()
            self._all.clear()
            self._idle.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _how(code: int) -> str:
    """How a process ended, for a person."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _widen(pipe: BinaryIO) -> None:
    """Lets a whole frame wait in a pipe, where the system can: fewer switches between processes."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
