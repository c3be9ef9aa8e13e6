"""Training in several processes: the same run as in one, and what happens when one is killed."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import processes
import psutil
import pytest
import samples
import torch

import celebattr
from celebattr.errors import DeviceError, UsageError
from celebattr.models import bundle
from celebattr.models.device import resolve_one_of
from celebattr.options import flag
from celebattr.training import checkpoint, distributed, loop, rendezvous, run_folder
from celebattr.training.config import TrainConfig
from celebattr.training.distributed import World

pytestmark = pytest.mark.usefixtures("no_pictures")

TESTS = Path(__file__).parents[1]
TWO = ["mlp", "still", "descent", "tuned", "norms", "memory", "stopped", "refusals"]
FOUR = ["mlp", "still"]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 64])
def test_parts_are_whole_mirrored_pairs_and_make_up_the_batch(size: int, count: int) -> None:
    worlds = [World(rank, size) for rank in range(size)]
    parts = [world.part(count) for world in worlds]
    assert sorted(np.concatenate(parts)) == list(range(count))
    for part in parts:
        assert list(part) == sorted(part)
        np.testing.assert_array_equal(part[::-1], count - 1 - part)
    assert max(map(len, parts)) == worlds[-1].largest(count) == len(parts[0])


def test_a_world_of_one_takes_all_and_talks_to_nobody() -> None:
    world = World()
    assert list(world.part(5)) == [0, 1, 2, 3, 4]
    assert (world.sum(1.5), world.least(3), world.broadcast_bytes(b"a")) == (1.5, 3, b"a")
    assert world.any(True, False) == [True, False]
    assert world.texts("x") == ["x"]


@pytest.fixture(scope="module")
def faces(drawn_celeba: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces of few people, who are shown more or less often."""
    folder = tmp_path_factory.mktemp("faces") / "data"
    shutil.copytree(drawn_celeba, folder)
    people = [f"{i:06}.jpg {1 + int(i**0.5)}\n" for i in range(1, 113)]
    (folder / "Anno" / "identity_CelebA.txt").write_text("".join(people))
    return folder


@pytest.fixture(scope="module")
def alone(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The runs in this process."""
    out = tmp_path_factory.mktemp("alone")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as torchrun has it: a sum split among threads is rounded otherwise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder.RunFolder, "pictures", lambda *_: None)
        for case in ("mlp", "still", "descent", "tuned"):
            loop.train(processes.config(faces, out, case))
    yield out
    torch.set_num_threads(threads)


def torchrun(count: int, *arguments: str | Path) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", str(count), *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


def in_processes(count: int, faces: Path, out: Path, cases: list[str]) -> Path:
    done = subprocess.run(
        torchrun(count, TESTS / "processes.py", faces, out, *cases),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def two(faces: Path, alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs in two processes."""
    return in_processes(2, faces, tmp_path_factory.mktemp("two"), TWO)


@pytest.fixture(scope="module")
def four(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_processes(4, faces, tmp_path_factory.mktemp("four"), FOUR)


def history(out: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in row.items() if "seconds" not in k and "second" not in k} for row in rows
    ]


def assert_same_losses(one: Path, other: Path) -> None:
    rows, others = history(one), history(other)
    assert [row["step"] for row in rows] == [row["step"] for row in others]
    for name in ("train_loss", "validation_loss"):
        assert [r[name] for r in rows] == pytest.approx([r[name] for r in others], rel=1e-5), name
    weights, others_weights = (
        checkpoint.load_tensors(checkpoint.load(out)) for out in (one, other)
    )
    for name, tensor in weights.items():
        if name.startswith(("network.", "average.")):
            torch.testing.assert_close(tensor, others_weights[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["mlp", "descent", "tuned"])
def test_two_processes_train_as_one_does(alone: Path, two: Path, case: str) -> None:
    assert_same_losses(alone / case, two / case)


@pytest.mark.long
def test_four_processes_train_as_one_does(alone: Path, four: Path) -> None:
    assert_same_losses(alone / "mlp", four / "mlp")


@pytest.mark.parametrize("runs", ["two", pytest.param("four", marks=pytest.mark.long)])
def test_figures_of_the_same_weights_are_equal_to_the_last_digit(
    alone: Path, runs: str, request: pytest.FixtureRequest
) -> None:
    figures = [
        [{k: v for k, v in row.items() if k.startswith("validation")} for row in history(out)]
        for out in (alone / "still", request.getfixturevalue(runs) / "still")
    ]
    assert figures[0] == figures[1]
    assert len(figures[0][0]) == 4


def notices(out: Path) -> str:
    return "\n".join(json.loads((out / "notices.json").read_text()))


def test_it_is_said_how_a_batch_is_shared_and_what_batch_norms_see(two: Path) -> None:
    assert "processes  2, gloo: of a step's 9 images each takes 5 at most" in notices(two / "mlp")
    assert "batch norm" not in notices(two / "mlp")
    assert "batch norm over each process's own images" in notices(two / "norms")


def test_memory_that_one_process_lacks_makes_all_take_smaller_passes(
    alone: Path, two: Path
) -> None:
    said = notices(two / "memory").split("\n")
    sizes = [line for line in said if line.startswith("out of memory")]
    assert [line.split()[3] for line in sizes] == ["3", "2", "1"]
    assert_same_losses(alone / "mlp", two / "memory")


def test_one_process_that_is_asked_to_stop_stops_all_after_the_same_step(
    faces: Path, alone: Path, two: Path, tmp_path: Path
) -> None:
    assert not (two / "stopped" / "history.jsonl").exists()
    shutil.copytree(two / "stopped", tmp_path / "stopped")
    settings = dataclasses.replace(processes.config(faces, tmp_path, "stopped"), resume=True)
    watch = processes.Watch()
    loop.train(settings, watch)
    assert "resumed    epoch 1, batch 3" in watch.notices
    assert_same_losses(alone / "mlp", tmp_path / "stopped")


def test_what_one_process_cannot_do_ends_all_and_is_said_once(two: Path) -> None:
    missing, other = json.loads((two / "refusals.json").read_text())
    assert missing.startswith("process 1 of 2: ")
    assert "nothing" in missing
    assert "37 train and 24 validation images" in other
    assert "12 train and 12 validation images" in other


def command_line(out: Path) -> TrainConfig:
    """What the runs that are killed are asked for."""
    tiny = {"arch": "mlp", "head": "8", "dropout": 0.0, "mixup": 0.4, "epochs": 1}
    return samples.config(Path("drawn"), out, batch_size=8, limit=240, checkpoint_every=2, **tiny)


def command(out: Path) -> list[str]:
    options = []
    for field in dataclasses.fields(TrainConfig):
        value = getattr(command_line(out), field.name)
        if value != field.default:
            options += [flag(field.name), str(value[0] if isinstance(value, tuple) else value)]
    return ["-m", "celebattr", "train", *options]


def workers(launcher: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    """Processes by rank."""
    children = psutil.Process(launcher.pid).children()
    return {int(child.environ()["RANK"]): child for child in children}


def killed(launcher: subprocess.Popen[str], out: Path, rank: int) -> None:
    """Kills a process of a run in the middle, once there is a checkpoint."""
    deadline = time.monotonic() + 600
    while not (out / checkpoint.NAME).exists():
        assert launcher.poll() is None, launcher.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers(launcher)[rank].kill()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in this process, not cut off."""
    out = tmp_path_factory.mktemp("whole") / "run"
    loop.train(command_line(out))
    return out


@pytest.mark.long
def test_a_killed_process_ends_all_and_one_process_goes_on(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    launcher = subprocess.Popen(
        torchrun(2, *command(out)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    killed(launcher, out, rank=1)
    _, err = launcher.communicate(timeout=600)
    assert launcher.returncode != 0
    assert err.count("celebattr: another process of the run has ended") == 1, err
    assert not (out / "history.jsonl").exists()
    watch = processes.Watch()
    loop.train(dataclasses.replace(command_line(out), resume=True), watch)
    (resumed,) = [text for text in watch.notices if text.startswith("resumed")]
    assert int(resumed.split()[-1]) >= 2
    assert_same_losses(whole, out)


@pytest.mark.long
def test_torchrun_starts_a_run_again_that_goes_on_by_itself(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    launcher = subprocess.Popen(
        torchrun(2, "--max-restarts", "1", *command(out)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    killed(launcher, out, rank=0)
    printed, err = launcher.communicate(timeout=600)
    assert launcher.returncode == 0, err
    assert printed == f"{out / 'best.safetensors'}\n"
    assert "restarted  by torchrun, time 1: continuing from the last checkpoint" in err
    assert "resumed    epoch 1" in err
    assert err.count("epoch 1/1") == 1
    assert_same_losses(whole, out)


MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"RANK": "0"}, "RANK=0, but WORLD_SIZE is not set"),
        ({"RANK": "0", "WORLD_SIZE": ""}, "RANK=0, but WORLD_SIZE is not set"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2, but RANK is not set"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK=x, but it is no number"),
        ({"RANK": "2", "WORLD_SIZE": "2", **MEETING}, "RANK=2, but it counts from 0"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "WORLD_SIZE=2, but MASTER_ADDR and MASTER_PORT"),
        ({"RANK": "0", "WORLD_SIZE": "2", **MEETING, "MASTER_PORT": "x"}, "MASTER_PORT=x, but it"),
        ({"RANK": "", "WORLD_SIZE": "", "LOCAL_RANK": ""}, ""),
        ({"WORLD_SIZE": "1"}, ""),
    ],
)
def test_variables_that_a_scheduler_left_are_named(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, str], said: str
) -> None:
    for name in ("RANK", "WORLD_SIZE", *MEETING):
        monkeypatch.delenv(name, raising=False)
    for name, value in there.items():
        monkeypatch.setenv(name, value)
    if not said:
        assert World.here() == World()
        return
    with pytest.raises(UsageError) as error, distributed.join():
        pass
    assert said in str(error.value)
    assert "env -u RANK -u WORLD_SIZE celebattr train" in str(error.value)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_says_for_whom_it_waits_and_for_how_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rank: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    there = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in there.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rendezvous, "MEETING", datetime.timedelta(seconds=1.2))
    monkeypatch.setattr(rendezvous, "_SILENCE", 0.01)
    with (
        pytest.raises(DeviceError, match=f"127.0.0.1:{port} within 0.02 minutes"),
        distributed.join(),
    ):
        pass
    (record,) = caplog.records
    assert f"process {rank} waits for the 1 other processes of WORLD_SIZE=2" in record.message
    assert f"127.0.0.1:{port}, up to 0.02 minutes" in record.message


@pytest.mark.parametrize(("rank", "end"), [("0", KeyboardInterrupt), ("1", SystemExit)])
def test_an_interruption_while_the_others_are_awaited_is_one(
    rank: str, end: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rendezvous, "meet", interrupted)
    for name, value in {"RANK": rank, "WORLD_SIZE": "2", **MEETING}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(end), distributed.join():
        pass


def test_a_restart_before_the_first_checkpoint_starts_over(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("TORCHELASTIC_RESTART_COUNT", "1")):
        monkeypatch.setenv(name, value)
    watches = processes.Watch(), processes.Watch()
    for watch in watches:
        loop.train(processes.config(faces, tmp_path, "descent"), watch)
    first, second = ("\n".join(watch.notices) for watch in watches)
    assert "restarted" not in first
    assert "restarted" in second
    assert "resumed" in second


def test_each_process_of_a_machine_has_a_gpu_of_its_own_or_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert resolve_one_of("cpu", "float32", 1, 2).device == "cpu"
    with pytest.raises(DeviceError, match="Apple's GPU takes one process"):
        resolve_one_of("mps", "auto", 0, 2)
    with pytest.raises(UsageError, match="one GPU, for 2 processes"):
        resolve_one_of("cuda:1", "auto", 0, 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match=r"4 processes and 2 GPU.*--nproc-per-node 2"):
        resolve_one_of("auto", "auto", 0, 4)
    asked = []
    monkeypatch.setattr("celebattr.models.device.resolve", lambda device, _: asked.append(device))
    resolve_one_of("auto", "auto", 1, 2)
    resolve_one_of("cuda", "auto", 0, 2)
    assert asked == ["cuda:1", "cuda:0"]


@pytest.mark.long
@pytest.mark.parametrize("packed", [False, True])
def test_two_processes_align_photos_as_one_does(tmp_path: Path, packed: bool) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = ["image,split,Smiling"]
    for i in range(24):
        samples.scene({"Smiling"} if i % 2 else set(), i).save(photos / f"{i}.png")
        rows.append(f"{i}.png,{('train', 'train', 'val')[i // 2 % 3]},{i % 2}")
    (photos / "labels.csv").write_text("\n".join(rows))
    if packed:  # as they are: whole photos in shards
        photos = celebattr.pack(photos, tmp_path / "shards", faces="none")
    tiny = ("--arch", "linear", "--epochs", "2", "--batch-size", "8", "--precision", "float32")
    words = ("-m", "celebattr", "train", "--data", photos, "--device", "cpu", *tiny, "--output")
    ends = {}
    for count in (1, 2):
        out = tmp_path / f"of{count}"
        done = subprocess.run(
            torchrun(count, *words, out),
            capture_output=True,
            text=True,
            env=environment(),
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        assert "faces      aligned as in predict: the eyes of 0 of " in done.stderr
        kept = json.loads((out / "history.jsonl").read_text().splitlines()[-1])
        ends[count] = [kept[f"{part}_loss"] for part in ("train", "validation")]
        assert bundle.card_of(out / "best.safetensors").trained_on["faces"] == "largest"
    assert ends[1] == pytest.approx(ends[2], rel=1e-5)
