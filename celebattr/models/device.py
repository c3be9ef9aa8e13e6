"""Choice of device and precision, with the reason."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celebattr.constants import PRECISIONS
from celebattr.errors import DeviceError, UsageError, needs, reason

GIB = 2**30
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Device files of GPU drivers on Linux: NVIDIA's, WSL's, AMD's."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceChoice:
    """A device that was proven to work.

    Attributes:
        device: as torch names it: "cpu", "mps", "cuda:0".
        precision: of the forward pass, a name in torch: float32, bfloat16 or float16.
        reason: device and precision, and why, one line for a person.
    """

    device: str
    precision: str
    reason: str


_MEMORY = re.compile(
    "out of memory|(not enough|can't allocate|cannot allocate) memory|bad_alloc|ALLOC_FAILED"
    "|could not (create|execute) a primitive",  # oneDNN's
    re.IGNORECASE,
)


def out_of_memory(error: BaseException) -> bool:
    """Return True if an error says that memory ran out; of most libraries' only the text tells."""
    told = isinstance(error, RuntimeError) and _MEMORY.search(str(error))
    return isinstance(error, MemoryError) or bool(told)


@contextlib.contextmanager
def enough_memory(remedy: str) -> Iterator[None]:
    """Turn running out of memory within the block into an error with a remedy.

    Raises:
        DeviceError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise DeviceError(f"out of memory ({reason(error)}): {remedy}") from error


def resolve(device: str = "auto", precision: str = "auto") -> DeviceChoice:
    """Choose a device and its precision.

    Args:
        device: "auto" takes the CUDA device with the most free memory, else MPS, else the CPU;
            "cuda", "cuda:1", "mps" and "cpu" are taken at their word.
        precision: "auto", or the name of one that the device must have.

    Raises:
        UsageError: no such word.
        DeviceError: the device is not there, does not work, or lacks the precision.
        MissingExtraError: torch is not installed.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise UsageError(f"device {device!r} is not one of auto, cpu, mps, cuda, cuda:0 ...")
    with needs("train"):
        import torch
    note = ""
    for kind in ("cuda", "mps"):
        if device != "auto" and not device.startswith(kind):
            continue
        try:
            if kind == "cuda":
                return _cuda(torch, device, precision)
            return _mps(torch, precision, note)
        except _NotThereError as error:
            if device != "auto":
                raise DeviceError(f"{device} cannot be used: {error}. {_there(torch)}") from error
            # A machine without a GPU needs no explanation; one whose GPU fails does.
            if error.surprising:
                note += f"; no {kind.upper()}: {error}"
                log.warning("%s cannot be used: %s", kind.upper(), error)
    return _cpu(torch, precision, note)


def resolve_one_of(device: str, precision: str, local_rank: int, local_size: int) -> DeviceChoice:
    """Choose the device of one of `local_size` training processes on this machine.

    As `resolve` does, but "cuda" and "auto" give each the GPU of its local rank.

    Raises:
        UsageError: one GPU is asked for by its number.
        DeviceError: there are fewer GPUs than processes; and as `resolve` does.
    """
    import torch

    if device == "mps":
        raise DeviceError("Apple's GPU takes one process: start one, or give --device cpu")
    if device == "auto" and not torch.cuda.is_available():
        choice = resolve("auto", precision)  # says what is wrong with CUDA
        return resolve("cpu", precision) if choice.device == "mps" else choice
    if local_size == 1 or device == "cpu":
        return resolve(device, precision)
    if ":" in device:
        raise UsageError(
            f"--device {device} is one GPU, for {local_size} processes: give --device cuda, and "
            "CUDA_VISIBLE_DEVICES to choose among GPUs"
        )
    there = torch.cuda.device_count()
    if 0 < there < local_size:
        raise DeviceError(
            f"{local_size} processes and {there} GPU(s) on this machine: give torchrun "
            f"--nproc-per-node {there}, or --device cpu"
        )
    return resolve(f"cuda:{local_rank}", precision)


def gpu_likely() -> bool:
    """Return True if `resolve` would likely find a GPU, told without importing torch.

    It takes a GPU's driver or Apple's chips, and an installed torch built for them.
    """
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return False
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    if not (shutil.which("nvidia-smi") or any(Path(driver).exists() for driver in _DRIVERS)):
        return False
    version = Path(torch.origin).with_name("version.py")
    # torch states there what it is built for, for example: cuda: Optional[str] = '12.8'
    text = version.read_text(encoding="utf-8") if version.exists() else ""
    return re.search(r"^(cuda|hip)\b.*=\s*['\"]", text, re.MULTILINE) is not None


class _NotThereError(Exception):
    """A kind of device that cannot be used; `surprising` if the machine seems to have one."""

    def __init__(self, why: str, *, surprising: bool = False) -> None:
        super().__init__(why)
        self.surprising = surprising


def _cuda(torch: Any, device: str, precision: str) -> DeviceChoice:
    """Return the requested CUDA device, or the working one with the most free memory."""
    if torch.version.cuda is None and torch.version.hip is None:
        raise _NotThereError("the installed torch is built without CUDA")
    with warnings.catch_warnings(record=True) as caught:
        # torch says what is wrong with a driver in a warning.
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        said = str(caught[0].message).split(" (Triggered")[0].strip() if caught else ""
        raise _NotThereError(said or "torch sees no CUDA device", surprising=bool(said))
    count = torch.cuda.device_count()
    indices = [int(device.partition(":")[2])] if ":" in device else list(range(count))
    if indices and indices[0] >= count:
        raise _NotThereError(f"there are {count} CUDA devices, counted from cuda:0")
    free, errors = {}, []
    for index in indices:
        try:
            free[index] = torch.cuda.mem_get_info(index)
        except RuntimeError as error:
            errors.append(f"cuda:{index}: {_first_line(error)}")
    for index in sorted(free, key=lambda i: -free[i][0]):
        name = f"cuda:{index}"
        try:
            _prove(torch, name)
        except RuntimeError as error:
            errors.append(f"{name}: {_first_line(error)}")
            continue
        with torch.cuda.device(index):
            bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        title = torch.cuda.get_device_name(index)
        if precision == "auto":
            precision = "bfloat16" if bfloat16 else "float16"
        elif precision == "bfloat16" and not bfloat16:
            raise DeviceError(
                f"{title} ({name}) has no bfloat16 arithmetic: give --precision float16 or float32"
            )
        memory = f"{free[index][0] / GIB:.1f} of {free[index][1] / GIB:.1f} GiB free"
        most = ", the most of " + str(count) if len(free) > 1 else ""
        return DeviceChoice(name, precision, f"{title} ({name}), {memory}{most}, {precision}")
    raise _NotThereError("; ".join(errors), surprising=True)


def _mps(torch: Any, precision: str, note: str) -> DeviceChoice:
    """Return Apple's GPU.

    In float32: these GPUs compute float16 hardly faster, and training in it needs loss scaling.
    """
    if not torch.backends.mps.is_built():
        raise _NotThereError("the installed torch is built without MPS")
    if not torch.backends.mps.is_available():
        raise _NotThereError("there is no Apple GPU, or macOS is too old for this torch")
    try:
        _prove(torch, "mps")
    except RuntimeError as error:
        raise _NotThereError(_first_line(error), surprising=True) from error
    if precision == "bfloat16" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise DeviceError("bfloat16 on MPS needs macOS 14: give --precision float32")
    precision = "float32" if precision == "auto" else precision
    return DeviceChoice("mps", precision, f"Apple GPU (mps), {precision}{note}")


def _cpu(torch: Any, precision: str, note: str) -> DeviceChoice:
    """Return the CPU, in bfloat16 if it has the instructions, which about doubles its speed."""
    instructions = _bfloat16_instructions(torch)
    if precision == "float16":
        raise DeviceError(
            "float16 is for GPUs; on the CPU give --precision bfloat16, or float32 which is exact"
        )
    if precision == "auto":
        precision = "bfloat16" if instructions else "float32"
    how = f" ({instructions or 'slower than float32 here'})" if precision == "bfloat16" else ""
    cores = usable_cores()
    if cores < torch.get_num_threads():  # OpenMP does not see a container's limit
        torch.set_num_threads(cores)
    unit = "core" if cores == 1 else "cores"
    return DeviceChoice("cpu", precision, f"CPU, {cores} {unit}, {precision}{how}{note}")


def _bfloat16_instructions(torch: Any) -> str:
    """Return the name of the CPU's instructions that multiply bfloat16, or an empty string."""
    # Public from torch 2.11 on; on another the CPU is taken to have none.
    read = getattr(torch.cpu, "get_capabilities", None)
    has = read() if read is not None else {}
    if has.get("amx_bf16"):
        return "AMX"
    # Intel's do it no faster than float32 unless they have AMX, which virtual machines may hide: a
    # training step of ResNet50 ran at 18 images/s instead of 23 on two cores of such a Xeon.
    if has.get("avx512_bf16") and not str(has.get("cpu_name", "")).startswith("Intel"):
        return "AVX512-BF16"
    # Only Linux builds of torch carry the Arm kernels that use them.
    if has.get("bf16") and sys.platform == "linux":
        return "Arm BF16"
    return ""


def _prove(torch: Any, device: str) -> None:
    """Compute on the device, since a listed one may be full, forbidden or unsupported."""
    if (torch.ones(2, device=device) + 1).sum().item() != 4.0:
        raise RuntimeError("it computes wrongly")


def _there(torch: Any) -> str:
    """List the devices that could be used instead."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return f"Devices here: {', '.join([*(f'cuda:{i}' for i in range(count)), *mps, 'cpu'])}"


def usable_cores() -> int:
    """Return the number of CPU cores this process may use: by affinity and a container's limit."""
    if hasattr(os, "sched_getaffinity"):  # cpu_count ignores taskset and Slurm's binding
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """Return the number of cores whose time Linux' control groups (1 or 2) grant, or infinity."""
    quota = math.inf
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        group = mount / path.lstrip("/")
        # A limit of any group above holds too. In a container the path may be the host's: what is
        # not there has no limit, and the mount's own files are this container's.
        for folder in (group, *group.parents):
            values = _read(folder / "cpu.max").split() or [
                _read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
            ]
            if values[0].isdigit() and values[1].isdigit():  # not "max", nor -1
                quota = min(quota, int(values[0]) / max(1, int(values[1])))
            if folder == mount:
                break
    return quota


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
