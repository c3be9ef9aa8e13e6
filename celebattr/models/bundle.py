"""Bundles: weights and their card in one file, safetensors or ONNX.

The card is JSON in the file's own metadata. Its `sha256` is taken over the whole file with those
64 digits as zeros, so a flipped bit anywhere is noticed, in either format, with no library. No
other format is ever loaded: there is no path to a pickle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from celebattr.errors import UsageError, WeightsError, needs, printable, reason
from celebattr.io import schema
from celebattr.io.files import replacing, write_bytes
from celebattr.models import onnx_file, weights
from celebattr.models.card import NO_HASH, Card

if TYPE_CHECKING:
    from torch import Tensor

    from celebattr.models.network import Network

METADATA_KEY = "celebattr"

Data = bytes | mmap.mmap
"""Bytes of a bundle's file, mapped."""

log = logging.getLogger(__name__)


def seal(data: bytes) -> bytes:
    """Fill in the card's sha256 of a file that was written with zeros in its place."""
    zeros = NO_HASH.encode()
    assert data.count(zeros) == 1, "exactly one sha256 field"
    return data.replace(zeros, hashlib.sha256(data).hexdigest().encode())


def verify(data: Data, card: Card, where: str) -> None:
    """Check a file against the sha256 in its card.

    Raises:
        WeightsError: the file was damaged or changed.
    """
    if intact(data, card.sha256):
        return
    differs = "its sha256 is not the one in its card"
    if kind(data) == "onnx":  # which `read` found whole
        raise WeightsError(
            f"{where} has changed since it was sealed: {differs}. If an optimiser rewrote it, seal "
            f"it with 'celebattr export --seal {where}'; else copy it again."
        )
    raise WeightsError(f"{where} is damaged: {differs}. Copy it again.")


def intact(data: Data, sha256: str) -> bool:
    """Return True if a file has this sha256 with these 64 digits of it as zeros."""
    digest = sha256.encode()
    at = data.find(digest)
    whole = memoryview(data)  # no copy of what may be large
    if len(digest) != 64 or at < 0 or data.find(digest, at + 1) >= 0:
        return False
    found = hashlib.sha256(whole[:at])
    found.update(NO_HASH.encode())
    found.update(whole[at + 64 :])
    return found.hexdigest() == sha256


def read(path: Path) -> Data:
    """Map the bytes of a weights file, once they look like safetensors or ONNX.

    They are mapped, not copied: a slice of them is bytes of one's own.

    Raises:
        WeightsError: it cannot be read, or is something else, a pickle for instance.
    """
    try:
        with path.open("rb") as file:
            empty = os.fstat(file.fileno()).st_size == 0  # which cannot be mapped
            data = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    if data[:23] == b"version https://git-lfs":
        raise WeightsError(f"{path} is a Git LFS pointer, not the bundle: run `git lfs pull`")
    size = _size(data) if data else 1
    if len(data) < size:
        short = f"{len(data):,} bytes of at least {size:,}"
        raise WeightsError(f"{path} is cut off, {short}: download or copy it again")
    if kind(data) is None:
        looks = "a pickle" if data[:2] == b"PK" or data[:1] == b"\x80" else "something else"
        raise WeightsError(
            f"{path} is neither safetensors nor ONNX but {looks}, which is never loaded. "
            "Give a bundle that `celebattr train` or `celebattr export` wrote."
        )
    if kind(data) == "onnx":
        onnx_file.check(data, path)
    return data


_MAX_HEADER = 100_000_000
"""Bytes of the longest header that safetensors itself accepts."""


def _size(data: Data) -> int:
    """Return the bytes that a safetensors file must have by its own account; 0 if it is none."""
    header = 8 + int.from_bytes(data[:8], "little")
    if data[8:9] == b"{" and header < _MAX_HEADER:
        if header > len(data):
            return header
        try:
            entries = json.loads(data[8:header])
            return header + max(
                (one["data_offsets"][1] for name, one in entries.items() if name[:2] != "__"),
                default=0,
            )
        except (ValueError, AttributeError, LookupError, TypeError):
            return 0  # said where it is read
    return 0


def kind(data: Data) -> str | None:
    """Return the kind of file by its first bytes: safetensors, onnx, or None."""
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return "safetensors"
    # An ONNX ModelProto begins with field 1, ir_version, a small number.
    if data[:1] == weights.ONNX_BEGINS:
        return "onnx"
    return None


def safetensors_metadata(data: Data, where: str) -> dict[str, str]:
    """Return the free metadata of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    try:
        metadata = schema.json_object(data[8 : 8 + length]).get("__metadata__", {})
        schema.check("__metadata__", metadata, dict[str, str])
    except ValueError as error:
        raise WeightsError(f"{where} is damaged: its header is not JSON ({error})") from error
    return dict(metadata)


def card_of(path: Path) -> Card:
    """Read the card of a bundle, without building its network.

    Raises:
        WeightsError: the file is not a bundle.
    """
    return card_in(read(path), path)


def card_in(data: Data, path: Path) -> Card:
    """Parse the card in the bytes of a bundle that was read from `path`."""
    if kind(data) == "safetensors":
        text = safetensors_metadata(data, str(path)).get(METADATA_KEY)
    else:
        text = onnx_file.metadata(data, METADATA_KEY)
    if text is None:
        raise WeightsError(f"{path} has no card: it is not a celebattr bundle")
    return Card.from_json(text, str(path))


def save(path: Path, card: Card, tensors: Mapping[str, Tensor]) -> list[str]:
    """Write a safetensors bundle, atomically.

    Matrices and filters are stored in half precision; vectors (norms, their running statistics,
    biases) stay in float32, where half precision could overflow or vanish, and so do matrices that
    it cannot hold.

    Returns:
        The names of these matrices.

    Raises:
        WeightsError: a weight is not finite.
    """
    stored: dict[str, Tensor] = {}
    wide = []
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue  # num_batches_tracked, which only training reads
        whole = tensor.detach().cpu().float()
        if not whole.isfinite().all():
            raise WeightsError(f"{path} is not written: its weights {name} are not all finite")
        half = whole.half()
        # Overflow makes the error infinite; what is all but zero has steps that are too coarse.
        fits = (half.float() - whole).abs().max() <= whole.abs().max() / 1024
        if whole.ndim > 1 and not fits:
            wide.append(name)
        stored[name] = half if whole.ndim > 1 and fits else whole
    card = dataclasses.replace(card, precision="float16", sha256=NO_HASH)
    write_safetensors(path, {METADATA_KEY: card.to_json()}, stored)
    return wide


def write_safetensors(
    path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> None:
    """Write a sealed safetensors file tensor by tensor, atomically.

    The library makes all of the file in memory first, and aborts the process if there is none.

    Args:
        path: the file.
        metadata: text by name; one of them holds `NO_HASH`, the place of the file's sha256.
        tensors: float32, float16 or int64, on any device.
    """
    import torch

    kinds = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        shape = list(tensor.shape)
        header[name] = {"dtype": kinds[tensor.dtype], "shape": shape, "data_offsets": [start, end]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)  # the tensors after it start at a multiple of 8
    head = len(head).to_bytes(8, "little") + head
    digest = hashlib.sha256(head)
    with replacing(path) as file:
        file.write(head)
        for tensor in tensors.values():
            values = tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data
            digest.update(values)
            file.write(values)
        file.seek(head.index(NO_HASH.encode()))
        file.write(digest.hexdigest().encode())


def rewrite(path: Path, card: Card, target: Path | None = None) -> None:
    """Replace the card of a bundle; its weights stay as they are, byte for byte.

    Args:
        path: the bundle.
        card: of the same network.
        target: the file to write, of the same format; without it, the bundle itself.

    Raises:
        WeightsError: it is damaged.
        MissingExtraError: it is ONNX, and the package onnx is not installed.
    """
    target = target or path
    data = read(path)[:]  # a mapped file cannot be replaced on every system
    verify(data, card_in(data, path), str(path))
    if kind(data) == "safetensors":
        text = dataclasses.replace(card, sha256=NO_HASH).to_json()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header["__metadata__"][METADATA_KEY] = text
        start = json.dumps(header, separators=(",", ":")).encode()
        start += b" " * (-len(start) % 8)  # the tensors after it start at a multiple of 8
        new = len(start).to_bytes(8, "little") + start + data[8 + length :]
    else:
        new = with_onnx_card(data, card)
    write_bytes(target, seal(new))


def with_onnx_card(data: bytes, card: Card) -> bytes:
    """Put a card into the bytes of an ONNX model, not yet sealed.

    Beside the card's JSON stands what a reader without this program needs: names, thresholds,
    scales and biases of the attributes, separated by commas, in the order of the outputs. Scales
    and biases of the graph itself, which make its second output, become the card's.

    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    with needs("train"):
        import onnx
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if tensor.name in ("scale", "bias"):  # see `celebattr.inference.export`
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            values_A = np.array(getattr(card, tensor.name), kind)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values_A, tensor.name))
    values: dict[str, str] = {
        "input": "RGB, uint8 [N, 218, 178, 3]: faces in CelebA's aligned crop",
        "attributes": ",".join(card.attributes),
        "thresholds": ",".join(map(str, card.thresholds)),
        "scale": ",".join(map(str, card.scale)),
        "bias": ",".join(map(str, card.bias)),
        METADATA_KEY: dataclasses.replace(card, sha256=NO_HASH).to_json(),
    }
    onnx.helper.set_model_props(model, values)
    return bytes(model.SerializeToString())


def load(path: Path, *, finest: bool = False) -> tuple[Card, Network]:
    """Read a safetensors bundle and rebuild its network in float32, in evaluation mode.

    Args:
        path: the bundle.
        finest: give its last feature map the most places that its architecture can.

    Raises:
        WeightsError: it is damaged, or its tensors do not fit its architecture.
    """
    import torch

    from celebattr.models import registry

    data = read(path)
    card = card_in(data, path)
    verify(data, card, str(path))
    spec = card.spec
    tensors = tensors_in(data, path)
    try:
        if finest:
            strides = registry.row(card.arch).output_strides
            spec = dataclasses.replace(spec, output_stride=min(strides))
        with torch.device("meta"):  # no memory yet: a card may ask for any widths
            shapes = {name: t.shape for name, t in registry.build(spec).state_dict().items()}
    except (UsageError, RuntimeError, ValueError, LookupError) as error:  # of torch, for instance
        why = reason(error)
        raise WeightsError(f"{path} does not fit {printable(card.arch)}: {why}") from error
    missing = [n for n in shapes if n not in tensors and not n.endswith("num_batches_tracked")]
    unexpected = [name for name, t in tensors.items() if shapes.get(name) != t.shape]
    if missing or unexpected:
        raise WeightsError(
            f"{path} does not fit {card.arch}: missing {missing[:3]}, unexpected {unexpected[:3]}"
        )
    network = registry.build(spec)
    network.load_state_dict(tensors, strict=False)
    return card, network.eval()


def tensors_in(data: Data, path: Path) -> dict[str, Tensor]:
    """Return the tensors of safetensors bytes, in float32.

    Raises:
        WeightsError: it is damaged, or ONNX, whose weights cannot be trained or exported again.
    """
    if kind(data) != "safetensors":
        raise WeightsError(f"{path} is ONNX: give the .safetensors bundle it was exported from")
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    try:
        return {name: t.float() for name, t in from_bytes(data[:]).items()}
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is damaged: {reason(error)}") from error
