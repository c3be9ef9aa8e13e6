"""Inputs, opened as a process would: for tests of names and addresses."""

from __future__ import annotations

from collections.abc import Iterable

from celebattr.inference.faces import Preparer
from celebattr.inference.inputs.source import Input


def rows(items: Iterable[Input]) -> list[tuple[str, str]]:
    """The name and status that each input is reported with: opened here, as a process would."""
    prepare, found = Preparer("none"), []
    for item in items:
        failure = prepare(item.ready()).failure
        found.append((item.path, "ok" if failure is None else failure.status))
        if failure is not None:
            assert failure.path == item.path
            assert failure.error.isprintable()
    return found
