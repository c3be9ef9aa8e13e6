"""One worker process, as the one that asks it sees it."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from celebattr import errors
from celebattr.constants import CROP_SIZE
from celebattr.errors import printable
from celebattr.inference.pool import protocol
from celebattr.inference.pool.protocol import TICK, receive, send
from celebattr.predictions import Facts

if TYPE_CHECKING:
    from celebattr.inference.config import PredictConfig
    from celebattr.inference.inputs.source import Input

CROP_BYTES = CROP_SIZE[0] * CROP_SIZE[1] * 3
_PIPE_BYTES = 1 << 20


class WorkerDiedError(Exception):
    """A worker process ended; `code` as of `subprocess`, negative for a signal.

    `ready` says whether it had begun: a process that ends earlier has not seen its input. `said` is
    then the last line of its standard error; `late` says that a photo took too long.
    """

    def __init__(self, code: int, *, ready: bool, late: bool = False, said: str = "") -> None:
        super().__init__(f"ended with {code}")
        self.code, self.ready, self.late, self.said = code, ready, late, said


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
        self._last_words = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
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
                code = self._ended()
                raise WorkerDiedError(code, ready=False, said=self._said()) from error
            if "refused" in answer:
                kind, message = answer["refused"]
                raise getattr(errors, kind)(message)
            told = answer["facts"]
            self._facts = None if told is None else Facts.of(told)
            self._is_ready = True
        return self._facts

    def ask(
        self, items: Sequence[Input], seconds: float, pixels: int = 0
    ) -> list[tuple[dict[str, Any], list[bytes]]]:
        """Send some inputs and return, for each, the answer and its crops, or its picture.

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
            request = {"photos": photos, "seconds": seconds, "pixels": pixels}
            send(self._requests, request, *(item.data for item in items if item.data is not None))
            self._waited = 0.0
            while self._receive()["opened"] < len(items):
                self._waited = 0.0
            self._waited = None
            return [self._answer() for _ in items]
        except (EOFError, OSError) as error:
            code = self._ended()
            late = self._is_late or -code == getattr(signal, "SIGPROF", None)
            raise WorkerDiedError(code, ready=True, late=late) from error

    def tick(self, most: float) -> None:
        """Count the time of a photo at work; end the process when it is more than `most` s."""
        if self._waited is not None:
            self._waited += TICK
            if self._waited > most:
                self._is_late = True
                self._process.kill()

    def _answer(self) -> tuple[dict[str, Any], list[bytes]]:
        answer = self._receive()
        sizes = [CROP_BYTES] * len(answer.get("boxes", ()))
        if "size" in answer:
            sizes = [3 * answer["size"][0] * answer["size"][1]]
        frames = [self._answers.read(size) for size in sizes]
        if any(len(frame) < size for frame, size in zip(frames, sizes, strict=True)):
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

    def _listen(self) -> None:
        """Keep the end of what the process writes to standard error until it is ready."""
        with cast(BinaryIO, self._process.stderr) as stream:
            for line in stream:
                self._last_words = line.strip() or self._last_words

    def _said(self) -> str:
        """Return the last line that a process wrote to standard error before it was ready."""
        self._listener.join()
        return printable(self._last_words.decode(errors="replace"))

    def _receive(self) -> dict[str, Any]:
        answer = receive(self._answers)
        if answer is None:
            raise EOFError
        return answer


def how_ended(code: int) -> str:
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
