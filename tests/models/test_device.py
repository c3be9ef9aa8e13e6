"""Machines that are not here, played to `resolve` by replacing what torch says of them."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import math
import platform
import shutil
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from celebattr.errors import DeviceError, ExitCode, MissingExtraError, UsageError
from celebattr.models import device

GIB = 2**30


@dataclass
class Machine:
    """What torch would say. `free` is in GiB of 80, one a CUDA device."""

    free: list[float] = field(default_factory=list)
    broken: tuple[str, ...] = ()
    bfloat16: bool = True
    mps: bool = False
    macos: int = 15
    instructions: tuple[str, ...] = ()
    cpu: str = "AMD EPYC"
    driver_warning: str = ""

    def install(self, patch: pytest.MonkeyPatch) -> Machine:
        def is_available() -> bool:
            if self.driver_warning:
                warnings.warn(self.driver_warning, UserWarning, stacklevel=1)
            return bool(self.free)

        def mem_get_info(index: int) -> tuple[int, int]:
            if f"query cuda:{index}" in self.broken:
                raise RuntimeError("CUDA error: device is busy\nmore lines")
            return int(self.free[index] * GIB), 80 * GIB

        def prove(_torch: object, name: str) -> None:
            if name in self.broken:
                raise RuntimeError("CUDA out of memory. Tried to allocate\nmore lines")

        patch.setattr(torch.version, "cuda", "12.8")
        patch.setattr(torch.cuda, "is_available", is_available)
        patch.setattr(torch.cuda, "device_count", lambda: len(self.free))
        patch.setattr(torch.cuda, "mem_get_info", mem_get_info)
        patch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
        patch.setattr(torch.cuda, "is_bf16_supported", lambda **_: self.bfloat16)
        patch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA Test")
        patch.setattr(torch.backends.mps, "is_available", lambda: self.mps)
        patch.setattr(torch.backends.mps, "is_built", lambda: self.mps)
        patch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, _: self.macos >= major)
        has = {**dict.fromkeys(self.instructions, True), "cpu_name": self.cpu}
        patch.setattr(torch.cpu, "get_capabilities", lambda: has)
        patch.setattr(device, "_prove", prove)
        patch.setattr(device, "usable_cores", lambda: 2)
        return self


def test_this_machine_gets_a_device_that_computes() -> None:
    choice = device.resolve()
    assert torch.ones(2, device=choice.device, dtype=getattr(torch, choice.precision)).sum() == 2
    assert choice.precision in choice.reason
    assert "\n" not in choice.reason


def test_the_cuda_device_with_the_most_free_memory_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Machine([10, 70, 30], mps=True).install(monkeypatch)
    for asked in ("auto", "cuda"):
        choice = device.resolve(asked)
        assert (choice.device, choice.precision) == ("cuda:1", "bfloat16")
        assert choice.reason == (
            "NVIDIA Test (cuda:1), 70.0 of 80.0 GiB free, the most of 3, bfloat16"
        )


def test_a_cuda_device_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine([10, 70]).install(monkeypatch)
    choice = device.resolve("cuda:0")
    assert choice.device == "cuda:0"
    assert choice.reason == "NVIDIA Test (cuda:0), 10.0 of 80.0 GiB free, bfloat16"


@pytest.mark.parametrize("broken", ["cuda:1", "query cuda:1"])
def test_a_cuda_device_that_does_not_work_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    Machine([10, 70], broken=(broken,)).install(monkeypatch)
    assert device.resolve().device == "cuda:0"
    with pytest.raises(DeviceError, match=r"cuda:1 cannot be used: cuda:1: CUDA \w+"):
        device.resolve("cuda:1")


def test_without_a_working_cuda_device_auto_says_so_and_takes_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Machine([70], broken=("cuda:0",)).install(monkeypatch)
    choice = device.resolve()
    assert choice.device == "cpu"
    assert choice.reason == (
        "CPU, 2 cores, float32; no CUDA: cuda:0: CUDA out of memory. Tried to allocate"
    )
    assert "CUDA cannot be used" in caplog.text


def test_what_torch_says_of_a_driver_reaches_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(driver_warning="The NVIDIA driver is too old. (Triggered internally at x)").install(
        monkeypatch
    )
    assert device.resolve().reason.endswith("no CUDA: The NVIDIA driver is too old.")


def test_a_gpu_without_bfloat16_computes_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine([15], bfloat16=False).install(monkeypatch)
    assert device.resolve().precision == "float16"
    assert device.resolve("auto", "float32").precision == "float32"
    with pytest.raises(DeviceError, match=r"has no bfloat16 .* --precision float16"):
        device.resolve("auto", "bfloat16")


def test_mps_comes_after_cuda_and_before_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(mps=True).install(monkeypatch)
    for asked in ("auto", "mps"):
        choice = device.resolve(asked)
        assert (choice.device, choice.precision) == ("mps", "float32")
        assert choice.reason == "Apple GPU (mps), float32"
    assert device.resolve("mps", "float16").precision == "float16"


def test_bfloat16_on_mps_needs_a_new_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(mps=True).install(monkeypatch)
    assert device.resolve("mps", "bfloat16").precision == "bfloat16"
    machine.macos = 13
    with pytest.raises(DeviceError, match="macOS 14"):
        device.resolve("mps", "bfloat16")


def test_mps_that_does_not_work_is_passed_over_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Machine(mps=True, broken=("mps",)).install(monkeypatch)
    assert device.resolve().device == "cpu"
    with pytest.raises(DeviceError, match="mps cannot be used: CUDA out of memory"):
        device.resolve("mps")


@pytest.mark.parametrize(
    ("instructions", "precision", "reason"),
    [
        ((), "float32", "CPU, 2 cores, float32"),
        (("avx512_bf16",), "bfloat16", "CPU, 2 cores, bfloat16 (AVX512-BF16)"),
        (("avx512_bf16", "amx_bf16"), "bfloat16", "CPU, 2 cores, bfloat16 (AMX)"),
    ],
)
def test_the_cpu_computes_in_bfloat16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, instructions: tuple[str, ...], precision: str, reason: str
) -> None:
    Machine(instructions=instructions).install(monkeypatch)
    assert device.resolve() == device.DeviceChoice("cpu", precision, reason)
    assert device.resolve("cpu", "float32").reason == "CPU, 2 cores, float32"


@pytest.mark.parametrize(
    ("instructions", "precision"),
    [(("avx512_bf16",), "float32"), (("avx512_bf16", "amx_bf16"), "bfloat16")],
)
def test_an_intel_cpu_computes_in_bfloat16_with_amx_only(
    monkeypatch: pytest.MonkeyPatch, instructions: tuple[str, ...], precision: str
) -> None:
    Machine(instructions=instructions, cpu="Intel Xeon").install(monkeypatch)
    assert device.resolve("cpu").precision == precision


@pytest.mark.parametrize(("system", "precision"), [("linux", "bfloat16"), ("darwin", "float32")])
def test_an_arm_cpu_computes_in_bfloat16_on_linux(
    monkeypatch: pytest.MonkeyPatch, system: str, precision: str
) -> None:
    Machine(instructions=("bf16",)).install(monkeypatch)
    monkeypatch.setattr(sys, "platform", system)
    assert device.resolve("cpu").precision == precision


def test_a_torch_that_cannot_name_the_instructions_means_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Machine().install(monkeypatch)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert device.resolve("cpu").precision == "float32"


def test_bfloat16_can_be_forced_on_any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine().install(monkeypatch)
    assert "slower than float32" in device.resolve("cpu", "bfloat16").reason
    with pytest.raises(DeviceError, match="float16 is for GPUs"):
        device.resolve("cpu", "float16")


@pytest.mark.parametrize("asked", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_is_an_error_that_names_what_is(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    Machine().install(monkeypatch)
    with pytest.raises(DeviceError, match=rf"^{asked} cannot be used: .*Devices here: cpu$") as e:
        device.resolve(asked)
    assert e.value.exit_code == ExitCode.DEVICE


def test_an_index_past_the_last_cuda_device_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine([10, 70]).install(monkeypatch)
    with pytest.raises(DeviceError, match=r"2 CUDA devices.*Devices here: cuda:0, cuda:1, cpu"):
        device.resolve("cuda:2")


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:x", "cpu:1", "", "CUDA"])
def test_a_word_that_is_no_device_is_refused(asked: str) -> None:
    with pytest.raises(UsageError, match="is not one of auto, cpu, mps, cuda"):
        device.resolve(asked)


def test_a_word_that_is_no_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="'int8' is not one of auto, float32"):
        device.resolve("cpu", "int8")


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"celebattr\[train\]"):
        device.resolve()


def play(
    patch: pytest.MonkeyPatch, folder: Path, *, built_for: str, driver: bool, system: str = "linux"
) -> None:
    """Plays a machine to `gpu_likely`: torch's version.py, a driver, an operating system."""
    (folder / "version.py").write_text(f"debug = False\n{built_for}\n", encoding="utf-8")
    spec = importlib.machinery.ModuleSpec("torch", None, origin=str(folder / "__init__.py"))
    patch.setattr(importlib.util, "find_spec", lambda _: spec)
    patch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi" if driver else None)
    patch.setattr(device, "_DRIVERS", ())
    patch.setattr(sys, "platform", system)
    patch.setattr(platform, "machine", lambda: "arm64")
    patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("built_for", "driver", "system", "likely"),
    [
        ("cuda: Optional[str] = '12.8'", True, "linux", True),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4'", True, "linux", True),
        ("cuda: Optional[str] = None", True, "linux", False),
        ("cuda: Optional[str] = '12.8'", False, "linux", False),
        ("cuda: Optional[str] = None", False, "darwin", True),
    ],
    ids=["nvidia", "amd", "torch for cpu", "no driver", "apple"],
)
def test_a_gpu_is_likely_with_its_driver_and_a_torch_built_for_it(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    built_for: str,
    driver: bool,
    system: str,
    likely: bool,
) -> None:
    play(monkeypatch, tmp_path, built_for=built_for, driver=driver, system=system)
    assert device.gpu_likely() is likely


def test_no_gpu_is_likely_where_none_is_visible(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play(monkeypatch, tmp_path, built_for="cuda: Optional[str] = '12.8'", driver=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not device.gpu_likely()


def test_no_gpu_is_likely_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not device.gpu_likely()


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/../host", {"cpu.max": "200000 100000"}, 2.0),
        (
            "3:memory:/x\n4:cpu,cpuacct:/docker/1\n0::/",
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        ("4:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, None),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("", {}, None),
    ],
)
def test_the_cores_of_a_container_are_those_of_its_control_groups(
    tmp_path: Path, own: str, files: dict[str, str], cores: float | None
) -> None:
    for name, text in {"proc/self/cgroup": own, **files}.items():
        path = tmp_path / (name if name.startswith("proc") else f"sys/fs/cgroup/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert device.cpu_quota(tmp_path) == (math.inf if cores is None else cores)


@pytest.mark.parametrize(("quota", "cores"), [(0.5, 1), (1.5, 2), (math.inf, 3)])
def test_half_a_core_counts_as_one(
    monkeypatch: pytest.MonkeyPatch, quota: float, cores: int
) -> None:
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    monkeypatch.setattr(device, "cpu_quota", lambda: quota)
    assert device.usable_cores() == cores
