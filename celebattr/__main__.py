"""Entry point of `celebattr` and `python -m celebattr`: process start-up and exit."""

from __future__ import annotations

import atexit
import os
import sys
import threading


def main() -> None:
    """Run the program and exit with the code that `celebattr.errors` gives."""
    if sys.argv[1:2] == ["predict"]:
        from celebattr.inference.pool import protocol

        protocol.begin(sys.argv[2:])
    from celebattr.cli import app

    try:
        app.main()
    except SystemExit as end:
        _leave(end)


def _leave(end: SystemExit) -> None:
    """End the process at once, without freeing objects, where no thread is left."""
    others = [t for t in threading.enumerate() if not t.daemon]
    if len(others) > 1 or not isinstance(end.code, int | None):
        raise end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(end.code or 0)


if __name__ == "__main__":
    main()
