"""What `--cache auto` stands for, and why."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from layouts import write_celeba

from celebattr.data import cache
from celebattr.data.cache import CROP_BYTES, attach_cache, choose_cache
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset


def small(folder: Path, seed: int = 0) -> FaceDataset:
    return load_dataset([write_celeba(folder, train=5, validation=3, test=2, seed=seed)])


GB = 1_000_000_000


@pytest.mark.parametrize(
    ("memory", "room", "fast", "mode", "why"),
    [
        (4 * 10 * CROP_BYTES, 0, True, "ram", "less than a quarter"),
        (4 * 10 * CROP_BYTES - 1, 2 * 10 * CROP_BYTES, True, "disk", "less than half"),
        (None, 99 * GB, True, "disk", "less than half"),
        (CROP_BYTES, 2 * 10 * CROP_BYTES - 1, True, "off", "too much for memory and disk"),
        (99 * GB, 99 * GB, False, "off", "on a CPU"),
    ],
)
def test_auto_takes_what_fits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    memory: int | None,
    room: int,
    fast: bool,
    mode: str,
    why: str,
) -> None:
    monkeypatch.setattr(cache, "free_memory", lambda: memory)
    monkeypatch.setattr(cache, "free_room", lambda folder: room)
    dataset = small(tmp_path / "data")
    found = choose_cache(dataset, [dataset], folder=tmp_path / "none", fast=fast)
    assert found[0] == mode
    assert why in found[1]


def test_auto_divides_memory_among_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "free_memory", lambda: 4 * 10 * CROP_BYTES)
    dataset = small(tmp_path / "data")
    for processes, mode in ((1, "ram"), (2, "disk")):
        found = choose_cache(
            dataset, [dataset], folder=tmp_path / "none", fast=True, processes=processes
        )
        assert found[0] == mode


def test_auto_takes_a_cache_that_is_there_even_on_a_cpu(tmp_path: Path) -> None:
    dataset = small(tmp_path / "data")
    folder = tmp_path / "cache"
    assert choose_cache(dataset, [dataset], folder=folder, fast=False)[0] == "off"
    cache.on_disk(dataset, folder)
    assert choose_cache(dataset, [dataset], folder=folder, fast=False)[0] == "disk"
    other = small(tmp_path / "other", seed=1)
    assert choose_cache(other, [other], folder=folder, fast=False)[0] == "off"


def test_more_than_all_memory_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "free_memory", lambda: 9 * CROP_BYTES)
    dataset = small(tmp_path / "data")
    _, line = attach_cache(dataset, [dataset], mode="ram", folder=tmp_path, fast=True)
    assert "do not fit into 0.0 GB of free memory" in line


def test_free_memory_is_known_and_no_more_than_there_is() -> None:
    memory = cache.free_memory()
    if sys.platform == "linux":
        assert memory is not None
        assert 0 < memory < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_user_without_a_home_folder_needs_none_but_for_a_cache_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CELEBATTR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)
    dataset = small(tmp_path / "data")
    for mode, said in {
        "off": "off: as asked",
        "ram": "ram, ",
        "auto": "ram, ",
        "disk": "off: no folder for a cache: this user has no home folder. Name one in CELEBATTR_",
    }.items():
        _, line = attach_cache(dataset, [dataset], mode=mode, folder=None, fast=True)
        assert line.startswith(said)
    monkeypatch.setenv("CELEBATTR_CACHE", str(tmp_path / "cache"))
    _, line = attach_cache(dataset, [dataset], mode="disk", folder=None, fast=True)
    assert line.startswith("disk, ")
