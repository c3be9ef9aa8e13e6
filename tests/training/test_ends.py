"""Ends of runs, whatever the machine and the data do: nothing is lost, one sentence says why."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
import torch
from PIL import Image

from celebattr.data import loader
from celebattr.errors import DataError, UsageError
from celebattr.models import bundle
from celebattr.models.device import out_of_memory
from celebattr.models.network import Network
from celebattr.training import checkpoint, curves, loop, run_folder
from celebattr.training.callbacks import Logger, Stop
from celebattr.training.config import TrainConfig
from celebattr.training.distributed import World
from celebattr.training.gradients import passes


class Watch(Logger):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def write_own(folder: Path, validation: str = "01") -> Path:
    """Write a CSV of one attribute, and images that show it: dark or light."""
    folder.mkdir()
    rows = ["image,split,Light"]
    labels = [("train", str(i % 2)) for i in range(16)]
    labels += [("validation", validation[i % len(validation)]) for i in range(8)]
    for i, (split, label) in enumerate(labels):
        Image.new("RGB", (178, 218), (80 + 90 * int(label), i, i)).save(folder / f"{i:02}.png")
        rows.append(f"{i:02}.png,{split},{label}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_own(tmp_path / "own")


def config(data: Path, out: Path, **changes: Any) -> TrainConfig:
    tiny = {"limit": None, "batch_size": 8, "faces": "none", "epochs": 1, "ema": 0.0}
    return samples.config(data, out, **tiny | changes)


def history(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("validation", ["0", "1"])
@pytest.mark.usefixtures("no_pictures")
def test_where_validation_judges_nothing_its_loss_chooses_the_epoch(
    validation: str, tmp_path: Path
) -> None:
    data, out, watch = write_own(tmp_path / "own", validation), tmp_path / "run", Watch()
    # The first steps are the largest: the loss falls, and rises again from what it overshot.
    best = loop.train(config(data, out, epochs=5, head_lr=0.02), watch)
    losses = [row["validation_loss"] for row in history(out)]
    assert bundle.card_of(best).training["epoch"] == 1 + int(np.argmin(losses))
    assert any("validation image, which cannot judge it: Light" in t for t in watch.notices)


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([(None, 0.9), (None, 0.5), (None, 0.7)], 2),
        ([(0.8, 0.9), (0.8, 0.5), (0.8, 0.5)], 2),
        ([(0.8, 0.9), (0.9, 2.0), (0.7, 0.1)], 2),
        ([(None, float("nan")), (None, 3.0)], 2),
    ],
)
def test_the_best_epoch_has_the_best_precision_then_the_least_loss(
    epochs: list[tuple[float | None, float]], best: int
) -> None:
    names = ("epoch", "validation_mean_average_precision", "validation_loss")
    rows = [dict(zip(names, (i, *row), strict=True)) for i, row in enumerate(epochs, 1)]
    assert curves.best(rows)["epoch"] == best
    assert run_folder.out_of_patience(rows, len(rows) - best or None) == (len(rows) > best)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_folder_belongs_to_one_run_at_a_time(own: Path, tmp_path: Path, resume: bool) -> None:
    settings = config(own, tmp_path / "run", resume=resume)
    (tmp_path / "run").mkdir()
    with (
        run_folder.claim(dataclasses.replace(settings, resume=False), World()),
        pytest.raises(DataError, match="run is being written by another run: wait for it"),
    ):
        loop.train(settings)
    with pytest.raises(DataError, match="nothing to resume"):  # it is free again
        loop.train(dataclasses.replace(settings, resume=True))


def test_two_runs_that_start_together_are_one(own: Path, tmp_path: Path) -> None:
    ends: list[str] = []

    def run() -> None:
        try:
            loop.train(config(own, tmp_path / "run", epochs=2))
        except DataError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 1
    assert "another run" in ends[0] or "already holds a run" in ends[0]
    assert len(history(tmp_path / "run")) == 2


@pytest.mark.parametrize("place", ["file", "file/below", "link", "/proc/run"])
def test_a_run_folder_that_cannot_be_made_is_told_before_any_data_are_read(
    place: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "below")
    with pytest.raises(DataError, match=rf"cannot write .*{place}: .*(choose|create)"):
        loop.train(config(tmp_path / "no data", tmp_path / place))


def change_label(data: Path) -> None:
    text = (data / "labels.csv").read_text()
    (data / "labels.csv").write_text(text.replace("00.png,train,0", "00.png,train,1"))


def take_image(data: Path) -> None:
    text = (data / "labels.csv").read_text()
    (data / "labels.csv").write_text(text.replace("05.png,train,1\n", ""))


def move_image(data: Path) -> None:
    text = (data / "labels.csv").read_text()
    moved = text.replace("05.png,train,1", "05.png,validation,1")
    (data / "labels.csv").write_text(moved.replace("16.png,validation,0", "16.png,train,0"))


def rename(data: Path) -> None:
    text = (data / "labels.csv").read_text()
    (data / "labels.csv").write_text(text.replace("Light", "Dark"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_label, "the labels of the training images are others"),
        (take_image, r"the number of training images are others \(16, now 15\)"),
        (move_image, "the names of the training images are others"),
        (rename, r"the attributes are others \(\['Light'\], now \['Dark'\]\)"),
    ],
)
@pytest.mark.usefixtures("no_pictures")
def test_a_run_does_not_resume_on_other_data(
    change: Callable[[Path], None], told: str, own: Path, tmp_path: Path
) -> None:
    settings = config(own, tmp_path / "run")
    loop.train(settings)
    change(own)
    with pytest.raises(DataError, match=f"was made with other data: {told}"):
        loop.train(dataclasses.replace(settings, resume=True))


@pytest.mark.usefixtures("no_pictures")
def test_a_flipped_bit_of_a_checkpoint_is_noticed(own: Path, tmp_path: Path) -> None:
    settings = config(own, tmp_path / "run")
    loop.train(settings)
    file = tmp_path / "run" / checkpoint.NAME
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"last\.safetensors is damaged: its sha256"):
        loop.train(dataclasses.replace(settings, resume=True))


@pytest.mark.usefixtures("no_pictures")
def test_weights_too_wide_for_half_precision_are_kept_whole(own: Path, tmp_path: Path) -> None:
    best = loop.train(config(own, tmp_path / "run", head="8", arch="mlp"))
    card, network = bundle.load(best)
    state = network.state_dict()
    names = [name for name, tensor in state.items() if tensor.ndim > 1]
    for name, factor in zip(names, (1e7, 1e-7), strict=True):
        state[name] *= factor
    wide = tmp_path / "wide.safetensors"
    assert bundle.save(wide, card, state) == names
    again = bundle.load(wide)[1].state_dict()
    assert all(torch.equal(again[name], state[name]) for name in names)
    still = {"lr": 0.0, "head_lr": 0.0, "head": "8", "arch": "mlp"}
    watch = Watch()
    loop.train(config(own, tmp_path / "next", backbone_weights=str(wide), **still), watch)
    told = f"warning    too wide for half precision, kept in float32: {', '.join(names)}"
    assert told in watch.notices
    state[names[0]][0, 0] = float("nan")
    with pytest.raises(Exception, match="not all finite"):
        bundle.save(wide, card, state)


MEMORY = [
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 5 bytes."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: Error code 12"),
    RuntimeError("could not create a primitive"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
]


@pytest.mark.parametrize("error", MEMORY, ids=str)
@pytest.mark.usefixtures("no_pictures")
def test_every_library_that_is_out_of_memory_gets_smaller_passes(
    error: Exception, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Network.forward
    most = {True: 4, False: 2}  # validation has room for fewer

    def forward(self: Any, images: torch.Tensor) -> torch.Tensor:
        if len(images) > most[torch.is_grad_enabled()]:
            raise error
        return real(self, images)

    assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied"))
    monkeypatch.setattr(Network, "forward", forward)
    watch = Watch()
    loop.train(config(own, tmp_path / "run"), watch)
    assert [t for t in watch.notices if t.startswith("out of memory: 4 images per pass")]


ARGUMENTS = [
    *("--backbone-weights", "none", "--device", "cpu", "--faces", "none", "--batch-size", "16"),
]


def train(data: Path, out: Path, *more: str, **options: Any) -> subprocess.Popen[str]:
    command = ["-m", "celebattr", "train", "--data", str(data), "--output", str(out)]
    return subprocess.Popen(
        [sys.executable, *command, *ARGUMENTS, *more],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
    )


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_limit_of_memory_makes_smaller_passes(own: Path, tmp_path: Path) -> None:
    """Which passes fit depends on the machine: the run ends well, or says that none does."""
    size = ("--arch", "resnet18", "--image-size", "512x416", "--epochs", "1")
    limits = [gib << 29 for gib in (3, 4, 5, 6)]
    said = ""
    for limit in limits:
        process = train(
            own,
            tmp_path / str(limit),
            *size,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        _, err = process.communicate(timeout=600)
        assert process.returncode in (0, 5), err
        assert "Traceback" not in err
        said += err if process.returncode == 0 else ""
    assert "images per pass instead of" in said


@pytest.mark.parametrize(
    ("count", "size"), [(9, 4), (5, 4), (4, 4), (3, 4), (1, 4), (3, 1), (7, 2)]
)
def test_no_step_is_of_one_image(count: int, size: int) -> None:
    steps = loader.steps(np.arange(count), size)
    assert np.concatenate(steps).tolist() == list(range(count))
    assert len(steps) == len(loader.starts(count, size))
    assert size == 1 or count == 1 or min(map(len, steps)) > 1
    assert max(map(len, steps)) <= size + (size > 1)


def test_no_pass_of_any_process_is_of_one_image() -> None:
    for world in range(1, 5):
        for count in range(2, 40):
            parts = [len(World(rank, world).part(count)) for rank in range(world)]
            for size in range(2, max(parts) + 1):
                made = [passes(own, max(parts), size) for own in parts]
                assert len(set(map(len, made))) == 1
                for own, slices in zip(parts, made, strict=True):
                    lengths = [part.stop - part.start for part in slices]
                    assert sum(lengths) == own
                    assert 1 not in lengths


@pytest.mark.usefixtures("no_pictures")
def test_a_last_image_joins_the_batch_before_where_maps_are_1x1(own: Path, tmp_path: Path) -> None:
    settings = config(own, tmp_path / "run", arch="resnet18", head="linear", batch_size=5)
    loop.train(settings)  # 16 images: 5, 5, 6
    assert history(tmp_path / "run")[0]["step"] == 3
    alone = dataclasses.replace(settings, output=tmp_path / "one", batch_size=1)
    with pytest.raises(UsageError, match="batch norm needs more than one image per pass"):
        loop.train(alone)


def test_a_picture_that_fails_is_one_warning(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("latex could not be found")

    monkeypatch.setattr(curves, "curves", broken)
    watch = Watch()
    loop.train(config(own, tmp_path / "run", epochs=2), watch)
    told = [text for text in watch.notices if "could not be written" in text]
    assert told == ["warning    curves.png could not be written: latex could not be found"]
    assert (tmp_path / "run" / "report.html").exists()


def test_charts_do_not_depend_on_the_settings_of_matplotlib(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.dpi: 7\nsavefig.dpi: 7\n")
    code = (
        "import sys; from pathlib import Path; from celebattr.evaluation import metrics\n"
        "from celebattr.training import curves, html\n"
        "rows = [{'epoch': 1, 'train_loss': 0.5, 'validation_loss': 0.5}]\n"
        "curves.curves(rows, Path(sys.argv[1])); html.charts(rows)\n"
    )
    env = {"MPLBACKEND": "module://of.a.notebook", "MATPLOTLIBRC": str(tmp_path), "LOCAL_RANK": ""}
    command = [sys.executable, "-c", code, tmp_path / "other.png"]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    curves.curves([{"epoch": 1, "train_loss": 0.5, "validation_loss": 0.5}], tmp_path / "own.png")
    assert (tmp_path / "other.png").read_bytes() == (tmp_path / "own.png").read_bytes()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_ask_to_stop_unless_they_are_ignored(name: str) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        stop = Stop(Watch(), at_once=True)
        with stop.watch():
            os.kill(os.getpid(), number)
        assert not stop.asked
        signal.signal(number, signal.SIG_DFL)
        with stop.watch():
            os.kill(os.getpid(), number)
            if number != signal.SIGINT:  # a second one is no impatience
                os.kill(os.getpid(), number)
        assert stop.asked
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_background_run_survives_a_pause_and_saves_when_its_terminal_closes(
    own: Path, tmp_path: Path
) -> None:
    import fcntl
    import pty
    import termios

    out = tmp_path / "run"
    terminal, its = pty.openpty()

    def begin() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    more = ("--arch", "linear", "--image-size", "32x32", "--epochs", "2000")
    streams = {"stdin": its, "stdout": its, "stderr": its, "text": False}
    process = train(own, out, *more, preexec_fn=begin, start_new_session=True, **streams)
    os.close(its)
    deadline = time.monotonic() + 600

    def wait(epochs: int) -> int:
        while not (out / "history.jsonl").exists() or len(history(out)) < epochs:
            assert process.poll() is None
            assert time.monotonic() < deadline
            if select.select([terminal], [], [], 0.1)[0]:
                os.read(terminal, 1 << 16)  # it would wait for a reader
        return len(history(out))

    epochs = wait(1)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    process.send_signal(signal.SIGCONT)
    wait(epochs + 2)
    os.close(terminal)
    assert process.wait(timeout=600) == 130
    state = bundle.safetensors_metadata((out / checkpoint.NAME).read_bytes(), "")["state"]
    progress = json.loads(state)["progress"]
    # One batch an epoch. Between epochs the checkpoint of the last one is all there is to save.
    assert progress["step"] == progress["epoch"] + progress["batches"] >= epochs + 2
