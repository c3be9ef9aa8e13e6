"""What a step on a CPU frees stays with the process: the next one needs as much again."""

from __future__ import annotations

import ctypes
import sys

# Source: malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 1 << 26


def keep_freed() -> bool:
    """Tells glibc's malloc to reuse large blocks instead of giving them back to the system.

    A step's feature maps are some hundred blocks of megabytes, and each that comes fresh from the
    system has its pages cleared one by one. ResNet50 at 128x104, 64 images, one core of a Xeon:
    14.4 images/s instead of 12.7, a third of the time in the system.

    Returns:
        Whether it was told; other systems and C libraries have no such call.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, _TOP_PAD))
    return all([mallopt(name, value) == 1 for name, value in settings])
