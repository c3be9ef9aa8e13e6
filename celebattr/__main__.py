"""The process `celebattr`, or `python -m celebattr`: what it does before and after its command."""

from __future__ import annotations

import atexit
import os
import sys
import threading


def main() -> None:
    """Runs the program and ends the process with the code that `celebattr.errors` gives."""
    if sys.argv[1:2] == ["predict"]:
        from celebattr.inference.pool import protocol

        protocol.begin(sys.argv[2:])
    from celebattr.cli import app

    try:
        app.main()
    except SystemExit as end:
        _leave(end)


def _leave(end: SystemExit) -> None:
    """Ends at once where nothing is left to do: Python would free every object first."""
    others = [t for t in threading.enumerate() if not t.daemon]
    if len(others) > 1 or not isinstance(end.code, int | None):
        raise end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(end.code or 0)


if __name__ == "__main__":
    main()
