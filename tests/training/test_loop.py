"""Tiny real runs of the training loop on drawn faces."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
import torch
from PIL import Image
from safetensors.torch import load_file

from celebattr.constants import SPLITS
from celebattr.data import synthetic
from celebattr.data.duplicates import repeats
from celebattr.data.image_stores import Zip
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import DataError, DeviceError, UsageError
from celebattr.models import bundle, registry
from celebattr.models.network import Network
from celebattr.models.spec import ModelSpec
from celebattr.training import checkpoint, loop, run_folder
from celebattr.training.callbacks import Logger
from celebattr.training.config import TrainConfig

pytestmark = pytest.mark.usefixtures("no_pictures")

TIMES = ("seconds", "images_per_second", "data_wait")


class Watch(Logger):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.losses: list[float] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def step(self, progress: Any, batches: int, loss: float, share_done: float) -> None:
        self.losses.append(loss)


def config(data: Path, out: Path, **changes: Any) -> TrainConfig:
    """A small network with batch norms and dropout, two epochs of three steps."""
    return samples.config(data, out, **{"arch": "cnn", "head": "8", "dropout": 0.2} | changes)


def history(out: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def assert_same_run(one: Path, other: Path) -> None:
    assert history(one) == history(other)
    for name in ("best.safetensors", "last.safetensors"):
        a, b = load_file(one / name), load_file(other / name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name


@pytest.fixture(scope="module")
def whole(drawn_celeba: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run, with pictures."""
    out = tmp_path_factory.mktemp("whole") / "run"
    loop.train(config(drawn_celeba, out))
    return out


def test_a_run_leaves_its_settings_its_history_its_curves_and_a_bundle(whole: Path) -> None:
    assert sorted(p.name for p in whole.iterdir()) == [
        run_folder.LOCK,
        "best.safetensors",
        "config.json",
        "curves.png",
        "history.jsonl",
        "last.safetensors",
        "report.html",
    ]
    rows = history(whole)
    assert [row["image_size"] for row in rows] == ["32x32", "32x32"]
    assert [row["step"] for row in rows] == [3, 6]
    card, network = bundle.load(whole / "best.safetensors")
    assert len(card.attributes) == 40
    assert card.trained_on["images"] == 36
    assert "non-commercial" in card.trained_on["terms"]
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 40)
    best = max(rows, key=lambda row: row["validation_mean_average_precision"])
    assert card.training["epoch"] == best["epoch"]
    assert card.training["loss"] == "bce"


def test_the_same_seed_gives_the_same_run(whole: Path, drawn_celeba: Path, tmp_path: Path) -> None:
    loop.train(config(drawn_celeba, tmp_path / "run", workers=1))
    assert_same_run(whole, tmp_path / "run")


def test_a_cache_reads_each_image_once_and_changes_nothing(
    whole: Path, drawn_celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    plain = Zip.read
    monkeypatch.setattr(Zip, "read", lambda self, name: read.append(name) or plain(self, name))
    watch = Watch()
    # --faces auto would read some of them to look at.
    loop.train(config(drawn_celeba, tmp_path / "run", cache="ram", faces="none"), watch)
    assert_same_run(whole, tmp_path / "run")
    assert len(read) == len(set(read)) == 36 + 24
    assert any(text.startswith("cache      ram, 60 images") for text in watch.notices)


@pytest.mark.parametrize(("arch", "kept"), [("linear", "ram, 60 images"), ("cnn", "off")])
def test_images_are_kept_where_decoding_is_most_of_the_work(
    arch: str, kept: str, drawn_celeba: Path, tmp_path: Path
) -> None:
    watch = Watch()
    head = "linear" if arch == "linear" else "64"
    changes = {"arch": arch, "head": head, "epochs": 1, "cache_folder": tmp_path / "cache"}
    loop.train(config(drawn_celeba, tmp_path / "run", **changes), watch)
    assert any(text.startswith(f"cache      {kept}") for text in watch.notices)


def test_another_seed_gives_another_run(whole: Path, drawn_celeba: Path, tmp_path: Path) -> None:
    loop.train(config(drawn_celeba, tmp_path / "run", seed=1, epochs=1))
    assert history(tmp_path / "run")[0]["train_loss"] != history(whole)[0]["train_loss"]


def cut_off_and_resumed(settings: TrainConfig, stop_after: int) -> Watch:
    class Cut(Watch):
        def step(self, progress: Any, *rest: Any) -> None:
            if progress.step > stop_after:
                raise RuntimeError("power failure")

    with pytest.raises(RuntimeError, match="power failure"):
        loop.train(settings, Cut())
    watch = Watch()
    loop.train(dataclasses.replace(settings, resume=True), watch)
    return watch


@pytest.mark.parametrize("stop_after", [2, 4])
def test_a_run_cut_off_inside_an_epoch_resumes_bit_for_bit(
    whole: Path,
    drawn_celeba: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_after: int,
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    watch = cut_off_and_resumed(config(drawn_celeba, tmp_path / "run"), stop_after)
    assert len(watch.losses) == 6 - stop_after
    assert_same_run(whole, tmp_path / "run")


GROWING = {"arch": "resnet18", "image_size": "32x32,48x32", "limit": 12, "batch_size": 6}


def test_images_grow_from_epoch_to_epoch(drawn_celeba: Path, tmp_path: Path) -> None:
    best = loop.train(config(drawn_celeba, tmp_path / "run", **GROWING))
    assert [row["image_size"] for row in history(tmp_path / "run")] == ["32x32", "48x32"]
    assert bundle.load(best)[1](torch.zeros(1, 3, 48, 32)).shape == (1, 40)


@pytest.mark.long
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_run_of_growing_images_resumes_too(
    drawn_celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    loop.train(config(drawn_celeba, tmp_path / "whole", **GROWING))
    cut_off_and_resumed(config(drawn_celeba, tmp_path / "run", **GROWING), stop_after)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_checkpoints_are_written_every_so_many_steps(
    drawn_celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    monkeypatch.setattr(
        checkpoint, "write", lambda _, progress, *rest: written.append(progress.step)
    )
    settings = plain(drawn_celeba, tmp_path / "run", checkpoint_every=2, epochs=2)
    loop.train(dataclasses.replace(settings, optimizer="sgd"))
    assert written == [2, 3, 4, 6, 6]  # and after each epoch of three


def train_in_a_process(
    settings: TrainConfig, *flags: str, epochs: int = 2
) -> subprocess.Popen[str]:
    arguments = [
        *("--arch", settings.arch, "--backbone-weights", "none", "--head", "8", "--dropout", "0.2"),
        *("--epochs", str(epochs), "--batch-size", "12", "--limit", "36", "--image-size", "32x32"),
        *("--precision", "float32", "--device", "cpu", "--ema", "0.9"),
        *("--data", str(settings.data[0]), "--output", str(settings.output), *flags),
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "celebattr", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 600
    while not file.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_run_resumes_bit_for_bit_from_the_command_line(
    whole: Path, drawn_celeba: Path, tmp_path: Path
) -> None:
    settings = config(drawn_celeba, tmp_path / "run")
    process = train_in_a_process(settings, "--checkpoint-every", "1")
    wait_for(settings.output / "last.safetensors", process)
    process.kill()
    process.communicate()
    rows = settings.output / "history.jsonl"
    assert not rows.exists() or rows.read_text().count("\n") < 2
    again = train_in_a_process(settings, "--resume")
    out, err = again.communicate(timeout=600)
    assert again.returncode == 0, err
    assert out.strip() == str(settings.output / "best.safetensors")
    assert "resumed" in err
    # Another process may split sums among threads otherwise; the seed's own run is the reference.
    assert [row["step"] for row in history(settings.output)] == [3, 6]
    assert_same_run(whole, settings.output)


def test_ctrl_c_saves_and_ends_with_130(drawn_celeba: Path, tmp_path: Path) -> None:
    settings = config(drawn_celeba, tmp_path / "run")
    process = train_in_a_process(settings, epochs=200)
    wait_for(settings.output / "config.json", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert (settings.output / "last.safetensors").exists()


def test_out_of_memory_halves_the_pass_says_so_and_goes_on(
    drawn_celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Network.forward

    def small_memory(self: Any, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, images)

    monkeypatch.setattr(Network, "forward", small_memory)
    watch = Watch()
    loop.train(config(drawn_celeba, tmp_path / "run", epochs=1), watch)
    halved = [text for text in watch.notices if text.startswith("out of memory")]
    assert len(halved) == 2  # 12 -> 6 -> 3
    assert "3 images per pass" in halved[1]
    assert history(tmp_path / "run")[0]["step"] == 3


def test_too_little_memory_for_one_image_is_a_device_error(
    drawn_celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(self: Any, images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Network, "forward", no_memory)
    with pytest.raises(DeviceError, match="too little memory for one image"):
        loop.train(config(drawn_celeba, tmp_path / "run"))


def test_resuming_with_other_settings_is_refused_by_name(whole: Path, drawn_celeba: Path) -> None:
    with pytest.raises(UsageError, match=r"lr 0\.001 \(now 0\.5\)"):
        loop.train(config(drawn_celeba, whole, lr=0.5, resume=True))


def test_a_folder_that_holds_a_run_is_not_overwritten(whole: Path, drawn_celeba: Path) -> None:
    with pytest.raises(DataError, match="already holds a run"):
        loop.train(config(drawn_celeba, whole))


@pytest.mark.parametrize(
    ("frozen", "kept"),
    [
        ({"freeze_backbone": True}, ("backbone.",)),
        ({"freeze_stages": 1}, ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.")),
    ],
)
def test_what_is_frozen_stays_as_it_starts_and_the_rest_trains(
    frozen: dict[str, Any], kept: tuple[str, ...], drawn_celeba: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    settings = {"arch": "resnet18", "epochs": 1, "limit": 12, "weight_decay": 0.1}
    loop.train(config(drawn_celeba, out, **settings | frozen))
    torch.manual_seed(0)
    fresh = registry.build(ModelSpec("resnet18", 40, (8,), 0.2)).state_dict()
    state = load_file(out / "last.safetensors")
    for name, tensor in fresh.items():
        assert torch.equal(state[f"network.{name}"], tensor) == name.startswith(kept), name


def test_stages_that_a_network_does_not_have_are_not_frozen(
    drawn_celeba: Path, tmp_path: Path
) -> None:
    settings = config(drawn_celeba, tmp_path / "run", arch="unet", head="linear", freeze_stages=1)
    with pytest.raises(UsageError, match="--freeze-stages 1: unet has no stages"):
        loop.train(settings)


def test_fine_tuning_starts_from_a_bundle_head_included(
    whole: Path, drawn_celeba: Path, tmp_path: Path
) -> None:
    watch = Watch()
    settings = config(drawn_celeba, tmp_path / "run", epochs=1)
    loop.train(dataclasses.replace(settings, backbone_weights=str(whole)), watch)
    assert any("backbone and head" in text for text in watch.notices)
    card = bundle.card_of(tmp_path / "run" / "best.safetensors")
    assert card.trained_on["started_from"]["bundle"] == "cnn-run"


def test_the_loss_falls_on_attributes_that_can_be_seen(drawn_celeba: Path, tmp_path: Path) -> None:
    watch = Watch()
    loop.train(
        config(
            drawn_celeba,
            tmp_path / "run",
            limit=None,
            epochs=6,
            dropout=0.0,
            head="linear",
            lr=2e-3,
            head_lr=5e-3,
        ),
        watch,
    )
    steps = len(watch.losses) // 6
    assert sum(watch.losses[-steps:]) < 0.9 * sum(watch.losses[:steps])


def plain(data: Path, out: Path, **changes: Any) -> TrainConfig:
    """Gradient descent over all images, on the linear model."""
    settings = {"arch": "linear", "head": "linear", "dropout": 0.0}
    return config(data, out, optimizer="gd", lr=0.1, head_lr=0.1, **settings | changes)


def test_gradient_descent_steps_once_an_epoch_along_the_gradient_over_all_images(
    drawn_celeba: Path, tmp_path: Path
) -> None:
    weights = []
    for batch_size in (7, 36):
        out = tmp_path / str(batch_size)
        loop.train(plain(drawn_celeba, out, batch_size=batch_size, epochs=3))
        assert [row["step"] for row in history(out)] == [1, 2, 3]
        weights.append(load_file(out / "last.safetensors"))
    for name in ("network.head.1.weight", "network.head.1.bias"):
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-6)
    losses = [row["train_loss"] for row in history(tmp_path / "36")]
    assert losses[2] < losses[0]


def test_gradient_descent_that_was_cut_off_begins_its_epoch_again(
    drawn_celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)

    class Cut(Watch):
        def step(self, progress: Any, *rest: Any) -> None:
            if (progress.epoch, progress.batches) == (1, 2):
                raise RuntimeError("power failure")

    loop.train(plain(drawn_celeba, tmp_path / "whole"))
    settings = plain(drawn_celeba, tmp_path / "run")
    with pytest.raises(RuntimeError, match="power failure"):
        loop.train(settings, Cut())
    watch = Watch()
    loop.train(dataclasses.replace(settings, resume=True), watch)
    assert len(watch.losses) == 3
    assert history(tmp_path / "run") == history(tmp_path / "whole")


def test_stochastic_gradient_descent_learns_too(drawn_celeba: Path, tmp_path: Path) -> None:
    settings = plain(drawn_celeba, tmp_path / "run", epochs=4)
    loop.train(dataclasses.replace(settings, optimizer="sgd", lr=0.01, head_lr=0.01))
    losses = [row["train_loss"] for row in history(tmp_path / "run")]
    assert losses[-1] < losses[0]


def test_a_share_of_the_training_images_is_the_same_for_a_seed(
    drawn_celeba: Path, tmp_path: Path
) -> None:
    watch = Watch()
    loop.train(plain(drawn_celeba, tmp_path / "run", train_share=0.25, epochs=1), watch)
    assert bundle.card_of(tmp_path / "run/best.safetensors").trained_on["images"] == 9
    whole = load_dataset([drawn_celeba]).split("train")
    few = whole.share(0.25, seed=3)
    assert few.names == whole.share(0.25, seed=3).names == sorted(few.names)
    assert few.names != whole.share(0.25, seed=4).names
    assert len(few) == len(whole) // 4


def test_training_images_whose_picture_is_held_out_are_left_out(
    drawn_celeba: Path, tmp_path: Path
) -> None:
    """One picture of test stands in train under another name, re-compressed."""
    data = tmp_path / "data"
    shutil.copytree(drawn_celeba, data)
    images = load_dataset([data])
    test, train = (int(np.flatnonzero(images.splits_N == SPLITS[s])[0]) for s in ("test", "train"))
    held_out = [images.split(name) for name in ("validation", "test")]
    # Some synthetic faces are all but one picture; the first of train is none of them.
    before_N = repeats(images.split("train"), held_out, workers=2)
    assert not before_N[0]
    (archive,) = data.rglob("*.zip")
    with zipfile.ZipFile(archive) as file:
        members = {name: file.read(name) for name in file.namelist()}
    (copy,) = (name for name in members if name.endswith(images.names[train]))
    again = io.BytesIO()
    Image.fromarray(images.read(test)).save(again, "JPEG", quality=50)
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in members.items():
            file.writestr(name, again.getvalue() if name == copy else content)
    watch = Watch()
    settings = config(data, tmp_path / "run", limit=None, epochs=1)
    best = loop.train(dataclasses.replace(settings, leave_out_repeats=True), watch)
    (line,) = (text for text in watch.notices if text.startswith("repeats"))
    count = int(before_N.sum()) + 1
    assert line.startswith(f"repeats    {count} training image")
    assert bundle.card_of(best).trained_on["images"] == len(before_N) - count


def test_drawn_faces_need_no_folder(tmp_path: Path) -> None:
    loop.train(plain(Path("drawn"), tmp_path / "run", epochs=1))
    card = bundle.card_of(tmp_path / "run/best.safetensors")
    assert card.attributes == tuple(synthetic.VISIBLE)
    first, again = (load_dataset([Path("drawn")]).split("test") for _ in range(2))
    assert len(first) == 400
    assert (first.read(0) == again.read(0)).all()
    assert (first.read(0) != first.read(1)).any()


def test_a_compiled_run_is_the_same_run(
    whole: Path, drawn_celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", compile)
    watch = Watch()
    loop.train(config(drawn_celeba, tmp_path / "run", compile="on"), watch)
    assert "compile    on: first steps take a minute longer" in watch.notices
    assert_same_run(whole, tmp_path / "run")


def test_the_history_says_how_long_the_network_waited_for_images(
    whole: Path,
) -> None:
    rows = [json.loads(line) for line in (whole / "history.jsonl").read_text().splitlines()]
    assert all(0.0 < row["data_wait"] < 1.0 for row in rows)


def linear(data: Path, out: Path, **changes: Any) -> TrainConfig:
    quick = TrainConfig(
        data=(data,),
        output=out,
        arch="linear",
        epochs=6,
        image_size="32x32",
        batch_size=16,
        lr=0.0,
        head_lr=0.0,
        device="cpu",
        faces="none",
        thumbnails=False,
    )
    return dataclasses.replace(quick, **changes)


def test_patience_the_majority_and_a_finished_run(drawn_celeba: Path, tmp_path: Path) -> None:
    settings = linear(drawn_celeba, tmp_path / "run", patience=1)
    watch = Watch()
    loop.train(settings, watch)
    rows = history(tmp_path / "run")
    assert len(rows) == 2  # nothing is learnt, so the second is no better
    dataset = load_dataset([drawn_celeba]).split("validation")
    shares = dataset.targets_NA.mean(axis=0)
    assert rows[0]["validation_majority_accuracy"] == pytest.approx(
        np.maximum(shares, 1 - shares).mean()
    )
    assert any("always the more frequent value has" in line for line in watch.notices)
    watch = Watch()
    loop.train(dataclasses.replace(settings, resume=True), watch)
    assert any(line.startswith("finished   2 of 6 epochs are done.") for line in watch.notices)
    with pytest.raises(UsageError, match="--backbone-weights"):
        loop.train(dataclasses.replace(settings, resume=True, epochs=9))


def test_terms_are_those_of_what_went_in(tmp_path: Path) -> None:
    own = dataclasses.replace(
        load_dataset(["drawn"]).take(np.arange(4)), names=["me.jpg", "a/1.jpg", "2.png", "0003"]
    )
    settings = TrainConfig()
    assert checkpoint.terms(settings, own, "none") == {}
    assert checkpoint.terms(settings, own, "imagenet") == {}
    assert checkpoint.terms(settings, own, {"bundle": "x", "data": "mine"}) == {}
    assert "non-commercial" in checkpoint.terms(settings, own, {"terms": "CelebA"})["terms"]
    celeba = dataclasses.replace(own, names=["000001.jpg", "2.png", "3.png", "4.png"])
    assert "non-commercial" in checkpoint.terms(settings, celeba, "none")["terms"]
