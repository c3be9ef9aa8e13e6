from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from celebattr.data import loader


def test_results_come_in_order_whichever_thread_is_first() -> None:
    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    found = list(loader.ordered_map(slow, range(50), workers=4, ahead=6))
    assert found == [n * n for n in range(50)]


def test_no_more_than_asked_is_read_ahead() -> None:
    taken = 0

    def numbers() -> Any:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = loader.ordered_map(lambda n: n, numbers(), workers=2, ahead=5)
    next(results)
    assert taken <= 7
    results.close()  # type: ignore[attr-defined]


def test_an_error_is_raised_at_its_place_and_the_threads_end() -> None:
    def fail_at_3(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = loader.ordered_map(fail_at_3, range(100), workers=2, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert not [t for t in threading.enumerate() if t.name.startswith("celebattr")]


def test_an_order_is_a_permutation_of_its_own_for_each_epoch() -> None:
    first, second = loader.order(100, 0, 0), loader.order(100, 0, 1)
    assert sorted(first.tolist()) == list(range(100))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, loader.order(100, 0, 0))


def test_batches_are_the_same_for_any_number_of_workers(drawn_celeba: Any) -> None:
    from celebattr.data import celeba

    dataset = celeba.load([drawn_celeba]).split("train")
    order = loader.order(len(dataset), 0, 0)

    def read(workers: int) -> list[loader.Batch]:
        return list(loader.batches(dataset, order, batch_size=10, workers=workers))

    one, three = read(1), read(3)
    assert [len(b.indices_B) for b in one][:-1] == [10] * (len(one) - 1)
    assert sum(len(b.indices_B) for b in one) == len(dataset)
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a.frames_BHWC, b.frames_BHWC)
        np.testing.assert_array_equal(a.targets_BA, b.targets_BA)


def test_large_items_do_not_wait_in_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_HELD_BYTES", 10)
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    results = loader.ordered_map(lambda i: i, items(), workers=2, ahead=30, size=lambda i: 4)
    for done, result in enumerate(results, 1):
        assert result == done - 1
        assert taken <= done + 2  # two held, and the one that made it too much
