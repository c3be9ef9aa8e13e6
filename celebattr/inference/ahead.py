"""A process that opens and scores photos, started while the command line is still being read.

To understand the options takes about as long as such a process needs to begin: side by side, one
photo waits a third less (docs/speed.md). Nobody knows the options yet, so what is started is what
they ask for when they say nothing else.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from celebattr.inference import child
from celebattr.inference.pool.protocol import DEFAULT

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
"""Options with which another process is needed, or none."""

_started: subprocess.Popen[bytes] | None = None


def begin(arguments: Sequence[str]) -> None:
    """Starts what `celebattr predict ARGUMENTS`, as typed, is likely to need."""
    global _started
    if not any(argument.startswith(_OTHERWISE) for argument in arguments):
        _started = child.start(_FACES, DEFAULT)


def take(faces: str, *, default: bool) -> subprocess.Popen[bytes] | None:
    """The process that was started, once, if it does what is asked for.

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
