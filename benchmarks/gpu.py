"""Training and scoring on a GPU, each beside the rate of the GPU on data that is in its memory.

    python benchmarks/gpu.py [--size 218x178] [--batch 256] [--steps 60] [--device cuda]

Prints a table: images/s of `celebattr train` (its own loop, images cached in memory after the first
epoch), of the bare step on data that is on the device already, of timm's network in timm's loader
with AMP and channels_last, and of scoring beside the network alone. With `--device cpu --arch
resnet18 --size 64x52 --batch 16 --steps 3 --repeat 1 --workers 1 --compile off` it shows that it
runs, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from celebattr.models import bundle, registry
from celebattr.models.backends import TorchBackend
from celebattr.models.device import resolve
from celebattr.models.spec import ModelSpec
from celebattr.training.config import TrainConfig
from celebattr.training.loop import train
from celebattr.training.optimizer import averaged, make_optimizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from layouts import write_celeba

TIMM = Path(__file__).parent / "peers" / "timm_train.py"


def ours(asked: argparse.Namespace, data: Path, out: Path) -> dict[str, Any]:
    """Train two epochs with the command's own loop and return the history row of the second."""
    train(
        TrainConfig(
            data=(data,),
            output=out,
            arch=asked.arch,
            backbone_weights="none",
            epochs=2,
            image_size=asked.size,
            batch_size=asked.batch,
            device=asked.device,
            cache="ram",
            workers=asked.workers,
            compile=asked.compile,
        )
    )
    return dict(json.loads((out / "history.jsonl").read_text().splitlines()[1]))


def resident(asked: argparse.Namespace) -> float:
    """Return images/s of forward, backward, AdamW and average on a batch that never moves."""
    choice = resolve(asked.device, "auto")
    device, dtype = torch.device(choice.device), getattr(torch, choice.precision)
    height, width = map(int, asked.size.split("x"))
    spec = ModelSpec(asked.arch, 40, size=(height, width))
    network = registry.build(spec).place(device)
    average = averaged(network, 0.998)
    optimizer = make_optimizer(network, kind="adamw", lr=3e-4, head_lr=1e-3, weight_decay=0.05)
    images = torch.rand(asked.batch, 3, height, width, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.rand(asked.batch, 40, device=device)
    call: Any = torch.compile(network, dynamic=False) if asked.compile == "on" else network
    network.train()
    for step in range(asked.steps + 5):
        if step == 5:
            _wait(device)
            started = time.perf_counter()
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits = call(images)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update_parameters(network)
    _wait(device)
    return float(asked.batch * asked.steps / (time.perf_counter() - started))


def scoring(asked: argparse.Namespace, weights: Path, photos: Path) -> tuple[float, float]:
    """Return photos/s of `celebattr predict`, loading included, and of its network alone."""
    backend = TorchBackend(weights, device=asked.device)
    frames = np.random.default_rng(0).integers(0, 256, (asked.batch, 218, 178, 3), np.uint8)
    backend.logits(frames)
    started = time.perf_counter()
    for _ in range(asked.steps):
        backend.logits(frames)
    alone = asked.batch * asked.steps / (time.perf_counter() - started)
    rows = weights.with_name("rows.jsonl")
    options = ["--weights", str(weights), "--device", asked.device, "--faces", "none"]
    options += ["--batch-size", str(asked.batch), "--output", str(rows), "--overwrite"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "celebattr",
            "-v",
            "predict",
            *[str(photos)] * asked.repeat,
            *options,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    print(done.stderr, file=sys.stderr)  # the log says what was the limit
    summary = next(line for line in done.stderr.splitlines() if line.endswith(" inputs/s"))
    return float(summary.split()[-2].replace(",", "")), alone


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--size", default="218x178")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=20, help="times the photos are scored")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--compile", default="on", choices=("on", "off"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data, out = Path(temporary, "data"), Path(temporary, "run")
        count = asked.batch * asked.steps
        write_celeba(data, train=count, validation=8, test=8, layout="torchvision")
        row = ours(asked, data, out)
        held = resident(asked)
        given = [asked.arch, asked.size, asked.batch, asked.steps, asked.device, asked.workers]
        done = subprocess.run(
            [sys.executable, str(TIMM), str(data), *map(str, given)],
            capture_output=True,
            text=True,
            check=True,
        )
        timm = float(done.stdout.split()[-1])
        scored, alone = scoring(asked, out / "best.safetensors", data)
        card = bundle.card_of(out / "best.safetensors")
    name = torch.cuda.get_device_name() if asked.device.startswith("cuda") else asked.device
    print(f"{name}, torch {torch.__version__}, {card.arch}, {asked.size}, batch {asked.batch}\n")
    print("| what | images/s | celebattr : it |\n| --- | ---: | ---: |")
    speed = row["images_per_second"]
    print(
        f"| celebattr train, {100 * row['data_wait']:.1f} % waiting for data | {speed:,.0f} | 1 |"
    )
    print(f"| the step on data on the device | {held:,.0f} | {speed / held:.2f} |")
    print(f"| timm in its loader | {timm:,.0f} | {speed / timm:.2f} |")
    print(f"| celebattr predict | {scored:,.0f} | 1 |")
    print(f"| its network on frames in memory | {alone:,.0f} | {scored / alone:.2f} |")
    print(f"\nsix epochs of 162,770 images: {6 * 162_770 / speed / 60:.1f} minutes at this rate")


if __name__ == "__main__":
    main()
