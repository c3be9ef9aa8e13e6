"""Shipped weights, and the resolution of a bundle's name or address to its file."""

from __future__ import annotations

from pathlib import Path

from celebattr.constants import weights_folder
from celebattr.errors import WeightsError, needs, suggestion

SPEEDS = {"accurate": "celebattr-resnet50", "fast": "celebattr-resnet50slim"}
"""Shipped networks by speed; the first is the default."""

SUFFIXES = (".safetensors", ".onnx")

HUB = "hf://"
"""Addresses of bundles on Hugging Face's hub begin with this: hf://OWNER/NAME[/FILE]."""

HUB_NAME = "bundle"
"""Name of the bundle in a folder for the hub, without its suffix."""

ONNX_BEGINS = b"\x08"
"""First bytes of ONNX: ModelProto's field 1, ir_version. Safetensors begin with a length."""


def bundle_file(weights: str | None, *, gpu: bool = False) -> Path:
    """Return the file of a bundle: a path, the name of a shipped one, or that for a speed.

    Args:
        weights: a path, a name without suffix, an address on Hugging Face's hub, one of SPEEDS, or
            None for the first of them. Those stand for int8 ONNX on a CPU, half precision
            safetensors on a GPU if it is there.
        gpu: whether the network will run on a GPU.

    Raises:
        WeightsError: there is no such bundle, or it cannot be had.
        MissingExtraError: an address, and huggingface_hub is not installed.
    """
    if weights is not None and weights.startswith(HUB):
        return _from_hub(weights)
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


def _from_hub(address: str) -> Path:
    """Return the file of a bundle on Hugging Face's hub, downloaded or from its cache."""
    with needs("hub"):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    owner, name, file, *_ = [*address.removeprefix(HUB).split("/", 2), "", ""]
    told, offline = "", False
    for there in [file] if file else [HUB_NAME + suffix for suffix in SUFFIXES]:
        try:
            return Path(hf_hub_download(f"{owner}/{name}", there, local_files_only=offline))
        except EntryNotFoundError as error:
            told = told or str(error)
            # The hub was tried for long enough: the other name is looked for in the cache alone.
            offline = isinstance(error, LocalEntryNotFoundError)
        except Exception as error:  # no connection, no such repository: these share no base
            told = str(error) or type(error).__name__
            break
    raise WeightsError(
        f"{address} cannot be had: {' '.join(told.split())[:200]}. Give hf://OWNER/NAME of a "
        f"public repository with {HUB_NAME}.safetensors or {HUB_NAME}.onnx, or hf://OWNER/NAME/FILE"
    )


def shipped_bundles() -> list[Path]:
    """Return the bundles that come with this installation."""
    found = weights_folder().glob("celebattr-*")
    return sorted(p for p in found if p.suffix in SUFFIXES)
