"""Timeline of `celebattr predict PHOTO` as JSON, in seconds since the process was started.

    python timeline.py STARTED parent PHOTO     the process that was started
    python timeline.py STARTED child BUNDLE     the process that opens and scores, by itself

STARTED is `time.time()` of the moment before.
"""

from __future__ import annotations

import atexit
import json
import sys
import time
from collections.abc import Callable
from typing import Any

STARTED = float(sys.argv[1])
marks: dict[str, float] = {}


def mark(name: str) -> None:
    """Note the time of a step when it is first reached."""
    marks.setdefault(name, time.time() - STARTED)


def marked(function: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
    """Return the same function, noting when it begins and ends."""

    def call(*given: Any) -> Any:
        mark(before)
        result = function(*given)
        mark(after)
        return result

    return call


def parent(photo: str) -> None:
    """Run the command itself, watched."""
    from celebattr.inference.pool import protocol

    sys.argv = ["celebattr", "predict", photo]
    protocol.begin(sys.argv[2:])
    mark("first process started")
    protocol.begin = lambda arguments: None
    from celebattr.inference.pool.pool import Worker

    Worker.ready = marked(Worker.ready, "options understood", "process ready")  # type: ignore[method-assign]
    Worker.ask = marked(Worker.ask, "photo sent", "photo answered")  # type: ignore[method-assign]
    atexit.register(tell)
    from celebattr.__main__ import main

    main()


def child(weights: str) -> None:
    """Run the steps of the scoring process until it is ready."""
    import numpy  # noqa: F401

    mark("numpy")
    import PIL.Image  # noqa: F401

    mark("Pillow")
    import onnxruntime  # noqa: F401

    mark("onnxruntime")

    mark("celebattr's modules")
    from celebattr.models.backends import open_backend

    open_backend(weights, device="cpu")
    mark("bundle read, checked and ready to run")
    tell()


def tell() -> None:
    """Print the marks."""
    mark("row written")
    print(json.dumps(marks), file=sys.stderr)


if __name__ == "__main__":
    mark("Python up")
    {"parent": parent, "child": child}[sys.argv[2]](sys.argv[3])
