"""Work of the host per image of a training step, and what goes to the device.

    python benchmarks/views.py [--batch 256] [--steps 20]

Prints milliseconds of one core per image for the draws and views of a step (`training/batch`, with
the augmentation of ResNet50) on this processor, the host's part of them where a device computes the
rest, and the bytes that are copied to that device. The device is torch's `meta`, which computes
nothing: what is left is what the host does. Re-compression, which no device does, stands by itself.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from celebattr.data import augment, draws
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.data.loader import Batch
from celebattr.training.batch import BatchBuilder
from celebattr.training.config import TrainConfig
from celebattr.training.defaults import complete

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from copies import Copied


def per_image(step: Callable[[], object], images: int, steps: int) -> float:
    """Median processor milliseconds of a call per image."""
    step()
    times = []
    for _ in range(steps):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return 1e3 * statistics.median(times) / images


def builder(device: str, images: FaceDataset) -> BatchBuilder:
    """Return what makes the views of a ResNet50's training."""
    config = complete(TrainConfig(), len(images), device)
    return BatchBuilder(config, images, torch.device(device), lambda: torch.autocast("cpu"))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images = load_dataset(["drawn"]).split("train", asked.batch)
    indices = np.arange(len(images))
    crops = images.read_batch(indices.tolist())
    batch = Batch(crops, images.targets_NA[indices], indices)
    whole = slice(0, len(indices))
    here, there = builder("cpu", images), builder("meta", images)
    there.make(batch, whole, 0)  # what stays on the device is copied once
    with Copied() as copied:
        there.make(batch, whole, 0)
    count, steps = len(indices), asked.steps
    draws_BD = draws.parameters(0, 0, indices)
    share = here.config.recompress or 0.0
    print(f"{count} images a step, one core, torch {torch.__version__}\n")
    print("| per image | |\n| --- | ---: |")
    rows = {
        "views on this processor, ms": per_image(lambda: here.make(batch, whole, 0), count, steps),
        "host's part with a device, ms": per_image(
            lambda: there.make(batch, whole, 0), count, steps
        ),
        "draws alone, ms": per_image(lambda: draws.parameters(0, 0, indices), count, steps),
        f"re-compression of {share:.0%}, ms": per_image(
            lambda: augment.recompress(crops, draws_BD, share=share), count, min(steps, 3)
        ),
    }
    for name, value in rows.items():
        print(f"| {name} | {value:.3f} |")
    print(f"| copied to the device, bytes | {copied.bytes / count:,.0f} |")
    print(f"| of them the crop | {crops[0].nbytes:,} |")


if __name__ == "__main__":
    main()
