from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.evaluation.examples import HARDEST, SUREST, examples
from celebattr.evaluation.report import Example

NAMES = ("Smiling", "Bald", "Young")
TRUTH = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 0], [1, 1, 1]], np.uint8)
FOUND = np.array(
    [
        [0.90, 0.10, 0.80],  # right
        [0.30, 0.70, 0.20],  # wrong three times: the hardest
        [0.05, 0.99, 0.10],  # once, and surest
        [0.90, 0.45, 0.60],  # once, hardly
    ]
)


@pytest.fixture(scope="module")
def images(drawn_celeba: Path) -> FaceDataset:
    return load_dataset([drawn_celeba]).split("test", 4)


def found(images: FaceDataset, **options: Any) -> dict[str, list[Example]]:
    arguments = {"count": 2, "thumbnails": False} | options
    every = examples(images, FOUND, TRUTH, FOUND >= 0.5, NAMES, **arguments)
    return {why: [one for one in every if one.why == why] for why in (HARDEST, SUREST)}


def test_the_hardest_images_lose_most_over_all_attributes(images: FaceDataset) -> None:
    hardest = found(images)[HARDEST]
    assert [one.name for one in hardest] == [images.names[2], images.names[1]]
    loss = -np.log(np.where(TRUTH, FOUND, 1 - FOUND)).sum(axis=1)
    assert loss[2] > loss[1] > max(loss[0], loss[3])
    assert hardest[1].errors == (
        ("Young", True, 0.2),
        ("Smiling", True, 0.3),
        ("Bald", False, 0.7),
    )


def test_the_surest_errors_are_single_decisions_of_different_images(images: FaceDataset) -> None:
    surest = found(images, count=3)[SUREST]
    assert [one.name for one in surest] == [images.names[i] for i in (2, 1, 3)]
    assert [one.errors for one in surest] == [
        (("Bald", False, 0.99),),
        (("Young", True, 0.2),),
        (("Bald", True, 0.45),),
    ]


def test_images_without_an_error_are_no_examples(images: FaceDataset) -> None:
    every = found(images, count=10)
    assert all(images.names[0] != one.name for part in every.values() for one in part)
    assert [len(part) for part in every.values()] == [3, 3]


def test_wrong_is_what_the_decisions_say_not_what_is_below_a_half(images: FaceDataset) -> None:
    present = FOUND >= 0.05  # nearly all
    (one,) = examples(images, FOUND, TRUTH, present, NAMES, count=1, thumbnails=False)[-1:]
    assert one.errors == (("Bald", False, 0.99),)
    third = examples(images, FOUND, TRUTH, present, NAMES, count=4, thumbnails=False)
    wrong = {e[0] for one in third if one.name == images.names[2] for e in one.errors}
    assert wrong == {"Smiling", "Bald", "Young"}


def test_pictures_are_small_jpegs_and_only_of_the_examples(
    images: FaceDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = FaceDataset.read

    def watched(self: FaceDataset, index: int) -> Any:
        read.append(index)
        return real(self, index)

    monkeypatch.setattr(FaceDataset, "read", watched)
    every = found(images, count=1, thumbnails=True)
    assert set(read) == {2}
    (one,) = every[HARDEST]
    assert one.jpeg is not None
    with Image.open(io.BytesIO(one.jpeg)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (110, 134))
    assert len(one.jpeg) < 8_000
    read.clear()
    found(images)
    assert read == []
