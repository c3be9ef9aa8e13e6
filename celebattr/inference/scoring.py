"""Many photos: decoded and aligned in threads, scored in batches, reported in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from celebattr.data.inputs import Input
from celebattr.data.loader import ordered_map
from celebattr.inference.predictor import Predictor
from celebattr.inference.prepare import Prepared
from celebattr.results import Result

READERS = 8
"""Threads that fetch what does not lie in a file of its own: an object store takes tens of
milliseconds to answer, whatever it is asked."""


def score(
    inputs: Iterable[Input],
    prepare: Callable[[Input], Prepared],
    predictor: Predictor,
    *,
    batch_size: int,
    workers: int,
    at_once: int | None = None,
    keep_data: bool = True,
) -> Iterator[tuple[Input, list[Result]]]:
    """Each input with its results, in the order of `inputs`: one a face, or one failure.

    Memory stays flat: no more than a few batches of inputs are under way at any time.

    Args:
        inputs: what to score.
        prepare: opens an input: a `Preparer` in this process, or `Workers` in others.
        predictor: scores what was prepared.
        batch_size: faces scored together.
        workers: threads that call `prepare`.
        at_once: batches scored at the same time; without it, as many as keep the device busy.
        keep_data: give inputs back with the bytes of their files, where they came with them.
    """
    cores = at_once or predictor.backend.at_once
    batches = _batches(inputs, prepare, batch_size=batch_size, workers=workers, keep_data=keep_data)
    for prepared, results in ordered_map(
        lambda batch: (batch, predictor.finish(batch)),
        batches,
        workers=cores,
        ahead=cores,
        size=lambda batch: sum(_bytes(item.input) for item in batch),
    ):
        yield from zip((item.input for item in prepared), results, strict=True)


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
    fetched = ordered_map(
        lambda item: item.ready(), inputs, workers=READERS, ahead=2 * READERS, size=_bytes
    )
    for prepared in ordered_map(
        prepare,
        fetched,
        workers=workers,
        ahead=batch_size + 2 * workers,
        size=_bytes,
    ):
        if not keep_data and prepared.input.data is not None:
            prepared = replace(prepared, input=replace(prepared.input, data=None))
        waiting.append(prepared)
        faces += len(prepared.frames)
        if faces >= batch_size or len(waiting) >= 4 * batch_size:
            yield waiting
            waiting, faces = [], 0
    if waiting:
        yield waiting


def _bytes(item: Input) -> int:
    return item.size or len(item.data or b"")
