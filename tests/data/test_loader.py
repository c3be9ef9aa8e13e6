from __future__ import annotations

from typing import Any

import numpy as np

from celebattr.data import loader


def test_an_order_is_a_permutation_of_its_own_for_each_epoch() -> None:
    first, second = loader.order(100, 0, 0), loader.order(100, 0, 1)
    assert sorted(first.tolist()) == list(range(100))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, loader.order(100, 0, 0))


def test_batches_are_the_same_for_any_number_of_workers(drawn_celeba: Any) -> None:
    from celebattr.data.layouts.load import load_dataset

    dataset = load_dataset([drawn_celeba]).split("train")
    order = loader.order(len(dataset), 0, 0)

    def read(workers: int) -> list[loader.Batch]:
        return list(loader.batches(dataset, order, batch_size=10, workers=workers))

    one, three = read(1), read(3)
    assert [len(b.indices_B) for b in one][:-1] == [10] * (len(one) - 1)
    assert sum(len(b.indices_B) for b in one) == len(dataset)
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a.crops_BHWC, b.crops_BHWC)
        np.testing.assert_array_equal(a.targets_BA, b.targets_BA)
