"""Predictions of faces from prepared photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import select
from celebattr.inference.config import PredictConfig
from celebattr.inference.faces import Prepared
from celebattr.models import decisions
from celebattr.models.backends import Backend, open_backend
from celebattr.predictions import Facts, Failure, Prediction, Result


class Predictor:
    """A bundle and the options of `celebattr predict`, which turn crops into results.

    Raises:
        UsageError: an attribute is asked for that the bundle does not know.
        WeightsError, DeviceError: see `open_backend`.
    """

    def __init__(self, config: PredictConfig, backend: Backend | None = None) -> None:
        self.config = config
        self.backend = backend or open_backend(
            config.bundle, device=config.device, precision=config.precision
        )
        card = self.backend.card
        self.attributes: tuple[str, ...] = card.attributes
        if config.attributes is not None:
            self.attributes = tuple(select(config.attributes, card.attributes))
        self._columns = np.array([card.attributes.index(a) for a in self.attributes])
        self._thresholds = card.thresholds_at(config.operating_point, config.threshold)
        self._unsure_below = card.unsure_below
        if config.unsure_below is not None:
            self._unsure_below = config.unsure_below
        # All of the bundle's attributes decide together, also where some are reported only.
        self._present = (
            decisions.Consistent(card.attributes).present
            if config.consistent
            else decisions.present
        )

    @property
    def facts(self) -> Facts:
        """The facts that all rows share."""
        card = self.backend.card
        pairs = zip(card.attributes, self._thresholds, strict=True)
        never = tuple(n for n, threshold in pairs if threshold > 1.0 and n in self.attributes)
        return Facts(card.name, card.sha256, self.attributes, never)

    def finish(self, prepared: Sequence[Prepared]) -> list[list[Result]]:
        """Score the crops of some inputs together; return the results of each, in order."""
        frames = [frame for item in prepared for frame in item.frames]
        card = self.backend.card
        if frames:
            logits_NA = self.backend.logits(np.stack(frames))
            # An infinite logit overflowed as well, though its probability would be 0 or 1.
            finite_NA = np.isfinite(logits_NA)
            scale_A, bias_A = np.array(card.scale), np.array(card.bias)
            p_NA = decisions.probabilities(np.where(finite_NA, logits_NA, 0.0), scale_A, bias_A)
            finite_N = np.all(finite_NA & np.isfinite(p_NA), axis=1)
            present_NA = self._present(p_NA, self._thresholds)
            unsure_NA = decisions.unsure(p_NA, present_NA, self._unsure_below)
        results: list[list[Result]] = []
        end = 0
        for item in prepared:
            if item.failure is not None:
                results.append([item.failure])
                continue
            rows = range(end, end + len(item.boxes))
            end = rows.stop
            if not finite_N[rows].all():
                path, why = item.input.path, "the network's output is not finite"
                results.append([Failure(path, "not_finite", f"{path}: {why} ({card.name})")])
                continue
            pick = self._columns
            results.append(
                [
                    Prediction(
                        path=item.input.path,
                        face=at + 1,
                        faces=item.faces,
                        box=item.boxes[at],
                        probabilities=dict(
                            zip(self.attributes, p_NA[row, pick].tolist(), strict=True)
                        ),
                        present=self._names(present_NA[row, pick]),
                        unsure=self._names(unsure_NA[row, pick]),
                        to_frame=item.to_frame[at],
                    )
                    for at, row in enumerate(rows)
                ]
            )
        return results

    def _names(self, chosen_A: NDArray[np.bool_]) -> list[str]:
        return [name for name, yes in zip(self.attributes, chosen_A, strict=True) if yes]
