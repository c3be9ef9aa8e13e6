"""Prefetch in threads with ordered results: Pillow, sockets and pipes release Python's lock."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

_HELD_BYTES = 1 << 26

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int,
    ahead: int,
    size: Callable[[T], int] = lambda item: 0,
) -> Iterator[R]:
    """Apply `function` in threads and yield results in the order of `items`.

    A result is yielded once it and those before it are there, however long the next item takes to
    come. At most `ahead` results wait unread, so memory is flat however many items there are. An
    exception of `function` or of `items` is raised where its result would have come.

    Args:
        function: called in threads.
        items: its arguments, iterated over in a thread of its own.
        workers: threads.
        ahead: results that may wait.
        size: bytes of an item; of those at work and waiting, no more than 64 MiB and one item.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="celebattr")
    reader = _Reader(items, lambda item: pool.submit(function, item), ahead + 1, size)
    try:
        while reader.wait():
            yield reader.first.result()
            reader.take()  # only now: the caller may still have what is counted
        reader.check()
    finally:
        # Also when the caller stops early: threads must not outlive what their function uses.
        reader.close()
        pool.shutdown(wait=True, cancel_futures=True)


def gather(
    items: Iterable[T],
    weight: Callable[[T], float],
    *,
    most: float,
    seconds: float,
    ahead: int,
    size: Callable[[T], int] = lambda item: 0,
) -> Iterator[list[T]]:
    """Yield items in groups: full ones, or what has come `seconds` after the first of the group.

    Args:
        items: what to group, iterated over in a thread of its own.
        weight: of an item.
        most: total weight at which a group is full.
        seconds: how long a group waits to become full.
        ahead: items that may wait.
        size: as in `ordered_map`.
    """
    reader = _Reader(items, lambda item: item, ahead, size)
    try:
        while reader.wait():
            group = [reader.take()]
            total, end = weight(group[0]), time.monotonic() + seconds
            while total < most and reader.wait(end - time.monotonic()):
                group.append(reader.take())
                total += weight(group[-1])
            yield group
        reader.check()
    finally:
        reader.close()


class _Reader(Generic[T, R]):
    """A thread that iterates over items as far as there is room, and begins something with each."""

    def __init__(
        self, items: Iterable[T], begin: Callable[[T], R], most: int, size: Callable[[T], int]
    ) -> None:
        self._begin, self._most, self._size = begin, most, size
        self._there: deque[tuple[R, int]] = deque()
        self._held = 0
        self._error: BaseException | None = None
        self._ended = self._closed = False
        self._changed = threading.Condition()
        # A daemon: nobody can end its wait for the next line of a pipe that stays open.
        self._thread = threading.Thread(
            target=self._read, args=(items,), name="celebattr", daemon=True
        )
        self._thread.start()

    def _read(self, items: Iterable[T]) -> None:
        try:
            for item in items:
                begun, size = self._begin(item), self._size(item)
                with self._changed:
                    self._there.append((begun, size))
                    self._held += size
                    self._changed.notify_all()
                    self._changed.wait_for(self._has_room)
                    if self._closed:
                        break
        except BaseException as error:  # `check` raises it in the caller's thread
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        there = len(self._there)
        return self._closed or not there or (there < self._most and self._held <= _HELD_BYTES)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the next one; return False at the end, or after some seconds without any."""
        with self._changed:
            self._changed.wait_for(lambda: self._there or self._ended, seconds)
            return bool(self._there)

    def check(self) -> None:
        """Raise what the iteration raised, if it did."""
        if self._error is not None:
            raise self._error

    @property
    def first(self) -> R:
        """The next one."""
        return self._there[0][0]

    def take(self) -> R:
        """Remove and return the next one, which makes room."""
        with self._changed:
            begun, size = self._there.popleft()
            self._held -= size
            self._changed.notify_all()
        return begun

    def close(self) -> None:
        """End the thread, unless the iteration does not return."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(1.0)
