from __future__ import annotations

import pytest

from celebattr.training import run_folder


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no curves and pages: they cost as much as an epoch."""
    monkeypatch.setattr(run_folder.RunFolder, "pictures", lambda *_: None)
