from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from copies import Copied

from celebattr.attributes import CELEBA
from celebattr.data.dataset import FaceDataset
from celebattr.data.loader import Batch
from celebattr.errors import WeightsError
from celebattr.models import bundle, registry
from celebattr.models.card import Card
from celebattr.models.preprocess import Preprocess, PreprocessSpec
from celebattr.training.batch import BatchBuilder
from celebattr.training.config import TrainConfig

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


def views(
    attributes: tuple[str, ...] = CELEBA,
    people: list[int] | None = None,
    device: torch.device = CPU,
    **changes: Any,
) -> BatchBuilder:
    train_set = FaceDataset(
        attributes=attributes,
        names=[f"{i}.jpg" for i in range(6)],
        targets_NA=np.zeros((6, len(attributes)), np.uint8),
        splits_N=np.zeros(6, np.int8),
        stores=(),
        store_N=np.zeros(6, np.uint8),
        identities_N=None if people is None else np.array(people),
        summary="",
    )
    config = dataclasses.replace(TrainConfig(person_balance=0.5), **changes)
    return BatchBuilder(config, train_set, device, autocast)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    card = Card(
        name="teacher",
        arch="resnet18",
        attributes=CELEBA[::-1],  # its own order
        preprocess=PreprocessSpec((32, 32)).to_dict(),
        scale=(2.0,) * 40,
        bias=(0.5,) * 40,
    )
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    bundle.save(path, card, registry.build(card.spec).state_dict())
    return path


def test_targets_are_the_labels_when_nothing_softens_them() -> None:
    some = batch()
    unit, targets, weights = views().make(some, slice(1, 4), epoch=0)
    assert weights is None
    assert unit.shape == (3, 3, 218, 178)
    assert 0.0 <= float(unit.min()) <= float(unit.max()) <= 1.0
    np.testing.assert_array_equal(targets.numpy(), some.targets_BA[1:4])


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_mixed_views_are_the_same_in_passes_of_any_size(size: int) -> None:
    some = batch()
    mixed = views(mixup=0.4, people=[0, 0, 0, 1, 1, 2])
    whole = mixed.make(some, slice(0, 6), epoch=1)
    parts = [mixed.make(some, slice(at, at + size), epoch=1) for at in range(0, 6, size)]
    for values, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(pieces), values)


def test_a_device_gets_the_crops_and_little_else() -> None:
    """`meta` computes nothing: it stands for a GPU."""
    shares = {"erasing": 0.25, "low_resolution": 0.2, "noise": 0.2, "grey": 0.1, "dark": 0.1}
    builder = views(device=torch.device("meta"), person_balance=0.0, mixup=0.2, **shares)
    given = batch(64)
    builder.make(given, slice(0, 64), 0)  # noise and matrices, which stay there
    with Copied() as copied:
        builder.make(given, slice(0, 64), 1)
    assert copied.bytes < given.crops_BHWC.nbytes + 64 * 256


def test_a_view_depends_on_the_epoch_and_nothing_else() -> None:
    mixed = views(mixup=0.4, erasing=0.5, low_resolution=0.5)
    one, two = (mixed.make(batch(), slice(0, 6), epoch=2) for _ in range(2))
    assert torch.equal(one.unit, two.unit)
    assert torch.equal(one.targets, two.targets)
    assert not torch.equal(one.unit, mixed.make(batch(), slice(0, 6), epoch=3).unit)
    assert ((one.targets > 0.0) & (one.targets < 1.0)).any()


def test_a_teacher_sees_the_same_view_and_has_its_share(teacher: Path) -> None:
    some = batch()
    hard = views(mixup=0.4).make(some, slice(0, 6), epoch=0).targets
    unit, soft, _ = views(mixup=0.4, teacher=(teacher,), teacher_weight=0.25).make(
        some, slice(0, 6), epoch=0
    )
    _, network = bundle.load(teacher)
    with torch.no_grad():
        logits = network(Preprocess(PreprocessSpec((32, 32))).normalize(unit))
    taught = torch.sigmoid(2.0 * logits + 0.5).flip(1)
    torch.testing.assert_close(soft, 0.75 * hard + 0.25 * taught, rtol=0, atol=1e-5)


def test_what_the_student_sees_is_spoiled_and_what_a_teacher_sees_is_not(teacher: Path) -> None:
    taught = {"teacher": (teacher,), "teacher_weight": 1.0, "mixup": 0.4}
    plain = views(**taught).make(batch(), slice(0, 6), 0)
    spoiled = views(**taught, noise=1.0, grey=1.0, erasing=1.0, low_resolution=1.0).make(
        batch(), slice(0, 6), 0
    )
    assert torch.equal(plain.targets, spoiled.targets)
    assert ((plain.unit - spoiled.unit).abs().mean(dim=(1, 2, 3)) > 0.01).all()


def test_several_teachers_are_averaged(teacher: Path) -> None:
    one = views(teacher=(teacher,), teacher_weight=1.0).make(batch(), slice(0, 6), 0).targets
    two = (
        views(teacher=(teacher, teacher), teacher_weight=1.0).make(batch(), slice(0, 6), 0).targets
    )
    torch.testing.assert_close(one, two)


def test_a_teacher_of_other_attributes_is_refused(teacher: Path) -> None:
    with pytest.raises(WeightsError, match=r"different attributes: .*Young"):
        views(CELEBA[:-1], teacher=(teacher,))


def test_a_person_with_many_images_counts_less_an_image() -> None:
    people = [7, 7, 7, 7, 9, 5]
    weights = views(people=people).make(batch(), slice(0, 6), 0).weights
    assert weights is not None
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[4] / weights[0]) == pytest.approx(2.0)  # four images: 4 ** -0.5
    assert weights[4] == weights[5]
    equal = views(people=people, person_balance=1.0).make(batch(), slice(0, 6), 0).weights
    assert equal is not None
    assert float(equal[:4].sum()) == pytest.approx(float(equal[4]))
    assert views(people=people, person_balance=0.0).make(batch(), slice(0, 6), 0).weights is None


def test_mixup_mixes_the_weights_too() -> None:
    people = [7, 7, 7, 7, 9, 5]
    plain = views(people=people).make(batch(), slice(0, 6), 0).weights
    mixed = views(people=people, mixup=0.4).make(batch(), slice(0, 6), 0).weights
    assert plain is not None
    assert mixed is not None
    assert plain[0] < mixed[0] < plain[5]
