"""Which process scores: the one that is asked, or those that open the photos."""

from __future__ import annotations

from pathlib import Path

from celebattr import weights
from celebattr.device import gpu_likely
from celebattr.inference.config import PredictConfig


def bundle_for(config: PredictConfig) -> Path | None:
    """The bundle that the processes score with themselves: ONNX, on the CPU. Else None.

    Each process then takes a core and passes on some numbers; the frames of its photos, 116 kB
    each, go nowhere.

    Raises:
        WeightsError: there is no such bundle.
    """
    if config.device not in ("auto", "cpu") or config.precision not in ("auto", "float32"):
        return None
    gpu = config.bundle in weights.SPEEDS and config.device == "auto" and gpu_likely()
    path = weights.bundle_file(config.bundle, gpu=gpu)
    try:
        with path.open("rb") as file:
            return path if file.read(1) == weights.ONNX_BEGINS else None
    except OSError:
        return None  # who loads it says why it cannot be read
