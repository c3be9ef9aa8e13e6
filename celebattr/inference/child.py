"""Starts a process that opens and scores photos: the first thing of all, so with few imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import celebattr

MEMORY_MEGABYTES = 1024
"""What a process may take beside its libraries: room for a photo of 89 megapixels and a copy."""

BUNDLE_MEGABYTES = 512
"""And what one that scores may take for that: room for a bundle and its layers' outputs."""

_PACKAGE = str(Path(celebattr.__file__).resolve().parent.parent)

_ENVIRONMENT = {
    # There are as many processes as the processor can use; threads in each would be in the way, and
    # on large machines take gigabytes of address space.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    # Arrays of a photo's size are kept for the next one. glibc would give each back to the system
    # and get it anew, zeroed: 5 % of the time that un-cropped photos take.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 26),
}


def start(faces: str, weights: str) -> subprocess.Popen[bytes]:
    """Starts `celebattr.inference.pool.worker`, with its standard input and output as pipes.

    Args:
        faces: `PredictConfig.faces`.
        weights: an ONNX bundle to score with, `protocol.DEFAULT`, or empty: it gives frames.
    """
    paths = [_PACKAGE, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    memory = MEMORY_MEGABYTES + (BUNDLE_MEGABYTES if weights else 0)
    # -P: the folder one stands in, which may be full of photos, is no place to import from.
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "celebattr.inference.pool.worker",
            faces,
            str(memory),
            weights,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
