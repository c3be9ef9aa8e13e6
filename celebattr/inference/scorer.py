"""The scoring worker: a bundle and its readers loaded once, inputs in, results out.

It serves every way of scoring many photos: one machine and its shards, and an actor, a task or a
partition of an engine that spans machines (docs/scale.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from celebattr.config import PredictConfig
from celebattr.inference.workers import Workers

# Nothing heavy is imported before the first process starts: it has as much to import, beside this.
if TYPE_CHECKING:
    from celebattr.data.inputs import Input
    from celebattr.results import Result


class Scorer:
    """Scores photos in this process, which opens them in others; a context manager.

    Args:
        config: what `celebattr predict` can be asked for.
        cores: processes that open photos, and batches scored at once. Without it,
            `config.workers`, and else as many as the processor has.

    Raises:
        UsageError, WeightsError, DeviceError: see `Predictor`.
    """

    def __init__(self, config: PredictConfig | None = None, *, cores: int | None = None) -> None:
        self.config = config or PredictConfig()
        self._prepare = Workers(self.config.faces, seconds=self.config.timeout)
        try:
            # While the first process starts.
            from celebattr.device import usable_cores
            from celebattr.inference.predictor import Predictor

            self.predictor = Predictor(self.config)
        except BaseException:
            self._prepare.close()
            raise
        self._workers = cores or self.config.workers or usable_cores()
        self._at_once = min(cores or 256, self.predictor.backend.at_once)

    def stream(
        self, inputs: Iterable[Input], *, keep_data: bool = False
    ) -> Iterator[tuple[Input, list[Result]]]:
        """Each input with its results, in order: see `scoring.score`."""
        from celebattr.inference.scoring import score

        return score(
            inputs,
            self._prepare,
            self.predictor,
            batch_size=self.config.batch_size,
            workers=self._workers,
            at_once=self._at_once,
            keep_data=keep_data,
        )

    def rows(self, photos: Iterable[str | bytes]) -> Iterator[list[dict[str, Any]]]:
        """For each photo, a path, a URL or a file's bytes, its rows as JSON objects of schema 1.

        One a face, or one that says why there is none: nothing that a photo is makes it raise.
        """
        from celebattr.data.inputs import photo

        for _, results in self.stream(photo(source) for source in photos):
            yield [result.row() for result in results]

    def close(self) -> None:
        """Ends the processes that open photos."""
        self._prepare.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
