from __future__ import annotations

import itertools
import queue
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


def test_a_result_does_not_wait_for_the_next_item() -> None:
    asked = queue.SimpleQueue[int]()
    results = prefetch.ordered_map(lambda n: -n, iter(asked.get, 0), workers=2, ahead=4)
    for number in (1, 2, 3):
        asked.put(number)
        assert next(results) == -number
    asked.put(0)
    assert list(results) == []


def test_an_error_of_the_items_comes_after_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("five")

    for results in (
        prefetch.ordered_map(lambda n: n, items(), workers=2, ahead=9),
        itertools.chain.from_iterable(
            prefetch.gather(items(), lambda n: 1, most=3, seconds=9.0, ahead=2)
        ),
    ):
        assert [next(results) for _ in range(5)] == list(range(5))
        with pytest.raises(ValueError, match="five"):
            next(results)


def test_items_are_gathered_up_to_their_weight_or_as_far_as_they_have_come() -> None:
    groups = prefetch.gather(range(8), lambda n: n, most=6, seconds=60.0, ahead=3)
    assert list(groups) == [[0, 1, 2, 3], [4, 5], [6], [7]]
    asked = queue.SimpleQueue[int]()
    groups = prefetch.gather(iter(asked.get, 0), lambda n: 1, most=100, seconds=0.01, ahead=3)
    for number in (1, 2):
        asked.put(number)
        assert next(groups) == [number]
    asked.put(0)
    assert list(groups) == []


def test_a_wait_for_an_item_that_never_comes_can_be_given_up() -> None:
    asked = queue.SimpleQueue[int]()
    asked.put(1)
    results = prefetch.ordered_map(lambda n: n, iter(asked.get, 0), workers=1, ahead=2)
    assert next(results) == 1
    results.close()  # type: ignore[attr-defined]
    asked.put(0)
