"""The format of an output file, told by its suffix."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from celebattr.attributes import suggestion
from celebattr.errors import UsageError
from celebattr.io.files import StrPath


def format_of_suffix(path: StrPath, suffixes: Mapping[str, str]) -> str:
    """The format that a file's suffix stands for.

    Args:
        path: the file to be written.
        suffixes: format by suffix, dot included and in lower case.

    Raises:
        UsageError: the suffix is missing or unknown.
    """
    suffix = Path(path).suffix.lower()
    if suffix in suffixes:
        return suffixes[suffix]
    known = ", ".join(suffixes)
    if not suffix:
        raise UsageError(
            f"{os.fspath(path)} has no suffix to tell its format by. Give it one of {known}"
        )
    raise UsageError(
        f"{os.fspath(path)}: no format has the suffix {suffix}.{suggestion(suffix, suffixes)} "
        f"Known: {known}"
    )
