"""Times of turning the images of a data set into batches; see benchmarks/README.md."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from celebattr.data import cache, loader
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.data.shards import writer
from celebattr.io.folder import Folder, folder_at

BATCH, WORKERS = 64, 2
FAR = "memory://celebattr-benchmark"


def timed(what: str, dataset: FaceDataset, order: np.ndarray) -> None:
    """Read images in an order; print images/s and CPU time per image."""
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in loader.batches(dataset, order, batch_size=BATCH, workers=WORKERS):
        assert len(batch.crops_BHWC)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:<44}{len(order) / wall:>9.0f} images/s{1e3 * cpu / len(order):>9.3f} ms CPU each")


def slow(seconds: float) -> Any:
    """Return fsspec's memory file system with each answer `seconds` late, answers in parallel."""
    from fsspec.asyn import AsyncFileSystem

    memory = fsspec.filesystem("memory")

    class Slow(AsyncFileSystem):
        protocol = "slow"

        async def _cat_file(self, path: str, start: Any = None, end: Any = None, **_: Any) -> bytes:
            await asyncio.sleep(seconds)
            return bytes(memory.cat_file(path, start, end))

    return Slow()


SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def bucket() -> Iterator[str]:
    """Start an S3 server in another process of this machine and yield one of its buckets."""
    from fsspec.config import conf

    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        conf["s3"] = {"endpoint_url": f"http://127.0.0.1:{port}", "key": "x", "secret": "x"}
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket/faces"
        server.stdin.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    dataset = load_dataset([options.data])
    part = dataset.split("train", options.images)
    order = loader.order(len(part), 0, 0)
    timed(f"{dataset.stores[0].path.name}", part, order[:200])  # warm
    timed("decoded from the zip", part, order)
    kept = replace(part, caches=cache.in_memory([part]))
    timed("--cache ram, first epoch", kept, order)
    timed("--cache ram, later", kept, order)
    with tempfile.TemporaryDirectory() as folder:
        filled = replace(part, caches=cache.on_disk(dataset, Path(folder) / "cache"))
        timed("--cache disk, first epoch", filled, order)
        timed("--cache disk, later", filled, order)
        again = replace(part, caches=cache.on_disk(dataset, Path(folder) / "cache"))
        timed("--cache disk, first epoch of another run", again, order)
        shards = Folder(Path(folder) / "shards")
        writer.write(part, shards, shard_bytes=256 << 20)
        timed("shards on the disk", load_dataset([shards.path]), order)
    with bucket() as url:
        writer.write(part, folder_at(url), shard_bytes=256 << 20)
        timed("shards in a bucket, S3 server beside it", load_dataset([url]), order)
    writer.write(part, folder_at(FAR), shard_bytes=256 << 20)
    late = load_dataset([FAR])
    files = late.stores[0]._files  # type: ignore[attr-defined]
    for milliseconds in (30, 100):
        late.stores[0]._files = replace(files, system=slow(milliseconds / 1e3))  # type: ignore[attr-defined]
        timed(f"shards that answer after {milliseconds} ms", late, order)
        few = order[:60]
        wall = time.perf_counter()
        for row in few.tolist():
            late.read(row)
        rate = len(few) / (time.perf_counter() - wall)
        print(f"  one image after another, one thread{rate:>18.0f} images/s")


if __name__ == "__main__":
    main()
