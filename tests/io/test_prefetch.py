from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from celebattr.io import prefetch


def test_results_come_in_order_whichever_thread_is_first() -> None:
    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    found = list(prefetch.ordered_map(slow, range(50), workers=4, ahead=6))
    assert found == [n * n for n in range(50)]


def test_no_more_than_asked_is_read_ahead() -> None:
    taken = 0

    def numbers() -> Any:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = prefetch.ordered_map(lambda n: n, numbers(), workers=2, ahead=5)
    next(results)
    assert taken <= 7
    results.close()  # type: ignore[attr-defined]


def test_an_error_is_raised_at_its_place_and_the_threads_end() -> None:
    def fail_at_3(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = prefetch.ordered_map(fail_at_3, range(100), workers=2, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert not [t for t in threading.enumerate() if t.name.startswith("celebattr")]


def test_large_items_do_not_wait_in_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "_HELD_BYTES", 10)
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    results = prefetch.ordered_map(lambda i: i, items(), workers=2, ahead=30, size=lambda i: 4)
    for done, result in enumerate(results, 1):
        assert result == done - 1
        assert taken <= done + 2  # two held, and the one that made it too much
