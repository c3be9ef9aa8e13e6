"""The scoring worker: a bundle and its readers loaded once, inputs in, results out.

It serves every way of scoring many photos: one machine and its shards, and an actor, a task or a
partition of an engine that spans machines (docs/scale.md).
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from celebattr.inference.config import PredictConfig, bundle_for
from celebattr.inference.pool import protocol
from celebattr.inference.pool.pool import WorkerPool
from celebattr.io.prefetch import gather, ordered_map
from celebattr.models.device import usable_cores

if TYPE_CHECKING:
    from PIL.Image import Image

    from celebattr.inference.faces import Prepared
    from celebattr.inference.inputs.source import Input
    from celebattr.inference.predictor import Predictor
    from celebattr.predictions import Facts, Result


class Scorer:
    """A scorer of photos that worker processes open; a context manager.

    On a CPU those processes score them too, each by itself on a core. A network in torch, on a GPU
    for instance, is in this process, and scores their crops in batches.

    Attributes:
        facts: what all rows have in common.

    Args:
        config: what `celebattr predict` can be asked for.
        cores: processes, and batches scored at once. Without it, `config.workers`, and else as
            many as the processor has.
        predictor: scores in this process, where that is not left to the others; loaded if None.

    Raises:
        UsageError, WeightsError, DeviceError: see `Predictor`.
    """

    def __init__(
        self,
        config: PredictConfig | None = None,
        *,
        cores: int | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        self.config = config or PredictConfig()
        self._cores = cores
        self._workers = cores or self.config.workers or usable_cores()
        weights = bundle_for(self.config)  # None: a network in torch, which this process holds
        plain = PredictConfig()
        default = all(
            getattr(self.config, name) == getattr(plain, name)
            for name in ("bundle", "device", "precision")
        )
        # The process that `__main__` started on a guess serves only if nothing was set otherwise.
        first = protocol.take(self.config.faces, default=default)
        self._processes = WorkerPool(self.config, weights, first)
        try:
            self.facts, self._predictor = self._begin(weights is None, predictor)
        except BaseException:
            self._processes.close()
            raise

    def _begin(
        self, scores_itself: bool, predictor: Predictor | None
    ) -> tuple[Facts, Predictor | None]:
        if not scores_itself:
            facts = self._processes.facts()
            assert facts is not None
            return facts, None
        from celebattr.inference.predictor import Predictor

        predictor = predictor or Predictor(self.config)  # while the first worker starts
        self._processes.facts()  # it can open photos
        return predictor.facts, predictor

    def stream(
        self, inputs: Iterable[Input], *, keep_data: bool = False
    ) -> Iterator[tuple[Input, list[Result]]]:
        """Yield each input with its results, in the order of `inputs`: per face, or a failure.

        Memory stays flat: no more than a few inputs, or batches of them, are under way.

        Args:
            inputs: what to score.
            keep_data: give inputs back with the bytes of their files, where they came with them.
        """
        if self._predictor is None:
            return apart(
                inputs, self._processes.results, workers=self._workers, keep_data=keep_data
            )
        return together(
            inputs,
            self._processes.prepare,
            self._predictor,
            batch_size=self.config.batch_size or self._predictor.backend.batch_size,
            workers=self._workers,
            at_once=min(self._cores or 256, self._predictor.backend.at_once),
            keep_data=keep_data,
        )

    def picture(self, item: Input) -> tuple[Image, int]:
        """Return a photo to draw on, see `WorkerPool.picture`."""
        return self._processes.picture(item)

    def rows(self, photos: Iterable[str | bytes]) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of each photo (a path, URL or bytes) as JSON objects of schema 2.

        One per face, or one that says why there is none: no photo makes it raise.
        """
        from celebattr.inference.inputs.source import photo

        allow = self.config.allow_protocol
        for _, results in self.stream(photo(source, allow) for source in photos):
            yield [result.row() for result in results]

    def close(self) -> None:
        """End the processes."""
        self._processes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


log = logging.getLogger(__name__)

GROUP = 16
"""Photos that a process opens and then scores together: one by one, a network's weights are read
from memory for each, which costs a tenth and more. Twice as many would be 1 to 2 % faster still,
and take twice the memory."""

GROUP_BYTES = 1 << 23
"""Most bytes of a group of files that came as bytes, unless one alone has more."""

PATIENCE = 0.2
"""Seconds that a group or a batch waits to become full: a list on a pipe may take hours."""

BUSY = 0.8
"""Share of time above which the network, not decoding, is the bottleneck."""

READERS = 8
"""Threads that fetch inputs that are not local files: an object store takes tens of
milliseconds to answer, whatever it is asked."""


def apart(
    inputs: Iterable[Input],
    score: Callable[[Sequence[Input]], list[list[Result]]],
    *,
    workers: int,
    keep_data: bool = True,
) -> Iterator[tuple[Input, list[Result]]]:
    """Yield each input with its results, scored in worker processes a few at a time.

    Args:
        inputs: what to score.
        score: opens and scores some inputs: `WorkerPool.results`.
        workers: threads that call it.
        keep_data: give inputs back with the bytes of their files, where they came with them.
    """

    def run(some: list[Input]) -> list[tuple[Input, list[Result]]]:
        kept = some if keep_data else [_without_data(item) for item in some]
        return list(zip(kept, score(some), strict=True))

    for found in ordered_map(
        run,
        _groups(_fetched(inputs), workers),
        workers=workers,
        ahead=2 * workers,
        size=lambda some: sum(map(_bytes, some)),
    ):
        yield from found


def _groups(inputs: Iterable[Input], workers: int) -> Iterator[list[Input]]:
    """Yield the groups of inputs for one process: single ones first, so that all start early.

    Later up to an eighth of what each has had: none waits long for the last group of another. Few
    sizes, as onnxruntime plans its memory for each.
    """
    given = 0

    def share(item: Input) -> float:
        enough = min(GROUP, 1 << max(0, (given // (8 * workers)).bit_length() - 1))
        return max(1 / enough, _bytes(item) / GROUP_BYTES)

    for group in gather(inputs, share, most=1, seconds=PATIENCE, ahead=GROUP, size=_bytes):
        yield group
        given += len(group)


def together(
    inputs: Iterable[Input],
    prepare: Callable[[Sequence[Input]], list[Prepared]],
    predictor: Predictor,
    *,
    batch_size: int,
    workers: int,
    at_once: int | None = None,
    keep_data: bool = True,
) -> Iterator[tuple[Input, list[Result]]]:
    """Yield each input with its results, scored here in batches of faces.

    Args:
        inputs: what to score.
        prepare: opens some inputs: `WorkerPool.prepare`.
        predictor: scores what was prepared.
        batch_size: faces scored together.
        workers: threads that call `prepare`.
        at_once: batches scored at the same time; without it, as many as keep the device busy.
        keep_data: give inputs back with the bytes of their files, where they came with them.
    """
    cores = at_once or predictor.backend.at_once
    batches = _batches(inputs, prepare, batch_size=batch_size, workers=workers, keep_data=keep_data)
    started, busy = time.monotonic(), [0.0]

    def finish(batch: list[Prepared]) -> tuple[list[Prepared], list[list[Result]]]:
        began = time.monotonic()
        results = predictor.finish(batch)
        busy.append(time.monotonic() - began)
        return batch, results

    for prepared, results in ordered_map(
        finish,
        batches,
        workers=cores,
        ahead=cores,
        size=lambda batch: sum(_bytes(item.input) for item in batch),
    ):
        yield from zip((item.input for item in prepared), results, strict=True)
    share = sum(busy) / cores / max(time.monotonic() - started, 1e-9)
    limit = "the model" if share > BUSY else "decoding (try more --workers)"
    log.info("model busy %.0f %% of the time; bottleneck: %s", 100 * share, limit)


def _batches(
    inputs: Iterable[Input],
    prepare: Callable[[Sequence[Input]], list[Prepared]],
    *,
    batch_size: int,
    workers: int,
    keep_data: bool,
) -> Iterator[list[Prepared]]:
    groups = ordered_map(
        prepare,
        _groups(_fetched(inputs), workers),
        workers=workers,
        ahead=batch_size // GROUP + 2 * workers,
        size=lambda some: sum(map(_bytes, some)),
    )
    opened: Iterator[Prepared] = itertools.chain.from_iterable(groups)
    if not keep_data:
        opened = (replace(one, input=_without_data(one.input)) for one in opened)

    def faces(one: Prepared) -> float:  # a photo without any counts too: memory is not endless
        return max(0.25, len(one.frames))

    return gather(opened, faces, most=batch_size, seconds=PATIENCE, ahead=workers)


def _fetched(inputs: Iterable[Input]) -> Iterator[Input]:
    """Yield the inputs with their bytes, fetched in threads unless they are local files."""
    for in_a_file, some in itertools.groupby(inputs, key=lambda item: item.read is None):
        if in_a_file:
            yield from some
        else:
            yield from ordered_map(
                lambda item: item.ready(), some, workers=READERS, ahead=2 * READERS, size=_bytes
            )


def _without_data(item: Input) -> Input:
    return item if item.data is None else replace(item, data=None)


def _bytes(item: Input) -> int:
    return item.size or len(item.data or b"")
