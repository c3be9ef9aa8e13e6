"""Shards far away: on an S3 server of this machine, and in fsspec's memory."""

from __future__ import annotations

import json
import logging
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
import s3fs
from fsspec.config import conf
from layouts import write_celeba
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner, Result

from celebattr.cli.app import app
from celebattr.data import loader
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.data.shards.reader import FarMembers
from celebattr.errors import DataError, DeviceError, MissingExtraError, UsageError
from celebattr.io import folder as filesystems
from celebattr.io.folder import Remote
from celebattr.options import Url, parse_location

COUNTS = {"train": 36, "validation": 12, "test": 12}


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"} | (env or {})).invoke(
        app, [str(a) for a in arguments]
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_celeba(tmp_path_factory.mktemp("data"), **COUNTS)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket of an S3 server, its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
    conf["s3"] = settings
    s3fs.S3FileSystem(**settings).mkdir("bucket")
    yield "s3://bucket"
    del conf["s3"]
    server.stop()


@pytest.fixture
def memory() -> Iterator[str]:
    """An empty folder of fsspec's file system in memory."""
    import fsspec

    folder = f"memory://{uuid.uuid4().hex}"
    yield folder
    system = fsspec.filesystem("memory")
    if system.exists(folder):
        system.rm(folder, recursive=True)


@pytest.fixture(scope="module")
def shards(s3: str, data: Path) -> str:
    result = run("pack", "--data", data, "--output", f"{s3}/faces/", "--shard-images", "10")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{s3}/faces\n"
    assert "60 images" in result.stderr
    return f"{s3}/faces"


def test_a_bucket_holds_what_a_folder_would(shards: str, data: Path, tmp_path: Path) -> None:
    import fsspec

    assert run("pack", "-d", data, "-o", tmp_path, "--shard-images", "10").exit_code == 0
    there = fsspec.filesystem("s3")
    names = {Path(path).name for path in there.find(shards)}
    assert names == {file.name for file in tmp_path.iterdir()}
    for name in names:
        assert there.cat_file(f"{shards}/{name}") == (tmp_path / name).read_bytes()
    again = run("pack", "-d", data, "-o", shards, "--shard-images", "10")
    assert "faces exists: give --overwrite to replace it" in again.stderr
    there.rm_file(f"{shards}/manifest.json")
    again = run("pack", "-d", data, "-o", shards, "--shard-images", "10")
    assert "8 shards, of which 8 were there" in again.stderr


def test_rows_and_pixels_from_a_bucket_are_those_of_the_disk(shards: str, data: Path) -> None:
    far, near = load_dataset([parse_location(shards)]), load_dataset([data])
    assert far.summary.startswith("faces (WebDataset, packed")
    for split in COUNTS:
        a, b = far.split(split), near.split(split)
        assert a.names == b.names
        np.testing.assert_array_equal(a.targets_NA, b.targets_NA)
        rows = np.random.default_rng(0).permutation(len(a))
        for ours, theirs in zip(
            loader.batches(a, rows, batch_size=5, workers=3),
            loader.batches(b, rows, batch_size=5, workers=2),
            strict=True,
        ):
            np.testing.assert_array_equal(ours.crops_BHWC, theirs.crops_BHWC)


def test_evaluating_from_a_bucket_gives_the_same_figures(
    shards: str, data: Path, tiny_onnx: Path
) -> None:
    found = []
    for place in (shards, data):
        result = run("evaluate", "--data", place, "--weights", tiny_onnx, "--format", "json")
        assert result.exit_code == 0, result.output
        found.append(json.loads(result.stdout) | {"images_per_second": None})
    assert found[0] == found[1]


def train(place: str | Path, out: Path, *words: str | Path) -> tuple[list[Any], str]:
    """The history of a small run, and what it said."""
    result = run(
        *("train", "--data", place, "--output", out, "--arch", "linear", "--device", "cpu"),
        *("--epochs", "2", "--batch-size", "8", "--image-size", "32x32", "--no-thumbnails"),
        *words,
    )
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    times = dict.fromkeys(("seconds", "images_per_second", "data_wait"))
    return [row | times for row in rows], result.stderr


@pytest.fixture(scope="module")
def trained_near(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return train(data, tmp_path_factory.mktemp("near") / "run", "--cache", "off")[0]


@pytest.mark.parametrize(
    ("cache", "told"), [("off", "off: as asked"), ("auto", "ram, 48 images"), ("disk", "disk, ")]
)
def test_training_from_a_bucket_is_the_same_run(
    shards: str, trained_near: list[Any], tmp_path: Path, cache: str, told: str
) -> None:
    words = ("--cache", cache, "--cache-folder", tmp_path / "cache")
    history, said = train(shards, tmp_path / "run", *words)
    assert history == trained_near
    assert f"cache      {told}" in said


def test_the_doctor_looks_at_a_bucket(shards: str) -> None:
    result = run("doctor", "--data", shards, "--format", "json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["folders"][0]["path"] == shards
    assert report["images_opened"] == 60
    assert not [f for f in report["findings"] if f["severity"] == "problem"]


def test_a_bucket_that_is_not_there_is_a_data_error(s3: str) -> None:
    for place in (f"{s3}/nothing", "s3://no-such-bucket/x"):
        result = run("evaluate", "--data", place)
        assert result.exit_code == 3
        assert place in result.stderr


# What is asked for, and how often


def far_and_requests(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[FaceDataset, list[list[filesystems.Range]]]:
    dataset = load_dataset([parse_location(place)])
    requests: list[list[filesystems.Range]] = []
    plain = Remote.ranges

    def counted(self: Any, wanted: Any) -> list[bytes]:
        requests.append(list(wanted))
        return plain(self, wanted)

    monkeypatch.setattr(Remote, "ranges", counted)
    return dataset, requests


def test_a_batch_is_one_request_of_its_own_bytes(
    memory: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("pack", "-d", data, "-o", memory, "--shard-images", "7").exit_code == 0
    dataset, requests = far_and_requests(memory, monkeypatch)
    assert isinstance(dataset.stores[0], FarMembers)
    assert requests == []  # opening reads indexes, no image
    # One of two processes: every other sample of an epoch's order.
    mine = loader.order(len(dataset), 0, 0)[::2]
    read = list(loader.batches(dataset, mine, batch_size=10, workers=2))
    assert len(read) == 3
    assert sorted(map(len, requests)) == [10, 10, 10]
    near = load_dataset([data])
    sizes = [len(layouts.image(near, near.names.index(dataset.names[i]))) for i in mine]
    assert sorted(size for one in requests for _, _, size in one) == sorted(sizes)


def test_with_a_cache_epochs_after_the_first_ask_for_nothing(
    memory: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celebattr.data.cache import attach_cache

    assert run("pack", "-d", data, "-o", memory).exit_code == 0
    dataset, requests = far_and_requests(memory, monkeypatch)
    (train,), line = attach_cache(
        dataset, [dataset.split("train")], mode="auto", folder=tmp_path / "c", fast=False
    )
    assert line.startswith("ram")  # although a CPU reads it: what is far away costs more
    epochs = [
        np.concatenate(
            [b.crops_BHWC for b in loader.batches(train, np.arange(36), batch_size=9, workers=2)]
        )
        for _ in range(3)
    ]
    assert sum(map(len, requests)) == 36
    np.testing.assert_array_equal(epochs[0], epochs[2])


@pytest.mark.parametrize("numbers", [False, True])
def test_shards_of_others_are_read_through_once(
    memory: str, data: Path, tmp_path: Path, numbers: bool
) -> None:
    import fsspec

    near = load_dataset([data])
    folder = layouts.webdataset(near, tmp_path / "there", numbers=numbers)
    fsspec.filesystem("memory").put(str(folder), memory, recursive=True)
    far = load_dataset([parse_location(memory)])
    assert "WebDataset)" in far.summary
    rows = [far.names.index(name) for name in near.names]
    np.testing.assert_array_equal(far.targets_NA[rows], near.targets_NA)
    np.testing.assert_array_equal(far.splits_N[rows], near.splits_N)
    np.testing.assert_array_equal(far.read_batch(rows[:9]), near.read_batch(range(9)))


# What goes wrong


def test_a_failure_of_the_network_names_the_address(
    memory: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    assert run("pack", "-d", data, "-o", memory).exit_code == 0
    dataset = load_dataset([parse_location(memory)])

    class Refused(Exception):  # of no known kind, as each package has its own
        pass

    def refuse(*_: Any, **__: Any) -> Any:
        return [Refused("connection reset")]

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_ranges", refuse)
    with pytest.raises(DataError, match=rf"{memory}.*Refused: connection reset.*the network"):
        dataset.read_batch([0])


def test_a_shard_that_was_changed_there_is_found(memory: str, data: Path) -> None:
    import fsspec

    assert run("pack", "-d", data, "-o", memory).exit_code == 0
    dataset = load_dataset([parse_location(memory)])
    system = fsspec.filesystem("memory")
    shard = f"{memory}/test-000000.tar"
    tar = system.cat_file(shard)
    system.pipe_file(shard, tar[:600] + b"?" + tar[601:])
    with pytest.raises(DataError, match=r"member 000049\.jpg: damaged"):
        dataset.read(dataset.names.index("000049.jpg"))
    system.pipe_file(shard, tar[:600])
    with pytest.raises(DataError, match="not the shard that was packed"):
        load_dataset([parse_location(memory)])


def test_an_empty_address_says_what_is_looked_for(memory: str) -> None:
    with pytest.raises(DataError, match=r"has no tar files.*`celebattr pack`"):
        load_dataset([parse_location(memory)])


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"celebattr\[cloud\]"):
        load_dataset([Url("s3://bucket/faces")])


def test_without_the_package_of_a_store_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import known_implementations

    monkeypatch.setitem(
        known_implementations,
        "nowhere",
        {"class": "package_that_is_not_there.FileSystem", "err": "Install nowherefs"},
    )
    with pytest.raises(DeviceError, match=r"nowhere://x needs .*Install nowherefs.*s3fs"):
        load_dataset([Url("nowhere://x")])


def test_an_address_of_no_kind_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="zzz://x: Protocol not known"):
        load_dataset([Url("zzz://x")])


def test_a_file_address_is_packed_to_and_read(data: Path, tmp_path: Path) -> None:
    result = run("pack", "--data", f"file://{data}", "--output", f"file://{tmp_path}/out")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path}/out\n"
    assert len(load_dataset([parse_location(f"file://{tmp_path}/out")])) == 60
