"""Start of a worker process, and the messages to and from it.

The first one starts before the options are read: to understand them takes about as long as such a
process needs to begin, so that one photo waits a third less (docs/speed.md). Nobody knows the
options yet, so what is started is what they ask for when they say nothing else. This module is the
first thing that is imported, so it imports little.

A message is the length of its head (4 bytes, big endian), the head (JSON), and as many bytes as
the head says. No pickle.

    request   the fields of a PredictConfig, first and once
    answer    {"ready": PID, "facts": ... or null} or {"refused": [kind of error, message]}

    request   {"photos": [{"path": ..., "file": ..., "bytes": N or null,
                          "packed": [size, CRC-32] or null}, ...], "seconds": ...,
               "pixels": 0, or the most of a picture to draw on}
              + the N bytes of each file
    answer    {"opened": how many are} from time to time and at the end, then
              one per photo: {"failure": [status, error]}, or of a process with a bundle
              {"results": [a `Prediction` without its path, ...]}, or of one without
              {"boxes": [[left, top, right, bottom, score] or null, ...],
               "to_frame": [[six numbers] or null, ...], "faces": ...} + the crops
              or {"size": [width, height], "divisor": ...} + the picture, if `pixels` asks for it
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from celebattr.errors import DeviceError, reason

DEFAULT = "default"
"""Value of `weights` that leaves the choice of the default bundle to the process."""

TICK = 0.5
"""Seconds between two looks at the processes. The time that this process is stopped, with the
others, is one look: so looks are counted, and no clock is read."""

_LENGTH = struct.Struct(">I")


def send(stream: BinaryIO, head: dict[str, Any], *parts: Any) -> None:
    """Write a message: its head and the bytes that follow it."""
    text = json.dumps(head).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """Read the head of the next message, or None at the end of the stream."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    text = stream.read(size)
    return json.loads(text) if len(text) == size else None


MEMORY_MEGABYTES = 1024
"""Memory of a process beside its libraries: room for a photo of 89 megapixels and a copy."""

BUNDLE_MEGABYTES = 512
"""Further memory of a process that scores: room for a bundle and its layers' outputs."""

_PACKAGE = str(Path(__file__).resolve().parents[3])

_ENVIRONMENT = {
    # There are as many processes as the processor can use; threads in each would be in the way, and
    # on large machines take gigabytes of address space.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    # Arrays of a photo's size are kept for the next one. glibc would give each back to the system
    # and get it back zeroed: 5 % of the time that un-cropped photos take.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 26),
}


WORKER = "CELEBATTR_WORKER"
"""Environment variable of a worker of a frozen program: that it is one."""

_RUN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from celebattr.inference.pool.worker import main; main(*sys.argv[1:])"
)


def start(faces: str, weights: str) -> subprocess.Popen[bytes]:
    """Start `celebattr.inference.pool.worker`, with its standard streams as pipes.

    It imports from where this process does. In a frozen program, which has no Python to start, it
    is the program itself: see `worker.freeze_support`.

    Args:
        faces: `PredictConfig.faces`.
        weights: an ONNX bundle to score with, `protocol.DEFAULT`, or empty: it gives crops.

    Raises:
        DeviceError: it cannot be started.
    """
    frozen = getattr(sys, "frozen", False)
    if frozen and WORKER in os.environ:  # which would start the program again, and so for ever
        sys.exit("a frozen program starts itself: call celebattr.freeze_support() first in it")
    memory = MEMORY_MEGABYTES + (BUNDLE_MEGABYTES if weights else 0)
    arguments = [faces, str(memory), weights]
    environment = os.environ | _ENVIRONMENT
    if frozen:
        command = [sys.executable, *arguments]
        environment[WORKER] = "1"
    else:
        # Not by PYTHONPATH, where a package that bears the name of one of Python's would hide it.
        # The folder one stands in ("") may be full of photos: it is no place to import from.
        paths = [path for path in sys.path if path]
        paths += [] if _PACKAGE in paths else [_PACKAGE]
        # -P: nor while Python starts.
        command = [_python(), "-P", "-c", _RUN, json.dumps(paths), *arguments]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # until it is ready
            env=environment,
        )
    except OSError as error:
        raise DeviceError(
            f"cannot start a worker process: {command[0]}: {reason(error)}"
        ) from error


def _python() -> str:
    """Return the Python to start: within another program `sys.executable` may be that program."""
    spawn = sys.modules.get("multiprocessing.spawn")
    told = os.fsdecode((spawn.get_executable() if spawn else sys.executable) or "python")
    if re.match("python|pypy", Path(told).name, re.IGNORECASE):
        return told
    name = "python.exe" if os.name == "nt" else "bin/python{}.{}".format(*sys.version_info)
    found = (Path(prefix, name) for prefix in (sys.prefix, sys.base_prefix))
    return next((str(path) for path in found if path.exists()), told)


_FACES = "largest"
_OTHERWISE = (
    "-w",
    "--weights",
    "--speed",
    "--faces",
    "--device",
    "--precision",
    "--engine",
    "-h",
    "--help",
)
"""Options that need another kind of process, or none."""

_started: subprocess.Popen[bytes] | None = None


def begin(arguments: Sequence[str]) -> None:
    """Start the process that `celebattr predict ARGUMENTS`, as typed, is likely to need."""
    global _started
    # Prefixes suffice: a wrong guess starts no process, or one that `take` kills.
    if not any(argument.startswith(_OTHERWISE) for argument in arguments):
        with contextlib.suppress(DeviceError):  # who needs it says so
            _started = start(_FACES, DEFAULT)


def take(faces: str, *, default: bool) -> subprocess.Popen[bytes] | None:
    """Return the process that `begin` started, once, if it fits the options.

    Args:
        faces: `PredictConfig.faces`.
        default: whether bundle, device and precision are what they are without an option.
    """
    global _started
    begun, _started = _started, None
    if begun is not None and not (default and faces == _FACES):
        with begun:  # which closes its pipes, and waits
            begun.kill()
        return None
    return begun
