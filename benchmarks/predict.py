"""Times `celebattr predict` as whole processes; see benchmarks/README.md."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5
CELEBATTR = [sys.executable, "-m", "celebattr"]

# What onnxruntime alone does with the bundle: frames in memory, the batch size of `predict`.
BARE = """
import sys, time
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
count, batch = int(sys.argv[2]), 16
frames = np.random.default_rng(0).integers(0, 256, (batch, 218, 178, 3), dtype=np.uint8)
session.run(None, {"frames": frames})
start = time.perf_counter()
for _ in range(0, count, batch):
    session.run(None, {"frames": frames})
print(count / (time.perf_counter() - start))
"""


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak MiB of a process that must succeed."""
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - start
        log.seek(0)
        assert status == 0, log.read().decode()
    return took, usage.ru_maxrss / 1024


def main(photo: str, folder: str) -> None:
    """Prints the figures."""
    from celebattr import bundle

    files = sorted(str(p) for p in Path(folder).rglob("*.jpg"))
    weights = str(bundle.resolve(None))
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        tenth = Path(place) / "tenth.txt"
        tenth.write_text("\n".join(files[: len(files) // 10]))
        rows = str(Path(place) / "rows.jsonl")
        one, torch, whole, bare, few = [], [], [], [], []
        for _ in range(RUNS):
            one.append(seconds([*CELEBATTR, "predict", photo])[0])
            torch.append(seconds([sys.executable, "-c", "import torch"])[0])
        for _ in range(RUNS):
            whole.append(seconds([*CELEBATTR, "predict", folder, "--output", rows]))
            command = [sys.executable, "-c", BARE, weights, str(len(files))]
            bare.append(float(subprocess.run(command, capture_output=True, check=True).stdout))
        with tenth.open() as listed:
            process = subprocess.Popen(
                [*CELEBATTR, "predict", "-", "--output", rows], stdin=listed, stderr=subprocess.PIPE
            )
            _, _, usage = os.wait4(process.pid, 0)
            few.append(usage.ru_maxrss / 1024)
    a, b = statistics.median(one), statistics.median(torch)
    print(f"one aligned photo {a:.3f} s, import torch {b:.3f} s: ratio {a / b:.2f}")
    rate = len(files) / statistics.median(took for took, _ in whole)
    alone = statistics.median(bare)
    print(
        f"{len(files):,} aligned images: {rate:.1f} images/s, onnxruntime alone {alone:.1f}: "
        f"ratio {rate / alone:.2f}"
    )
    memory = statistics.median(peak for _, peak in whole)
    print(f"peak memory {memory:.0f} MiB, {few[0]:.0f} MiB on a tenth of the images")


if __name__ == "__main__":
    main(*sys.argv[1:])
