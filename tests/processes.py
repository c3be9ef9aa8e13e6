"""Runs of the training loop, in one process or in several that torchrun starts.

python -m torch.distributed.run --nproc-per-node 2 tests/processes.py DATA OUT CASE ...
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import samples
import torch
import torch.distributed as dist

from celebattr.errors import DataError
from celebattr.models.network import Network
from celebattr.training import distributed, loop, run_folder
from celebattr.training.callbacks import Logger
from celebattr.training.config import TrainConfig
from celebattr.training.distributed import World

CASES: dict[str, dict[str, Any]] = {
    "mlp": {},
    "still": {"lr": 0.0, "head_lr": 0.0, "epochs": 1},
    "descent": {"arch": "linear", "head": "linear", "optimizer": "gd", "lr": 0.1, "head_lr": 0.1},
    "tuned": {"backbone_weights": "mlp", "seed": 1, "epochs": 1},
    "norms": {"arch": "cnn", "batch_size": 5, "limit": 11, "epochs": 1},
    "memory": {},
    "stopped": {},
}


def config(data: Path, out: Path, case: str) -> TrainConfig:
    """Batches of an odd size, of which the last is of one image: some processes have none of it."""
    tiny = {"arch": "mlp", "head": "8", "dropout": 0.0, "mixup": 0.4, "erasing": 0.3}
    tiny |= {"batch_size": 9, "limit": 37}
    changes = dict(CASES[case])
    if changes.get("backbone_weights"):
        changes["backbone_weights"] = str(out / changes["backbone_weights"])
    return samples.config(data, out / case, **tiny | changes)


class Watch(Logger):
    """Keeps what it is told; may ask its own process to stop after a step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def step(self, progress: Any, batches: int, loss: float, share_done: float) -> None:
        if progress.step == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)


def short_of_memory(most: int) -> Any:
    real = Network.forward

    def forward(self: Any, images: torch.Tensor) -> torch.Tensor:
        if len(images) > most and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, images)

    Network.forward = forward  # type: ignore[method-assign]
    return real


def run(settings: TrainConfig, case: str, world: World) -> None:
    watch = Watch(stop_after=3 if case == "stopped" and world.rank == 1 else None)
    # The second process alone is short of memory, and the second alone is asked to stop.
    real = short_of_memory(1 if case == "memory" and world.rank == 1 else 10**9)
    stopped = False
    with run_folder.claim(settings, world):
        run = loop._Run(settings, watch, world)
        try:
            run.train()
        except KeyboardInterrupt:
            stopped = True
    Network.forward = real  # type: ignore[method-assign]
    assert stopped == (case == "stopped"), case
    states = [run.network, *([run.average] if run.average is not None else [])]
    digest = hashlib.sha256()
    for state in states:
        for tensor in state.state_dict().values():
            digest.update(tensor.contiguous().numpy().tobytes())
    ends = set(world.texts(f"{run.progress.step} {digest.hexdigest()}"))
    assert len(ends) == 1, f"{case}: the processes end with different weights"
    if world.is_main:
        (settings.output / "notices.json").write_text(json.dumps(watch.notices))


def refusals(data: Path, out: Path, world: World) -> None:
    """What only one process finds, all end with, and the first says."""
    said = []
    for odd in ({"data": (out / "nothing",)}, {"limit": 12}):
        settings = config(data, out, "mlp")
        if world.rank == 1:
            settings = dataclasses.replace(settings, **odd)
        settings = dataclasses.replace(settings, output=out / "refused")
        try:
            loop.train(settings)
        except DataError as error:
            assert world.is_main
            said.append(str(error))
        except SystemExit as end:
            assert not world.is_main
            assert end.code == 3
    if world.is_main:
        (out / "refusals.json").write_text(json.dumps(said))


def main(data: Path, out: Path, cases: list[str]) -> None:
    run_folder.RunFolder.pictures = lambda *_: None  # type: ignore[method-assign]
    with distributed.join() as world:
        for case in cases:
            if case == "refusals":
                refusals(data, out, world)
            else:
                run(config(data, out, case), case, world)
    assert not dist.is_initialized()
    threads = [p.read_text() for p in Path("/proc/self/task").glob("*/comm")]
    assert not [t for t in threads if "gloo" in t], "a thread of gloo's is left behind"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
