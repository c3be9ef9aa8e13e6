from __future__ import annotations

from pathlib import Path

import pytest

from celebattr.errors import UsageError
from celebattr.training.config import TrainConfig
from celebattr.training.defaults import complete


@pytest.mark.parametrize(
    ("images", "epochs"), [(100, 12), (17_256, 12), (40_126, 6), (162_770, 5), (5_000_000, 5)]
)
def test_more_images_are_seen_less_often(images: int, epochs: int) -> None:
    assert complete(TrainConfig(), images, "cpu").epochs == epochs


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_gpu_gets_one_size_and_with_many_images_larger_batches(device: str) -> None:
    few, many = (complete(TrainConfig(), images, device) for images in (1000, 100_000))
    assert few.image_size == many.image_size == "128x104"
    assert (few.batch_size, few.lr, few.ema) == (64, 3e-4, 0.998)
    assert (many.batch_size, many.lr, many.head_lr) == (256, 6e-4, 2e-3)
    assert (many.epochs, many.warmup, many.ema) == (8, 0.1, 0.995)
    on_cpu = complete(TrainConfig(), 100_000, "cpu")
    assert (on_cpu.batch_size, on_cpu.warmup, on_cpu.ema) == (64, 0.15, 0.998)
    assert complete(TrainConfig(arch="cnn"), 100_000, device).batch_size == 64


def test_what_is_given_stays_as_it_is() -> None:
    given = TrainConfig(
        epochs=3,
        image_size="64x64",
        batch_size=7,
        backbone_weights="none",
        head="8",
        dropout=0.1,
        lr=0.5,
        head_lr=0.25,
        warmup=0.5,
        ema=0.5,
        mixup=0.0,
        erasing=0.5,
        cut_margins=0.25,
        noise=0.5,
        grey=0.25,
        low_resolution=0.5,
        recompress=0.25,
        dark=0.5,
    )
    assert complete(given, 1000, "cuda") == given


@pytest.mark.parametrize(
    ("arch", "start", "head", "size"),
    [
        ("resnet50", "imagenet", "linear", "80x64,128x104"),
        ("unet", "none", "linear", "48x40,64x52,80x64"),
        ("cnn", "none", "512,512", "224x224"),
        ("mlp", "none", "512,256", "64x64"),
        ("linear", "none", "linear", "64x64"),
    ],
)
def test_an_architecture_brings_its_start_its_layers_and_its_size(
    arch: str, start: str, head: str, size: str
) -> None:
    done = complete(TrainConfig(arch=arch), 1000, "cpu")
    assert (done.backbone_weights, done.head, done.image_size) == (start, head, size)
    assert done.dropout is not None
    assert done.lr == (3e-4 if arch == "resnet50" else 1e-3)
    seen = (done.mixup, done.erasing, done.cut_margins, done.noise, done.grey)
    assert seen == ((0.2, 0.25, 0.5, 0.1, 0.05) if arch == "resnet50" else (0.0,) * 5)
    compressed = (done.low_resolution, done.recompress)
    assert compressed == ((0.1, 0.5) if arch == "resnet50" else (0.0, 0.0))


def test_plain_descent_gets_learning_rates_of_its_own() -> None:
    assert complete(TrainConfig(optimizer="sgd"), 9, "cpu").lr == 0.001
    done = complete(TrainConfig(optimizer="gd", lr=0.7), 9, "cpu")
    assert (done.lr, done.head_lr) == (0.7, 0.7)


def test_growing_images_are_refused_for_a_network_of_one_size() -> None:
    with pytest.raises(UsageError, match="--arch cnn is made for one image size"):
        complete(TrainConfig(arch="cnn", image_size="64x64,128x128"), 1000, "cpu")
    complete(TrainConfig(arch="unet", image_size="64x64,128x128"), 1000, "cpu")


def test_a_resumed_run_keeps_what_it_began_with(tmp_path: Path) -> None:
    begun = complete(TrainConfig(output=tmp_path), 1000, "cpu")
    (tmp_path / "config.json").write_text(begun.to_json())
    resumed = complete(TrainConfig(output=tmp_path, resume=True), 1_000_000, "cuda")
    assert (resumed.epochs, resumed.image_size) == (begun.epochs, begun.image_size)
    longer = complete(TrainConfig(output=tmp_path, resume=True, epochs=50), 1000, "cuda")
    assert longer.epochs == 50
