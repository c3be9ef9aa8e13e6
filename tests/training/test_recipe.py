from __future__ import annotations

from pathlib import Path

import pytest

from celebattr.config import TrainConfig
from celebattr.training.recipe import complete


@pytest.mark.parametrize(
    ("images", "epochs"), [(100, 12), (17_256, 12), (40_126, 6), (162_770, 5), (5_000_000, 5)]
)
def test_more_images_are_seen_less_often(images: int, epochs: int) -> None:
    assert complete(TrainConfig(), images, "cpu").epochs == epochs


def test_a_gpu_gets_larger_images() -> None:
    assert complete(TrainConfig(), 1000, "cpu").size_at(11) == (128, 104)
    for device in ("cuda", "cuda:1", "mps"):
        assert complete(TrainConfig(), 1000, device).size_at(11) == (176, 144)


def test_what_is_given_stays_as_it_is() -> None:
    given = TrainConfig(epochs=3, image_size="64x64", batch_size=7)
    assert complete(given, 1000, "cuda") == given


def test_a_resumed_run_keeps_what_it_began_with(tmp_path: Path) -> None:
    begun = complete(TrainConfig(out=tmp_path), 1000, "cpu")
    (tmp_path / "config.json").write_text(begun.to_json())
    resumed = complete(TrainConfig(out=tmp_path, resume=True), 1_000_000, "cuda")
    assert (resumed.epochs, resumed.image_size) == (begun.epochs, begun.image_size)
    longer = complete(TrainConfig(out=tmp_path, resume=True, epochs=50), 1000, "cuda")
    assert longer.epochs == 50
