from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from celebattr.training.compile import keep_freed

# Pages that come fresh from the system when a block of 64 MiB is taken and freed ten times.
FAULTS = """
import resource, sys
from celebattr.training import compile as memory
if sys.argv[1:]:
    assert memory.keep_freed()
import numpy as np
np.ones(1 << 26, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(1 << 26, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc is what is told")
def test_a_large_block_that_was_freed_is_used_again() -> None:
    fresh, kept = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS, *told]))
        for told in ([], ["keep"])
    )
    assert kept < fresh / 5


def test_elsewhere_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed()
