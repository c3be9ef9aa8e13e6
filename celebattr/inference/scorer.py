"""The scoring worker: a bundle and its readers loaded once, inputs in, results out.

It serves every way of scoring many photos: one machine and its shards, and an actor, a task or a
partition of an engine that spans machines (docs/scale.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from celebattr.config.predict import PredictConfig
from celebattr.device import usable_cores
from celebattr.inference import ahead
from celebattr.inference.placement import bundle_for
from celebattr.inference.workers import Workers

if TYPE_CHECKING:
    from celebattr.data.inputs import Input
    from celebattr.inference.facts import Facts
    from celebattr.inference.predictor import Predictor
    from celebattr.results.predictions import Result


class Scorer:
    """Scores photos, which other processes open; a context manager.

    On a CPU those processes score them too, each by itself on a core. A network in torch, on a GPU
    for instance, is in this process, and scores their frames in batches.

    Attributes:
        facts: what all rows have in common.

    Args:
        config: what `celebattr predict` can be asked for.
        cores: processes, and batches scored at once. Without it, `config.workers`, and else as
            many as the processor has.

    Raises:
        UsageError, WeightsError, DeviceError: see `Predictor`.
    """

    def __init__(self, config: PredictConfig | None = None, *, cores: int | None = None) -> None:
        self.config = config or PredictConfig()
        self._cores = cores
        self._workers = cores or self.config.workers or usable_cores()
        weights = bundle_for(self.config)
        plain = PredictConfig()
        default = all(
            getattr(self.config, name) == getattr(plain, name)
            for name in ("bundle", "device", "precision")
        )
        first = ahead.take(self.config.faces, default=default)
        self._processes = Workers(self.config, weights, first)
        try:
            self.facts, self._predictor = self._begin(scores_itself=weights is None)
        except BaseException:
            self._processes.close()
            raise

    def _begin(self, *, scores_itself: bool) -> tuple[Facts, Predictor | None]:
        if not scores_itself:
            facts = self._processes.facts()
            assert facts is not None
            return facts, None
        from celebattr.inference.predictor import Predictor

        predictor = Predictor(self.config)  # while the first process starts
        return predictor.facts, predictor

    def stream(
        self, inputs: Iterable[Input], *, keep_data: bool = False
    ) -> Iterator[tuple[Input, list[Result]]]:
        """Each input with its results, in the order of `inputs`: one a face, or one failure.

        Memory stays flat: no more than a few inputs, or batches of them, are under way.

        Args:
            inputs: what to score.
            keep_data: give inputs back with the bytes of their files, where they came with them.
        """
        from celebattr.inference import scoring

        if self._predictor is None:
            return scoring.apart(
                inputs, self._processes.results, workers=self._workers, keep_data=keep_data
            )
        return scoring.together(
            inputs,
            self._processes.frames,
            self._predictor,
            batch_size=self.config.batch_size,
            workers=self._workers,
            at_once=min(self._cores or 256, self._predictor.backend.at_once),
            keep_data=keep_data,
        )

    def rows(self, photos: Iterable[str | bytes]) -> Iterator[list[dict[str, Any]]]:
        """For each photo, a path, a URL or a file's bytes, its rows as JSON objects of schema 1.

        One a face, or one that says why there is none: nothing that a photo is makes it raise.
        """
        from celebattr.data.inputs import photo

        allow = self.config.allow_protocol
        for _, results in self.stream(photo(source, allow) for source in photos):
            yield [result.row() for result in results]

    def close(self) -> None:
        """Ends the processes."""
        self._processes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
