"""A Ray cluster's parts of a run, made by a pool of actors that Ray Data keeps alive.

Ray Data hands numbers of pieces to actors; an actor reads its piece of the plan, opens the photos,
scores them and writes the part. Photos and rows never pass through Ray, only a few bytes per
piece. An actor, or a node, that dies is replaced, and what it was at is given to another.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from celebattr.errors import (
    CelebattrError,
    DataError,
    DeviceError,
    MissingExtraError,
    WeightsError,
)
from celebattr.inference.config import PredictConfig
from celebattr.inference.output.manifest import Run
from celebattr.inference.ray import parts
from celebattr.inference.scorer import Scorer
from celebattr.io.folder import Folder, folder_at

BLOCKS_AN_ACTOR = 32
"""Calls per actor and run: an actor with fewer pieces than others idles 3 % at most."""

_ERRORS = {kind.__name__: kind for kind in (DataError, DeviceError, WeightsError)}


def library() -> Any:
    """Import and return the package ray, with Ray Data.

    Raises:
        MissingExtraError: it is not installed.
    """
    # Says at exit what nobody asked for, and sends it home.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else its C++ libraries write past Python's logging.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtraError("ray[data]", "ray") from error
    return ray


class Actor:
    """A Ray actor that makes parts, one after the other, with one scorer."""

    def __init__(self, folder: str, run: Run, config: PredictConfig, cores: int) -> None:
        self._folder, self._run = folder_at(folder), run
        self._error: CelebattrError | None = None
        try:
            self._scorer = Scorer(config, cores=cores)
            facts = self._scorer.facts
            if facts.sha256 != run.weights["sha256"]:
                raise WeightsError(
                    f"{facts.name} on this node has sha256 {facts.sha256}, where the run began "
                    f"{run.weights['sha256']}: install the same everywhere"
                )
        except CelebattrError as error:  # Ray would start an actor that raises here for ever
            self._error = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Make the parts of a batch of numbers; return the counts or error of each.

        An error is an answer and not an exception, which Ray would retry.
        """
        answer: dict[str, list[Any]] = {"part": [], "status": [], "count": []}
        for number in (int(n) for n in batch["part"]):
            try:
                if self._error is not None:
                    raise self._error
                found = parts.make(self._folder, number, self._run, self._scorer.stream)
                told: dict[str, int | str] = dict(found)
            except CelebattrError as error:
                told = {f"{type(error).__name__}: {error}": -1}
            for status, count in told.items():
                answer["part"].append(number)
                answer["status"].append(status)
                answer["count"].append(count)
        return answer


def score(
    folder: Folder, pieces: int, run: Run, config: PredictConfig, *, quiet: bool = True
) -> Iterator[tuple[int, Counter[str]]]:
    """Make all parts; yield the number and counts of each when it is done.

    Args:
        folder: where the plan lies and parts are written; every node must reach it.
        pieces: how many the plan has.
        run: what decides the rows.
        config: the options, those of the cluster among them.
        quiet: keep what actors print from standard error.

    Raises:
        DeviceError: the cluster is not there, or has not what an actor needs.
        DataError: a part cannot be made, or did not come exactly once.
    """
    ray = library()
    with _cluster(ray, config.address, quiet):
        cores = config.workers or 1
        actors = config.actors or _room(ray, cores, config.gpus_per_actor)
        told: dict[int, Counter[str]] = {}
        numbers = ray.data.from_items(
            [{"part": number} for number in range(pieces)],
            override_num_blocks=min(pieces, BLOCKS_AN_ACTOR * actors),
        )
        made = numbers.map_batches(
            Actor,
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=min(actors, pieces)),
            num_cpus=cores,
            num_gpus=config.gpus_per_actor or None,
            fn_constructor_kwargs={
                "folder": str(folder.path),
                "run": run,
                "config": replace(config, device=_device(config)),
                "cores": cores,
            },
        )
        seen = bytearray(pieces)
        for batch in made.iter_batches(batch_size=None, prefetch_batches=0):
            told.clear()
            for number, status, count in zip(
                batch["part"], batch["status"], batch["count"], strict=True
            ):
                if count < 0:
                    kind, _, text = str(status).partition(": ")
                    raise _ERRORS.get(kind, DataError)(text)
                told.setdefault(int(number), Counter())[str(status)] += int(count)
            for number, counts in told.items():
                if not seen[number]:  # a part is one file, however often Ray tells of it
                    seen[number] = 1
                    yield number, counts
        if not all(seen):
            raise DataError(f"{seen.count(0):,} parts were not made: continue with --resume")


@contextlib.contextmanager
def _cluster(ray: Any, address: str | None, quiet: bool) -> Iterator[None]:
    """Join a cluster, or start one on this machine and end it afterwards."""
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(
                address=address,
                log_to_driver=not quiet,
                logging_level=logging.ERROR,
                **({} if address else {"include_dashboard": False}),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = f"at {address}" if address else "on this machine"
            raise DeviceError(
                f"no Ray cluster {where} ({' '.join(str(error).split())[:200]}): see 'ray status'"
            ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if started:
            ray.shutdown()


def _room(ray: Any, cores: int, gpus: float) -> int:
    """Return the number of actors that the cluster has room for.

    Raises:
        DeviceError: for none.
    """
    has = ray.cluster_resources()
    room = int(has.get("CPU", 0) // cores)
    if gpus:
        # Several actors may share a GPU, but none is spread over two.
        a_gpu = int(1 / gpus) if gpus <= 1 else 1 / gpus
        room = min(room, int(has.get("GPU", 0) * a_gpu))
    if room < 1:
        raise DeviceError(
            f"the Ray cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs, an "
            f"actor needs {cores} and {gpus:g}: give --workers or --gpus-per-actor less"
        )
    return room


def _device(config: PredictConfig) -> str:
    """Return the device of an actor: without a share of a GPU it must not take a visible one."""
    return "cpu" if config.device == "auto" and not config.gpus_per_actor else config.device
