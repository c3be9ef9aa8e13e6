"""Turns of threads that decode large images: together they hold no more than one may have."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator

from celebattr.constants import MAX_PIXELS

_SMALL, _HUGE = 1 << 20, 1 << 24
"""Pixels of an image that nobody waits for, and of one whose memory goes back to the system."""

_changed = threading.Condition()
_held = 0
_this_thread = threading.local()


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Decode images in turn: for a block, or a function, that keeps none of them.

    Of images of more than a megapixel, those of all such blocks have no more pixels than one image
    may have. One block has one image at a time; the next takes the place of the one before.
    """
    before = getattr(_this_thread, "turn", None)
    with contextlib.ExitStack() as _this_thread.turn:
        try:
            yield
        finally:
            _this_thread.turn = before


def wait(pixels: int) -> None:
    """Wait until the images of other threads leave room for one; at once outside of a turn."""
    turn: contextlib.ExitStack | None = getattr(_this_thread, "turn", None)
    if turn is not None and pixels > _SMALL:
        turn.close()  # who has a part and waits for more would wait for ever
        turn.enter_context(_room(pixels))


@contextlib.contextmanager
def _room(pixels: int) -> Iterator[None]:
    global _held
    with _changed:
        _changed.wait_for(lambda: not _held or _held + pixels <= MAX_PIXELS)
        _held += pixels
    try:
        yield
    finally:
        if pixels > _HUGE and (trim := _malloc_trim()) is not None:
            # glibc keeps what is freed for each thread: 600 MB times as many as had such an image.
            trim(0)
        with _changed:
            _held -= pixels
            _changed.notify_all()


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
