"""The cache of decoded images: what it saves, and what it never does."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layouts import write_celeba

from celebattr.data import cache
from celebattr.data.cache import CROP_BYTES, FRAMES, WORDS, DiskCache, attach_cache
from celebattr.data.dataset import FaceDataset
from celebattr.data.image_stores import Folder, Zip
from celebattr.data.layouts.load import load_dataset

COUNTS = {"train": 5, "validation": 3, "test": 2}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The image files that are read, as they are."""
    names: list[str] = []
    for store in (Zip, Folder):

        def counted(
            self: Zip | Folder, name: str, plain: Callable[..., bytes] = store.read
        ) -> bytes:
            names.append(name)
            return plain(self, name)

        monkeypatch.setattr(store, "read", counted)
    return names


def small(folder: Path, layout: str = "official", seed: int = 0) -> FaceDataset:
    return load_dataset([write_celeba(folder, **COUNTS, layout=layout, seed=seed)])


def all_frames(dataset: FaceDataset) -> np.ndarray:
    return dataset.read_batch(range(len(dataset)))


def on_disk(dataset: FaceDataset, folder: Path) -> FaceDataset:
    return replace(dataset, caches=cache.on_disk(dataset, folder))


@pytest.mark.parametrize("mode", ["ram", "disk"])
def test_an_image_is_read_once_and_its_pixels_stay_the_same(
    tmp_path: Path, reads: list[str], mode: str
) -> None:
    dataset = small(tmp_path / "data")
    truth = all_frames(dataset)
    reads.clear()
    parts = [dataset.split("train"), dataset.split("validation", 2)]
    parts, line = attach_cache(dataset, parts, mode=mode, folder=tmp_path / "cache", fast=False)
    assert line.startswith(mode)
    for _ in range(3):
        for part in parts:
            rows = [dataset.names.index(name) for name in part.names]
            np.testing.assert_array_equal(all_frames(part), truth[rows])
    assert sorted(reads) == sorted(parts[0].names + parts[1].names)


def test_another_run_finds_what_the_first_left(tmp_path: Path, reads: list[str]) -> None:
    first = on_disk(small(tmp_path / "data"), tmp_path / "cache")
    truth = all_frames(first)
    reads.clear()
    again = on_disk(load_dataset([tmp_path / "data"]), tmp_path / "cache")
    np.testing.assert_array_equal(all_frames(again), truth)
    assert reads == []
    with pytest.raises(ValueError, match="read-only"):
        again.read(0)[0] = 0


def test_what_a_power_failure_leaves_is_decoded_again(tmp_path: Path, reads: list[str]) -> None:
    first = on_disk(small(tmp_path / "data"), tmp_path / "cache")
    truth = all_frames(first)
    reads.clear()
    (folder,) = [file.parent for file in (tmp_path / "cache").glob(f"*/{FRAMES}")]
    with (folder / FRAMES).open("r+b") as file:
        file.seek(2 * CROP_BYTES + CROP_BYTES // 2)  # a word that came to the disk first
        file.write(bytes(CROP_BYTES // 2))
    with (folder / WORDS).open("r+b") as file:
        file.seek(4 * 4)  # a frame whose word never came
        file.write(bytes(4))
    again = on_disk(load_dataset([tmp_path / "data"]), tmp_path / "cache")
    for _ in range(2):
        np.testing.assert_array_equal(all_frames(again), truth)
    assert sorted(reads) == sorted([again.names[2], again.names[4]])


def fill(data: Path, folder: Path) -> subprocess.Popen[bytes]:
    words = ["pack", "--data", str(data), "--format", "cache", "--output", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "celebattr", *words, "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_two_fill_one_cache_one_is_killed_and_every_pixel_is_right(
    tmp_path: Path, reads: list[str]
) -> None:
    data = write_celeba(tmp_path / "data", train=300, validation=0, test=0)
    folder = tmp_path / "cache"
    both = fill(data, folder), fill(data, folder)
    deadline = time.monotonic() + 600
    while not any(np.fromfile(f, "<u4").any() for f in folder.glob(f"*/{WORDS}")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    both[0].send_signal(signal.SIGKILL)
    both[0].communicate()
    _, err = both[1].communicate(timeout=600)
    assert both[1].returncode == 0, err
    dataset = on_disk(load_dataset([data]), folder)
    frames = all_frames(dataset)
    assert reads == []
    np.testing.assert_array_equal(frames, all_frames(load_dataset([data])))


def test_threads_of_two_caches_of_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    dataset = small(tmp_path / "data")
    truth = all_frames(dataset)
    two = [on_disk(dataset, tmp_path / "cache") for _ in range(2)]
    rows = np.random.default_rng(0).integers(0, len(dataset), 200).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: two[i % 2].read(rows[i]), range(len(rows))))
    for row, frame in zip(rows, found, strict=True):
        np.testing.assert_array_equal(frame, truth[row])


def keys(folder: Path) -> set[str]:
    dataset = load_dataset([folder])
    return {cache.key(dataset, number) for number in range(len(dataset.stores))}


def test_an_image_changed_in_place_makes_another_cache(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path / "data", **COUNTS, layout="unpacked")
    before = keys(folder)
    assert keys(folder) == before
    file = folder / "Img/img_align_celeba/000003.jpg"
    status, data = file.stat(), bytearray(file.read_bytes())
    data[-40] ^= 1
    time.sleep(0.02)  # a file system's clock may tick in hundredths of a second
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` and rsync do
    assert file.stat().st_size == status.st_size
    assert not keys(folder) & before


def test_a_cache_of_what_the_data_were_before_is_named(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path / "data", **COUNTS, layout="unpacked")

    def line() -> str:
        dataset = load_dataset([folder])
        place = tmp_path / "cache"
        return attach_cache(dataset, [dataset], mode="disk", folder=place, fast=True)[1]

    (old,) = keys(folder)
    assert "deleted" not in line()
    time.sleep(0.02)
    (folder / "Img/img_align_celeba/000003.jpg").touch()
    assert line().endswith(f"may be deleted: {old}")


def test_a_zip_is_known_by_the_checksums_in_it_wherever_it_lies(tmp_path: Path) -> None:
    same = [write_celeba(tmp_path / name, **COUNTS) for name in ("one", "other")]
    assert keys(same[0]) == keys(same[1])
    assert keys(same[0]) != keys(write_celeba(tmp_path / "new", **COUNTS, seed=1))


def test_other_decoders_make_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_celeba(tmp_path / "data", **COUNTS)
    before = keys(folder)
    monkeypatch.setattr(cache, "PILLOW", "1.0")
    assert keys(folder) != before


def test_a_full_disk_is_told_once_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = small(tmp_path / "data")
    truth = all_frames(dataset)
    written = 0
    plain = cache._write

    def disk_of_three_frames(path: Path, offset: int, data: memoryview) -> None:
        nonlocal written
        if path.name == FRAMES:
            written += 1
        if written > 3:
            plain(path, offset, data[: len(data) // 2])  # as much as there was room for
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(path, offset, data)

    monkeypatch.setattr(cache, "_write", disk_of_three_frames)
    cached = on_disk(dataset, tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            np.testing.assert_array_equal(all_frames(cached), truth)
    (told,) = caplog.messages
    assert "holds 3 and grows no more" in told
    assert "The disk is full: free some space" in told
    again = on_disk(dataset, tmp_path / "cache")
    np.testing.assert_array_equal(all_frames(again), truth)


def test_a_folder_that_cannot_be_written_leaves_the_run_uncached(tmp_path: Path) -> None:
    dataset = small(tmp_path / "data")
    (tmp_path / "file").write_text("")
    parts, line = attach_cache(
        dataset, [dataset], mode="disk", folder=tmp_path / "file" / "cache", fast=True
    )
    assert line.startswith("off: cannot write")
    assert parts[0].read(0).shape == (218, 178, 3)


def test_a_cache_of_no_image_is_none(tmp_path: Path) -> None:
    assert len(DiskCache(tmp_path / "empty", [], "nothing")) == 0
