"""The cost of coordinating shards: planning, completion marks, retries and merging; fake work.

    python benchmarks/shards.py [SHARDS ...]

For each number of shards it runs the two ways that docs/scale.md compares, with the package's own
code and made-up predictions, and prints milliseconds of processor time per shard (waiting for
a disk is the disk's; TMPDIR says which):

- parts: one plan, parts made by workers that die at random, before or after their part is in place
  (`ray.plan`, `ray.parts`), then merged;
- shards: outputs of `predict --shard i/N` (`output.journal`), each cut off at a random row and
  resumed, then merged.
"""

from __future__ import annotations

import dataclasses
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from celebattr.inference.inputs.source import Input
from celebattr.inference.output import manifest
from celebattr.inference.output.journal import Growing
from celebattr.inference.output.manifest import Names, Run, Shard
from celebattr.inference.output.merge import merge
from celebattr.inference.ray import parts, plan
from celebattr.io.folder import folder_at
from celebattr.predictions import Failure, Prediction, Result

INPUTS = 4  # a shard: as few as show the order of inputs, so that what is left is coordination
DEATHS = 0.05  # of workers, a shard
NAMES = ("Eyeglasses", "Smiling", "Wearing_Hat")  # few: wide rows are work, not coordination
OPTIONS = {"faces": "largest", "attributes": list(NAMES)}
RUN = Run({"name": "fake", "sha256": "0" * 64}, OPTIONS, "parquet")


class Death(Exception):
    """The simulated death of a worker."""


class Cost(NamedTuple):
    """Milliseconds of processor time per shard, and the peak memory of the process so far in MB."""

    plan: float
    work: float
    merge: float
    memory: float


def fake(item: Input) -> list[Result]:
    """Return a made-up row that depends on the name only."""
    seed = hash(item.path) & 0xFFFF
    if seed % 10 == 0:
        return [Failure(item.path, "no_face", "none")]
    values = {name: (seed * k) % 101 / 100 for k, name in enumerate(NAMES, 1)}
    return [Prediction(item.path, 1, 1, None, values, [], [])]


def inputs(count: int) -> Iterator[Input]:
    """Yield the names of the inputs of `count` shards."""
    return (Input(f"/photos/{number:012}.jpg") for number in range(count * INPUTS))


def by_parts(count: int, folder: Path) -> Cost:
    """Measure one plan and its parts, as --engine ray writes them."""
    place = folder_at(folder / "rows")
    chance = random.Random(0)
    start = time.process_time()
    made = plan.write(place, inputs(count), INPUTS)
    planned = time.process_time()
    assert made.pieces == count

    def score(items: Iterable[Input]) -> Iterator[tuple[Input, list[Result]]]:
        for at, item in enumerate(items):
            if at == INPUTS - 1 and chance.random() < DEATHS / 2:
                raise Death
            yield item, fake(item)

    counts: Counter[str] = Counter()
    for number in range(count):
        while True:
            try:
                found = parts.make(place, number, RUN, score)
                if chance.random() < DEATHS / 2:
                    raise Death  # the part is in place, nobody was told
                break
            except Death:
                continue
        counts.update(found)
    worked = time.process_time()
    done = dataclasses.replace(RUN, finished=True, inputs=counts["inputs"], counts=dict(counts))
    place.write(manifest.FOLDER_FILE, done.to_json().encode())
    merge([folder / "rows"], folder / "all.parquet")
    return _cost(count, start, planned, worked, counts["inputs"])


def by_shards(count: int, folder: Path) -> Cost:
    """Measure strided shards, each with its own output."""
    run = dataclasses.replace(RUN, format="jsonl")
    chance = random.Random(0)
    names = [item.path for item in inputs(count)]
    listed = Names()  # what each shard would find, if each listed all names
    for name in names:
        listed.add(name.encode())
    start = time.process_time()
    for index in range(count):
        mine = names[index::count]
        output = folder / f"{index}.jsonl"
        how = "new"
        while True:
            shard = Shard(index + 1, count)
            shard._names = listed
            mine_run = dataclasses.replace(run, shard=(shard.index, shard.count))
            try:
                with Growing(output, mine_run, how=how) as journal:
                    for at, item in enumerate(journal.todo(map(Input, mine), shard)):
                        if at and chance.random() < DEATHS / INPUTS:
                            raise Death
                        journal.write(fake(item))
                    journal.finish(shard)
                break
            except Death:
                how = "resume"
    worked = time.process_time()
    whole = merge([folder], folder / "all.jsonl")
    return _cost(count, start, start, worked, whole.counts["inputs"])


def _cost(count: int, start: float, planned: float, worked: float, done: int) -> Cost:
    end = time.process_time()
    assert done == count * INPUTS, done
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    steps = (planned - start, worked - planned, end - worked)
    return Cost(*(1000 * seconds / count for seconds in steps), memory)


def main() -> None:
    """Print a Markdown table."""
    counts = [int(text) for text in sys.argv[1:]] or [100, 1_000, 10_000, 100_000]
    print("| way | shards | plan, ms | mark and retry, ms | merge, ms | peak memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for way in (by_parts, by_shards):
        for count in counts:
            folder = Path(tempfile.mkdtemp())
            try:
                cost = way(count, folder)
            finally:
                shutil.rmtree(folder)
            print(
                f"| {way.__name__[3:]} | {count:,} | {cost.plan:.3f} | {cost.work:.2f} | "
                f"{cost.merge:.2f} | {cost.memory:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
