"""Backends that run a network: onnxruntime and torch, on a CPU or a GPU."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from celebattr.errors import DeviceError, WeightsError, needs
from celebattr.models import bundle
from celebattr.models.card import Card
from celebattr.models.device import gpu_likely, out_of_memory, resolve, usable_cores
from celebattr.models.weights import bundle_file

if TYPE_CHECKING:
    import torch


log = logging.getLogger(__name__)

_ON_CPU, _ON_GPU = 16, 256
"""Crops per call: more are no faster on a CPU; fewer leave a GPU waiting for the next call."""

PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
}
"""What runs ONNX bundles on a device: the execution provider, and the package that has it."""


class Backend(Protocol):
    """A loaded bundle.

    Attributes:
        card: the bundle's card.
        path: the bundle's file.
        precision: its arithmetic: float32, bfloat16, float16 or int8.
        description: device and precision, one line for a person.
        at_once: calls of `logits`, from as many threads, that together keep the device busy.
        batch_size: crops per call that keep it busy.
    """

    card: Card
    path: Path
    precision: str
    description: str
    at_once: int
    batch_size: int

    def logits(self, crops_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits [N, A] of crops uint8 [N, 218, 178, 3]."""


def open_backend(weights: str | None, *, device: str = "auto", precision: str = "auto") -> Backend:
    """Load a bundle on the device that suits it.

    ONNX bundles run in onnxruntime, without torch: on the CPU, or on a device of `PROVIDERS`.
    Safetensors bundles run in torch. Without a name, a GPU gets the half-precision bundle and a CPU
    the int8 one.

    Raises:
        WeightsError: the bundle is missing or damaged.
        DeviceError: the device is not there, or cannot run this bundle.
        MissingExtraError: a safetensors bundle needs torch, which is not installed.
    """
    gpu = gpu_likely() if device == "auto" else device != "cpu"
    path = bundle_file(weights, gpu=gpu)
    data = bundle.read(path)
    if bundle.kind(data) == "safetensors":
        return TorchBackend(path, device=device, precision=precision)
    if precision not in ("auto", "float32"):
        raise DeviceError(
            f"{path.name} is an ONNX bundle, its arithmetic is fixed; --precision {precision} "
            "needs a .safetensors bundle"
        )
    return OnnxBackend(path, data, device)


class OnnxBackend:
    """An ONNX bundle in onnxruntime.

    On a CPU a call takes one core. Several cores that share a batch wait for each other after every
    layer, and for whichever the system gave to another process: a batch per core is 10 to 25 %
    faster.

    Raises:
        DeviceError: the installed onnxruntime has no provider for the device.
        WeightsError: the bundle is damaged.
    """

    def __init__(self, path: Path, data: bundle.Data, device: str = "auto") -> None:
        import onnxruntime

        self.path = path
        self.card = bundle.card_in(data, path)
        provider, settings = _provider(device, path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        if on_cpu := provider == PROVIDERS["cpu"][0]:
            options.intra_op_num_threads = 1
        self.at_once = usable_cores() if on_cpu else 1
        self.batch_size = _ON_CPU if on_cpu else _ON_GPU
        # Hashing leaves Python's lock: it is done on another core while the session is made.
        with ThreadPoolExecutor(1) as pool:
            check = pool.submit(bundle.verify, data, self.card, str(path))
            try:
                self._session = onnxruntime.InferenceSession(
                    _model(path, data), options, providers=[(provider, settings)]
                )
            except Exception as error:  # onnxruntime's exceptions share no base but this one
                check.result()
                raise WeightsError(f"{path} cannot be loaded: {error}") from error
            check.result()
        self._input = self._session.get_inputs()[0].name
        self.precision = self.card.precision
        used = self._session.get_providers()[0]
        if used != provider:  # onnxruntime falls back without a word
            log.warning("%s cannot be used: %s runs on the CPU, by onnxruntime", device, path.name)
        name = "CPU" if used == PROVIDERS["cpu"][0] else device
        self.description = f"{name}, onnxruntime {onnxruntime.__version__}, {self.card.precision}"

    def logits(self, crops_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits [N, A] of crops uint8 [N, 218, 178, 3]; on a CPU in small batches."""
        size = self.batch_size
        parts: list[NDArray[np.float32]] = [
            self._session.run(["logits"], {self._input: crops_NHWC[i : i + size]})[0]
            for i in range(0, len(crops_NHWC), size)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _provider(device: str, path: Path) -> tuple[str, dict[str, str]]:
    """Return onnxruntime's provider for a device, and its settings.

    Raises:
        DeviceError: there is none, or it is not installed.
    """
    import onnxruntime

    kind, _, index = device.partition(":")
    if kind not in ("auto", *PROVIDERS):
        raise DeviceError(
            f"{path.name} is an ONNX bundle, which runs on {', '.join(PROVIDERS)}: for --device "
            f"{device} give --weights a .safetensors bundle"
        )
    provider, package = PROVIDERS["cpu" if kind == "auto" else kind]
    if provider not in onnxruntime.get_available_providers():
        raise DeviceError(
            f"--device {device}: the installed onnxruntime has no {provider}. Put {package} in its "
            f"place: pip uninstall onnxruntime, then pip install {package}"
        )
    return provider, {"device_id": index} if index else {}


def _model(path: Path, data: bundle.Data) -> str | bytes:
    """Return the file for onnxruntime, which would keep bytes as long as the session."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # a name that it does not take
        return data[:]
    return str(path)


class TorchBackend:
    """A safetensors bundle in torch."""

    def __init__(self, path: Path, *, device: str = "auto", precision: str = "auto") -> None:
        with needs("train"):
            import torch
        from celebattr.models.preprocess import Preprocess, PreprocessSpec

        self.path = path
        self.at_once = 1
        choice = resolve(device, precision)
        self._device = torch.device(choice.device)
        self.batch_size = _ON_CPU if self._device.type == "cpu" else _ON_GPU
        self._dtype: torch.dtype = getattr(torch, choice.precision)
        self.precision = choice.precision
        self.description = choice.reason
        self.card, network = bundle.load(path)
        spec = PreprocessSpec.from_dict(self.card.preprocess)
        self._preprocess = Preprocess(spec).to(self._device)
        self._network = network.place(self._device)

    def logits(self, crops_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits [N, A] of crops; halve the batch if memory runs out."""
        import torch

        try:
            return self._logits(crops_NHWC)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if len(crops_NHWC) == 1:
                raise DeviceError(
                    f"{self._device} has too little memory for one image: give --device cpu"
                ) from None
        # Outside of `except`: the error's traceback holds the tensors that did not fit.
        torch.cuda.empty_cache()
        half = len(crops_NHWC) // 2
        return np.concatenate([self.logits(crops_NHWC[:half]), self.logits(crops_NHWC[half:])])

    def _logits(self, crops_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(
                self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32
            ),
        ):
            crops = torch.from_numpy(crops_NHWC).to(self._device)
            # In float32 whatever the precision, as in training.
            with torch.autocast(self._device.type, enabled=False):
                images = self._preprocess(crops)
            logits: Any = self._network(images.contiguous(memory_format=torch.channels_last))
        result: NDArray[np.float32] = logits.float().cpu().numpy()
        return result
