"""JSON that a file holds, checked against the fields of a dataclass as it is read.

Cards, run manifests, indexes of shards and checkpoints all pass here: a file of strangers is
refused in one sentence, before anything is done with it. Nothing is converted but lists to tuples.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from celebattr.errors import reason

T = TypeVar("T")

LARGEST = 1 << 53
"""Bound of every number: below it whole numbers are exact in any reader of JSON."""

_NAMES = {int: "a whole number from 0 on", float: "a finite number", str: "text"}


def json_object(data: bytes | str) -> dict[str, Any]:
    """Parse a JSON object; NaN, which is no JSON, is None.

    Raises:
        ValueError: it is none, or too deeply nested, or has an infinite number.
    """
    try:
        values = json.loads(data, parse_constant=lambda name: None, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    return values


def checked(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a dataclass from the values of its fields, once each has the type of its field.

    Raises:
        ValueError: a value has another type or is out of bounds; a field is missing or unknown.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values.keys() - fields.keys():
        raise ValueError(f"{name!r} is unknown")
    for name, field in fields.items():
        default = (field.default, field.default_factory)
        if name not in values and default == (dataclasses.MISSING, dataclasses.MISSING):
            raise ValueError(f"{name!r} is missing")
    for name, value in values.items():
        check(name, value, hints[name])
    return kind(
        **{
            n: tuple(v) if isinstance(v, list) and _is_tuple(hints[n]) else v
            for n, v in values.items()
        }
    )


def check(name: str, value: Any, hint: Any) -> None:
    """Refuse a value that is not of a type.

    Raises:
        ValueError: it is not.
    """
    if not fits(value, hint):
        shown = reason(ValueError(repr(value)), 40)
        raise ValueError(f"{name!r} is {shown}, not {_NAMES.get(hint, hint)}")


def fits(value: Any, hint: Any) -> bool:
    """Return True if a value of JSON is of a type: whole numbers from 0, numbers finite."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if hint is int:
        return type(value) is int and 0 <= value < LARGEST
    if hint is float:
        return type(value) in (int, float) and -LARGEST < value < LARGEST
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is dict:
        return isinstance(value, dict) and all(fits(one, inner[1]) for one in value.values())
    if origin in (list, tuple):
        many = origin is list or inner[-1] is ...
        hints = inner[:1] * len(value) if many and isinstance(value, list | tuple) else inner
        return (
            isinstance(value, list | tuple)
            and len(value) == len(hints)
            and all(map(fits, value, hints))
        )
    return isinstance(value, hint)


def _is_tuple(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value
