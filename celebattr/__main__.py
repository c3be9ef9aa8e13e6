"""Entry point of `celebattr` and `python -m celebattr`: process start-up and exit."""

from __future__ import annotations

import atexit
import os
import sys
import threading


def main() -> None:
    """Run the program and exit with the code that `celebattr.errors` gives."""
    from celebattr.cli import streams

    streams.install()
    if getattr(sys, "frozen", False):
        from celebattr.inference.pool.worker import freeze_support

        freeze_support()
    # Before the import of the command line, which takes as long as the worker needs to start.
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
    # With another thread, or a message for an exit code, Python's own way out is taken.
    others = [t for t in threading.enumerate() if not t.daemon]
    if len(others) > 1 or not isinstance(end.code, int | None):
        raise end
    # os._exit skips the freeing of every object, which takes long with large libraries loaded, but
    # also exit handlers and the flushing of streams: both are done here first.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(end.code or 0)


if __name__ == "__main__":
    main()
