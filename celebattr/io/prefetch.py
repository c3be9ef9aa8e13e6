"""Prefetch in threads with ordered results: Pillow, sockets and pipes release Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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

    At most `ahead` results wait unread, so memory is flat however many items there are. An
    exception of `function` is raised where its result would have come.

    Args:
        function: called in threads.
        items: its arguments.
        workers: threads.
        ahead: results that may wait.
        size: bytes of an item; of those at work and waiting, no more than 64 MiB and one item.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="celebattr")
    waiting: deque[tuple[Future[R], int]] = deque()
    held = 0
    try:
        for item in items:
            waiting.append((pool.submit(function, item), size(item)))
            held += waiting[-1][1]
            while len(waiting) > ahead or (held > _HELD_BYTES and waiting):
                future, taken = waiting.popleft()
                held -= taken
                yield future.result()
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        # Also when the caller stops early: threads must not outlive what their function uses.
        pool.shutdown(wait=True, cancel_futures=True)
