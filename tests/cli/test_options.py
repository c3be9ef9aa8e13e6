from __future__ import annotations

import os
from pathlib import Path

import pytest

from celebattr.cli.options import data_sets
from celebattr.options import Url


def test_the_environment_lists_paths_with_spaces_and_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = os.pathsep.join(["/my faces", "s3://bucket/x", "b"])
    monkeypatch.setenv("CELEBATTR_DATA", listed)
    assert data_sets(None) == (Path("/my faces"), Url("s3://bucket/x"), Path("b"))
    assert data_sets(["c"]) == (Path("c"),)
