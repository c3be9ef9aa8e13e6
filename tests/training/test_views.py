from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from celebattr import bundle
from celebattr.attributes import CELEBA
from celebattr.config import TrainConfig
from celebattr.data.loader import Batch
from celebattr.data.preprocess import Preprocess
from celebattr.data.transforms import PreprocessSpec
from celebattr.errors import WeightsError
from celebattr.models import catalog
from celebattr.training.views import Views

CPU = torch.device("cpu")


def autocast() -> torch.autocast:
    return torch.autocast("cpu", enabled=False)


def batch(count: int = 6) -> Batch:
    random = np.random.default_rng(0)
    return Batch(
        random.integers(0, 256, (count, 218, 178, 3), dtype=np.uint8),
        random.integers(0, 2, (count, 40), dtype=np.uint8),
        np.arange(count),
    )


def views(attributes: tuple[str, ...] = CELEBA, **changes: Any) -> Views:
    return Views(dataclasses.replace(TrainConfig(), **changes), attributes, CPU, autocast)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    card = bundle.Card(
        name="teacher",
        arch="resnet18",
        attributes=CELEBA[::-1],  # its own order
        preprocess=PreprocessSpec((32, 32)).to_dict(),
        scale=(2.0,) * 40,
        bias=(0.5,) * 40,
    )
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    bundle.save(path, card, catalog.build(card.spec).state_dict())
    return path


def test_targets_are_the_labels_when_nothing_softens_them() -> None:
    some = batch()
    unit, targets = views().make(some, slice(1, 4), epoch=0)
    assert unit.shape == (3, 3, 218, 178)
    assert 0.0 <= float(unit.min()) <= float(unit.max()) <= 1.0
    np.testing.assert_array_equal(targets.numpy(), some.targets_BA[1:4])


def test_a_view_depends_on_the_epoch_and_nothing_else() -> None:
    mixed = views(mixup=0.4, erasing=0.5, low_resolution=0.5)
    one, two = (mixed.make(batch(), slice(0, 6), epoch=2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0], mixed.make(batch(), slice(0, 6), epoch=3)[0])
    assert ((one[1] > 0.0) & (one[1] < 1.0)).any()


def test_a_teacher_sees_the_same_view_and_has_its_share(teacher: Path) -> None:
    some = batch()
    _, hard = views(mixup=0.4).make(some, slice(0, 6), epoch=0)
    unit, soft = views(mixup=0.4, teacher=(teacher,), teacher_weight=0.25).make(
        some, slice(0, 6), epoch=0
    )
    _, network = bundle.load(teacher)
    with torch.no_grad():
        logits = network(Preprocess(PreprocessSpec((32, 32))).normalize(unit))
    taught = torch.sigmoid(2.0 * logits + 0.5).flip(1)
    torch.testing.assert_close(soft, 0.75 * hard + 0.25 * taught, rtol=0, atol=1e-5)


def test_several_teachers_are_averaged(teacher: Path) -> None:
    one = views(teacher=(teacher,), teacher_weight=1.0).make(batch(), slice(0, 6), epoch=0)[1]
    two = views(teacher=(teacher, teacher), teacher_weight=1.0).make(batch(), slice(0, 6), 0)[1]
    torch.testing.assert_close(one, two)


def test_a_teacher_of_other_attributes_is_refused(teacher: Path) -> None:
    with pytest.raises(WeightsError, match=r"different attributes: .*Young"):
        views(CELEBA[:-1], teacher=(teacher,))
