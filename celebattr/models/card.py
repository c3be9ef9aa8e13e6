"""The model card of a bundle, read by everything that predicts."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebattr.attributes import key_of, parse_thresholds, select
from celebattr.errors import DataError, UsageError, WeightsError, reason
from celebattr.io import schema
from celebattr.models import decisions
from celebattr.models.spec import ModelSpec
from celebattr.options import parse_operating_point
from celebattr.predictions import check_attributes

SCHEMA = 1
MAX_SIDE = 1024
"""Pixels of a side of a network's input."""

NO_HASH = "0" * 64
"""Placeholder of the sha256 until the file is whole."""


MAX_SIDE, MAX_WIDTH, MAX_LAYERS = 1024, 8192, 8
"""Bounds of an input's sides, and of the widths and number of hidden layers: a card from a stranger
must not ask for more memory than there is."""


@dataclass(frozen=True)
class _Preprocess:
    """What must stand in `Card.preprocess`."""

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    frame: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Card:
    """The model card of a bundle: architecture, decisions, metrics and origin.

    Attributes:
        preprocess: `PreprocessSpec.to_dict()`.
        scale, bias: one per attribute, probability = sigmoid(scale * logit + bias).
        thresholds: one per attribute, the probability from which it is present.
        unsure_below: a decision less likely right than this is reported as unsure.
        calibrated_on: the split that scale, bias and thresholds were fitted on.
        counts: its negative and positive images in each bin of probability, [2][A][100], see
            `celebattr.models.decisions.counts`; other operating points are chosen from them.
        metrics: shares between 0 and 1 by split, with the number of images.
        trained_on: data sets, number of images, and the terms they come under.
        training: the recipe, as far as it decides the result.
        versions: of the libraries that made the bundle.
        precision: how the weights are stored: float16, or int8.
    """

    name: str
    arch: str
    attributes: tuple[str, ...]
    preprocess: dict[str, Any]
    head: tuple[int, ...] = ()
    dropout: float = 0.0
    activation: str = "relu"
    output_stride: int = 32
    scale: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    unsure_below: float = 0.7
    calibrated_on: str = "validation"
    counts: list[list[list[int]]] = field(default_factory=list)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    trained_on: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    precision: str = "float16"
    sha256: str = NO_HASH
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        count = len(self.attributes)
        for name, default in (("scale", 1.0), ("bias", 0.0), ("thresholds", 0.5)):
            values = tuple(float(v) for v in getattr(self, name)) or (default,) * count
            if len(values) != count:
                raise WeightsError(
                    f"card of {self.name}: {len(values)} values of {name} for {count} attributes"
                )
            object.__setattr__(self, name, values)
        object.__setattr__(self, "attributes", tuple(self.attributes))
        object.__setattr__(self, "head", tuple(self.head))

    def _check(self) -> None:
        """Refuse, with a ValueError, what no network or crop can have."""
        sides = schema.checked(_Preprocess, self.preprocess)
        if not all(1 <= side <= MAX_SIDE for side in sides.size) or 0 in sides.std:
            raise ValueError(f"an input of {sides.size} pixels, divided by {sides.std}")
        if len(self.head) > MAX_LAYERS or not all(1 <= width <= MAX_WIDTH for width in self.head):
            raise ValueError(f"hidden layers of {reason(ValueError(self.head), 40)}")
        count = len(set(self.attributes))
        if not 0 < count == len(self.attributes):
            raise ValueError("no attributes, or one twice")
        shapes = {len(row) for half in self.counts for row in half} | {decisions.BINS}
        lengths = [len(half) for half in self.counts]
        if self.counts and (lengths != [count, count] or shapes != {decisions.BINS}):
            raise ValueError(f"counts are not [2][{count}][{decisions.BINS}]")

    def thresholds_at(
        self, point: str, threshold: str | float | None = None, *, others: bool = False
    ) -> NDArray[np.float64]:
        """Return the threshold of each attribute, [A].

        Infinite where an attribute can never be called present.

        Args:
            point: the operating point, as `parse_operating_point` takes it.
            threshold: for all attributes, or for some by name, as `parse_thresholds` takes it.
            others: whether names may be of attributes that the bundle does not have.

        Raises:
            UsageError: a name is unknown, or the card has no counts to choose thresholds from.
        """
        given = {} if threshold is None else parse_thresholds(threshold)
        if not isinstance(given, dict):
            return np.full(len(self.attributes), given)
        chosen_A = self._at(*parse_operating_point(point))
        known = set(map(key_of, self.attributes))
        mine = [name for name in given if not others or key_of(name) in known]
        names = select(mine, self.attributes)
        if len(names) < len(mine):
            raise UsageError(f"--threshold {threshold!r} names an attribute twice")
        for name, word in zip(names, mine, strict=True):
            chosen_A[self.attributes.index(name)] = given[word]
        return chosen_A

    def _at(self, kind: str, least: float) -> NDArray[np.float64]:
        if kind == "default":
            return np.array(self.thresholds)
        if not self.counts:
            raise UsageError(
                f"{self.name} holds no counts of validation images, so only the default operating "
                "point is known: train it again, or give --threshold"
            )
        return decisions.thresholds(np.array(self.counts), kind, least)

    @property
    def spec(self) -> ModelSpec:
        """The specification that rebuilds the network.

        Raises:
            WeightsError: it asks for an input that is too large.
        """
        height, width = self.preprocess["size"]
        if max(height, width) > MAX_SIDE:
            raise WeightsError(
                f"the card of {self.name} asks for an input of {height}x{width} pixels: no side "
                f"may have more than {MAX_SIDE:,}"
            )
        return ModelSpec(
            self.arch,
            len(self.attributes),
            self.head,
            self.dropout,
            self.activation,
            (int(height), int(width)),
            self.output_stride,
        )

    def to_json(self) -> str:
        """Return the card as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str, where: str) -> Card:
        """Read a card.

        Raises:
            WeightsError: it is not one, is of a newer schema than this program knows, or names an
                attribute that is not possible.
        """
        try:
            values = schema.json_object(text)
            schema.check("schema", values.get("schema"), int)
            if values["schema"] > SCHEMA:
                raise WeightsError(
                    f"{where} has a card of schema {values['schema']}, newer than this "
                    f"program's {SCHEMA}: update celebattr"
                )
            known = {f.name for f in dataclasses.fields(cls)}
            card = schema.checked(cls, {k: v for k, v in values.items() if k in known})
            card._check()
            check_attributes(card.attributes, f"the card of {where}")
            return card
        except DataError as error:
            raise WeightsError(f"{error} in the data and train again") from error
        except ValueError as error:
            raise WeightsError(f"{where}: its card cannot be read ({reason(error)})") from error
