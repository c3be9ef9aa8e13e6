"""ONNX files, looked through before onnxruntime sees them.

A file from a stranger may name other files, which onnxruntime would read, or loops without end. So
the protobuf is walked as a parser walks it, whatever the order of its fields. Needs no package.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from celebattr.errors import WeightsError

_MAX_FIELDS = 1_000_000
"""Fields that are looked at, some microseconds each: a network has thousands."""

_VARINT, _WIDE, _BYTES, _NARROW = 0, 1, 2, 5
"""Protobuf's kinds of fields; the others, groups, are in no ONNX file."""

_ELSEWHERE = (
    "has weights in other files, which are never opened: a bundle is one file. Save the model with "
    "its weights inside."
)
_LOOPS = (
    "has loops, branches or functions, which need not come to an end: export a network without them"
)

# Source: onnx/onnx.proto of ONNX 1.23; the numbers of fields never change.
_INSIDE: dict[tuple[str, int], str] = {
    ("model", 7): "graph",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("graph", 15): "sparse",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 10): "tensor",
    ("attribute", 22): "sparse",
    ("attribute", 23): "sparse",
    ("sparse", 1): "tensor",
    ("sparse", 2): "tensor",
}
"""Kind of message in a field of another."""

_REFUSED: dict[tuple[str, int], str] = {
    ("tensor", 13): _ELSEWHERE,
    ("tensor", 14): _ELSEWHERE,
    ("attribute", 6): _LOOPS,
    ("attribute", 11): _LOOPS,
    ("model", 20): _LOOPS,
    ("model", 25): _LOOPS,
}
"""Reason not to open a file that has a field, unless that is 0."""


def check(data: bytes | mmap.mmap, path: Path) -> None:
    """Refuse a file that is no ONNX, names other files, or may not come to an end.

    Raises:
        WeightsError: it is cut off or damaged, or has such a field.
    """
    seen, messages = 0, [("model", 0, len(data))]
    try:
        while messages:
            message, start, end = messages.pop()
            for field, value in _fields(data, start, end):
                seen += 1
                if seen > _MAX_FIELDS:
                    raise ValueError(f"more than {_MAX_FIELDS:,} fields")
                if value and (message, field) in _REFUSED:
                    raise WeightsError(f"{path} {_REFUSED[message, field]}")
                inside = _INSIDE.get((message, field))
                if inside is not None and isinstance(value, slice):
                    messages.append((inside, value.start, value.stop))
    except IndexError as error:
        raise WeightsError(
            f"{path} is cut off, {len(data):,} bytes of at least {error}: download or copy it again"
        ) from error
    except ValueError as error:
        raise WeightsError(f"{path} is damaged: it is no ONNX file ({error})") from error


def metadata(data: bytes | mmap.mmap, key: str) -> str | None:
    """Return a value of the metadata of a file that was checked."""
    found = None
    for field, value in _fields(data, 0, len(data)):
        if field == 14 and isinstance(value, slice):
            entry = dict(_fields(data, value.start, value.stop))
            name, text = (
                data[part].decode("utf-8", "replace") if isinstance(part, slice) else ""
                for part in (entry.get(1), entry.get(2))
            )
            found = text if name == key else found
    return found


def _fields(
    data: bytes | mmap.mmap, at: int, end: int
) -> Iterator[tuple[int, int | slice[int, int, None]]]:
    """Yield the number of each field of a message, and its value or where its bytes are.

    Raises:
        IndexError: the data end before a field does; it says how many bytes there must be.
        ValueError: it is no protobuf.
    """
    while at < end:
        tag, at = _varint(data, at)
        field, wire = tag >> 3, tag & 7
        if not 0 < field < 1 << 29:
            raise ValueError(f"a field of number {field}")
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield field, value
            continue
        size, at = _varint(data, at) if wire == _BYTES else ({_WIDE: 8, _NARROW: 4}.get(wire), at)
        if size is None:
            raise ValueError("a field of an unknown kind")
        if at + size > len(data):
            raise IndexError(f"{at + size:,}")
        if at + size > end:
            raise ValueError("a field that is longer than its message")
        yield field, slice(at, at + size)
        at += size
    if at > end:
        raise ValueError("a field that is longer than its message")


def _varint(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the high bit of which says that more follow."""
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise IndexError(f"{at + 1:,}")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise ValueError("a number of too many bytes")
