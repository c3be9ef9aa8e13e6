"""A process that prepares inputs, so that no file can take the run with it.

Started by `celebattr.inference.workers` as a program of its own; it reads requests on standard
input and answers on standard output until the input ends. A message is the length of its head (4
bytes, big endian), the head (JSON), and as many bytes as the head says. No pickle.

    request   {"path": ..., "file": ..., "bytes": N or null, "seconds": ...}  + the file's N bytes
    answer    {"failure": [status, error]} or
              {"boxes": [[left, top, right, bottom, score] or null, ...],
               "to_frame": [[six numbers] or null, ...], "faces": ...} + the frames
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import struct
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from celebattr.config import FRAME_SIZE

if TYPE_CHECKING:  # who starts such a process imports this too, and should not wait
    from celebattr.data.inputs import Input
    from celebattr.inference.prepare import Prepared, Preparer

FRAME_BYTES = FRAME_SIZE[0] * FRAME_SIZE[1] * 3
_LENGTH = struct.Struct(">I")


def send(stream: BinaryIO, head: dict[str, Any], *parts: Any) -> None:
    """Writes a message: its head and the bytes that follow it."""
    text = json.dumps(head).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """Reads the head of the next message, or None where the stream ends, cleanly or not."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    text = stream.read(size)
    return json.loads(text) if len(text) == size else None


def serve(requests: BinaryIO, answers: BinaryIO, preparer: Preparer) -> None:
    """Answers requests until they end."""
    from celebattr.data.inputs import Input

    send(answers, {"ready": os.getpid()})
    while (request := receive(requests)) is not None:
        data = None if request["bytes"] is None else requests.read(request["bytes"])
        with _time_limit(request["seconds"]):
            prepared = _prepare(preparer, Input(request["path"], data=data, file=request["file"]))
        if prepared.failure is not None:
            send(answers, {"failure": [prepared.failure.status, prepared.failure.error]})
            continue
        boxes = [None if box is None else dataclasses.astuple(box) for box in prepared.boxes]
        send(
            answers,
            {"boxes": boxes, "to_frame": prepared.to_frame, "faces": prepared.faces},
            *(frame.data for frame in prepared.frames),
        )


def _prepare(preparer: Preparer, item: Input) -> Prepared:
    """Whatever one input does to a library, it must not end the others."""
    from celebattr.inference.prepare import Prepared
    from celebattr.results import Failure

    try:
        return preparer(item)
    except MemoryError:
        status, reason = "too_large", "more memory needed than one photo may take"
    except Exception as error:
        status, reason = "unreadable", f"cannot be processed ({type(error).__name__}: {error})"
    return Prepared(item, failure=Failure(item.path, status, f"{item.path}: {reason}"))


@contextlib.contextmanager
def _time_limit(seconds: float) -> Any:
    """Ends this process after some seconds, inside a library's endless loop too."""
    if not hasattr(signal, "setitimer"):  # Windows has no such timer
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _limit_memory(megabytes: int) -> None:
    """Makes what needs more memory fail in this process, where it is an error and no more."""
    if sys.platform == "linux":
        import resource

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = taken + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(faces: str, megabytes: str) -> None:
    """Runs the process: `python -m celebattr.inference.worker FACES MEGABYTES`."""
    # Ctrl-C reaches the whole group; who ends this process is its parent, by closing its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(int(megabytes))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not print into an answer
    from celebattr.inference.prepare import Preparer

    preparer = Preparer(faces)
    if faces != "none":
        # While the model is loaded there is nothing else to do.
        threading.Thread(target=preparer.detector, daemon=True).start()
    serve(sys.stdin.buffer, answers, preparer)


if __name__ == "__main__":
    main(*sys.argv[1:])
