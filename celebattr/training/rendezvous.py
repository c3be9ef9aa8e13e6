"""Variables that describe the processes of a run, and the place where these meet."""

from __future__ import annotations

import datetime
import logging
import os
import secrets
import threading
import time
from typing import Any

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from celebattr.errors import DeviceError, UsageError, reason

log = logging.getLogger(__name__)

MEETING = datetime.timedelta(minutes=10)
"""Timeout of a process for the others to start."""

_SILENCE = 5.0
"""Seconds of waiting for them without a word."""


def number(name: str) -> int | None:
    """Return a variable of the environment as a number; None if it is not set, or empty."""
    text = os.environ.get(name, "").strip()
    if text and not text.isdecimal():
        raise leftover(name, "it is no number")
    return int(text) if text else None


def leftover(name: str, why: str) -> UsageError:
    """Return the error for a variable that does not fit the others."""
    return UsageError(
        f"the environment has {name}={os.environ[name]}, but {why}: start several processes with "
        "torchrun, and one with: env -u RANK -u WORLD_SIZE celebattr train ..."
    )


def meet(rank: int, size: int) -> Any:
    """Return the store of `_meet`; say for whom this waits, if it does.

    Raises:
        DeviceError: the others did not come.
    """
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    whom = f"the {size - 1} other processes of WORLD_SIZE={size}"
    where = f"{'at' if rank == 0 else 'and the first one at'} {place}"
    if interface := os.environ.get("GLOO_SOCKET_IFNAME"):
        where += f", interface {interface}"
    minutes = MEETING.total_seconds() / 60
    said = threading.Timer(
        _SILENCE,
        lambda: log.warning(
            "process %d waits for %s %s, up to %g minutes", rank, whom, where, minutes
        ),
    )
    said.daemon = True
    said.start()
    try:
        return _meet(rank, size)
    except dist.DistError as error:
        raise DeviceError(
            f"process {rank} did not meet {whom} {where} within {minutes:g} minutes "
            f"({reason(error)}). Start all of them, or one: env -u RANK -u WORLD_SIZE celebattr "
            "train ..."
        ) from error
    finally:
        said.cancel()


def _meet(rank: int, size: int) -> Any:
    """Return a part of torchrun's store that these processes have for themselves.

    torchrun keeps its store when it starts the processes again, and gloo would call at the ports of
    those that were killed. A new name is agreed on, in words that only the living know; how often
    a process was started again does not do for one, since hosts count for themselves.
    """
    store, _, _ = next(rendezvous("env://", rank, size, timeout=MEETING))
    own = secrets.token_hex(8)
    if rank == 0:
        end = time.monotonic() + MEETING.total_seconds()
        missing = set(range(1, size))
        while missing:
            for other in sorted(missing):
                hello = f"celebattr/hello/{other}"
                if store.check([f"celebattr/{own}/{other}"]):
                    missing.remove(other)
                elif store.check([hello]):  # perhaps of one that was killed: then none hears this
                    store.set(f"celebattr/answer/{store.get(hello).decode()}", own)
            if time.monotonic() > end:
                raise dist.DistStoreError(f"processes {sorted(missing)} are missing")
            time.sleep(0.02)
        return dist.PrefixStore(own, store)  # type: ignore[attr-defined]
    store.set(f"celebattr/hello/{rank}", own)
    name = store.get(f"celebattr/answer/{own}").decode()  # waits for it
    store.set(f"celebattr/{name}/{rank}", "here")
    return dist.PrefixStore(name, store)  # type: ignore[attr-defined]
