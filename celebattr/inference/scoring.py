"""Many photos: opened in other processes, scored there or here, reported in order."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from celebattr.io.prefetch import ordered_map

if TYPE_CHECKING:
    from celebattr.inference.inputs.source import Input
    from celebattr.inference.predictor import Predictor
    from celebattr.inference.prepared import Prepared
    from celebattr.predictions import Result

log = logging.getLogger(__name__)

GROUP = 16
"""Photos that a process opens and then scores together: one by one, a network's weights are read
from memory for each, which costs a tenth and more. Twice as many would be 1 to 2 % faster still,
and take twice the memory."""

GROUP_BYTES = 1 << 23
"""Of files that came as bytes: no more than this together, or one."""

BUSY = 0.8
"""Share of the time from which the network, and not the opening of photos, is what takes long."""

READERS = 8
"""Threads that fetch what does not lie in a file of its own: an object store takes tens of
milliseconds to answer, whatever it is asked."""


def apart(
    inputs: Iterable[Input],
    score: Callable[[Sequence[Input]], list[list[Result]]],
    *,
    workers: int,
    keep_data: bool = True,
) -> Iterator[tuple[Input, list[Result]]]:
    """Each input with its results, a few inputs at a time in a process.

    Args:
        inputs: what to score.
        score: opens and scores some inputs: `Workers.results`.
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
    """Inputs that a process gets at once: at first one, so that every process has some early.

    Later up to an eighth of what each has had: none waits long for the last group of another. Few
    sizes, as onnxruntime plans its memory for each.
    """
    group: list[Input] = []
    size = given = 0
    for item in inputs:
        group.append(item)
        size += _bytes(item)
        share = given // (8 * workers)
        enough = min(GROUP, 1 << max(0, share.bit_length() - 1))
        if len(group) >= enough or size > GROUP_BYTES:
            yield group
            group, size, given = [], 0, given + len(group)
    if group:
        yield group


def together(
    inputs: Iterable[Input],
    prepare: Callable[[Input], Prepared],
    predictor: Predictor,
    *,
    batch_size: int,
    workers: int,
    at_once: int | None = None,
    keep_data: bool = True,
) -> Iterator[tuple[Input, list[Result]]]:
    """Each input with its results, scored here in batches of faces.

    Args:
        inputs: what to score.
        prepare: opens an input: a `Preparer` in this process, or `Workers.frames` in others.
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
    limit = "the network is" if share > BUSY else "opening photos is (more --workers, if cores are)"
    log.info("the network was at work %.0f %% of the time: %s the limit", 100 * share, limit)


def _batches(
    inputs: Iterable[Input],
    prepare: Callable[[Input], Prepared],
    *,
    batch_size: int,
    workers: int,
    keep_data: bool,
) -> Iterator[list[Prepared]]:
    waiting: list[Prepared] = []
    faces = 0
    for prepared in ordered_map(
        prepare,
        _fetched(inputs),
        workers=workers,
        ahead=batch_size + 2 * workers,
        size=_bytes,
    ):
        if not keep_data:
            prepared = replace(prepared, input=_without_data(prepared.input))
        waiting.append(prepared)
        faces += len(prepared.frames)
        if faces >= batch_size or len(waiting) >= 4 * batch_size:
            yield waiting
            waiting, faces = [], 0
    if waiting:
        yield waiting


def _fetched(inputs: Iterable[Input]) -> Iterator[Input]:
    """The inputs with their bytes; those that lie in files go no way round."""
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
