"""Shipped weights, and the resolution of a bundle's name to its file."""

from __future__ import annotations

from pathlib import Path

from celebattr.constants import weights_folder
from celebattr.errors import WeightsError, suggestion

SPEEDS = {"accurate": "celebattr-resnet50", "fast": "celebattr-resnet50slim"}
"""Shipped networks by speed; the first is the default."""

SUFFIXES = (".safetensors", ".onnx")

ONNX_BEGINS = b"\x08"
"""First bytes of ONNX: ModelProto's field 1, ir_version. Safetensors begin with a length."""


def bundle_file(weights: str | None, *, gpu: bool = False) -> Path:
    """Return the file of a bundle: a path, the name of a shipped one, or that for a speed.

    Args:
        weights: a path, a name without suffix, one of SPEEDS, or None for the first of them. Those
            stand for int8 ONNX on a CPU, half precision safetensors on a GPU if it is there.
        gpu: whether the network will run on a GPU.

    Raises:
        WeightsError: there is no such bundle.
    """
    folder = weights_folder()
    weights = next(iter(SPEEDS)) if weights is None else weights
    if weights in SPEEDS:
        found = folder / f"{SPEEDS[weights]}.safetensors"
        if not (gpu and found.is_file()):
            found = folder / f"{SPEEDS[weights]}-int8.onnx"
        if not found.is_file():
            raise WeightsError(f"{found} is missing: reinstall celebattr, or give --weights")
        return found
    path = Path(weights)
    if path.is_file():
        return path
    for suffix in SUFFIXES:
        if (folder / f"{weights}{suffix}").is_file():
            return folder / f"{weights}{suffix}"
    if path.is_dir() and (path / "best.safetensors").is_file():
        return path / "best.safetensors"  # a run folder
    names = [p.stem for p in shipped_bundles()]
    raise WeightsError(
        f"no bundle {weights}: neither a file, nor a run folder, nor one of "
        f"{', '.join(names)}.{suggestion(weights, names)}"
    )


def shipped_bundles() -> list[Path]:
    """Return the bundles that come with this installation."""
    found = weights_folder().glob("celebattr-*")
    return sorted(p for p in found if p.suffix in SUFFIXES)
