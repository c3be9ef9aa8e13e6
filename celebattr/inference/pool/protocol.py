"""What a process that opens and scores photos and the one that asks it say to each other.

A message is the length of its head (4 bytes, big endian), the head (JSON), and as many bytes as
the head says. No pickle.

    request   the fields of a PredictConfig, first and once
    answer    {"ready": PID, "facts": ... or null} or {"refused": [kind of error, message]}

    request   {"photos": [{"path": ..., "file": ..., "bytes": N or null}, ...], "seconds": ...}
              + the N bytes of each file
    answer    one a photo: {"failure": [status, error]}, or of a process with a bundle
              {"results": [a `Prediction` without its path, ...]}, or of one without
              {"boxes": [[left, top, right, bottom, score] or null, ...],
               "to_frame": [[six numbers] or null, ...], "faces": ...} + the frames
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

DEFAULT = "default"
"""For the weights: the process finds out itself what the default is on this machine."""

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
