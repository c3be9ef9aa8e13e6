"""An object store is read as a folder is: the same photos, the same order, the same failures."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from celebattr.errors import DataError, UsageError
from celebattr.inference.inputs.expand import expand
from celebattr.inference.inputs.source import Input, photo
from celebattr.io import storage


@pytest.fixture(autouse=True)
def _memory_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(storage.ALLOW, "memory")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files and what should be left out, in folders whose order is not that of whole names."""
    for name in ("b/1.jpg", "b-c.jpg", "a.jpg", "b/.hidden.jpg", "b/note.txt", ".x/2.jpg", "c.PNG"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "a.jpg", "in/a.jpg")
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a.jpg", "in/a.jpg")
    (tmp_path / "list.csv").write_text("path\na.jpg\nnothing.jpg\nmemory://top/a.jpg\n")
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[str]:
    """The same in a store that lives in this process."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.put(f"{folder}/", "/top/", recursive=True)
    yield "memory://top"
    files.store.clear()


def opened(items: Iterator[Input], root: str) -> list[tuple[str, object]]:
    found = []
    for item in items:
        item = item.ready()
        status = item.failure.status if item.failure else None
        data = None if status else (item.data or Path(item.source).read_bytes())
        found.append((item.path.removeprefix(root).lstrip("/"), status or data))
    return found


@pytest.mark.parametrize("name", ["", "b", "a.jpg", "z.zip", "t.tar.gz", "*.jpg", "**/*.jpg"])
def test_a_store_gives_what_a_folder_gives(folder: Path, store: str, name: str) -> None:
    there = opened(expand([f"{store}/{name}".rstrip("/")]), "memory:///top")
    there = [(path.removeprefix(store).lstrip("/"), what) for path, what in there]
    here = opened(expand([os.path.join(folder, name).rstrip("/")]), str(folder))  # noqa: PTH118
    assert there == here
    assert there


def test_a_list_in_a_store_names_what_lies_beside_it(store: str) -> None:
    assert opened(expand([f"{store}/list.csv"]), "") == [
        ("a.jpg", b"a.jpg"),
        ("nothing.jpg", "not_found"),
        ("memory://top/a.jpg", b"a.jpg"),
    ]


def test_nothing_is_fetched_before_it_is_wanted(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("fetched")

    monkeypatch.setattr(storage, "read", refuse)
    assert len(list(expand([store]))) == 4
    photo("s3://nowhere/x.jpg")


def test_a_store_that_fails_ends_the_run_and_is_no_photo_of_its_own(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(self: object, path: str, **_: object) -> bytes:
        calls.append(path)
        raise ConnectionError("reset by peer")

    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", fail)
    with pytest.raises(DataError, match="reset by peer"):
        next(expand([f"{store}/a.jpg"])).ready()
    assert len(calls) == 3
    failure = photo(f"{store}/a.jpg").ready().failure  # as in a list: it says which
    assert failure is not None and failure.status == "unreadable"
    assert "reset by peer" in failure.error


def test_a_file_larger_than_the_limit_is_not_fetched(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MAX_BYTES", 3)
    failure = photo(f"{store}/a.jpg").ready().failure
    assert failure is not None and failure.status == "too_large"


def test_an_unknown_kind_of_store_is_said() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        list(expand(["nonsense://a/b"], allow=["nonsense"]))
    (item,) = expand(["nonsense://a/b"])
    assert item.failure is not None and "nonsense:// is not opened" in item.failure.error
    assert not storage.is_remote("https://a.b/c.jpg")
    assert not storage.is_remote(r"C:\photos\a.jpg")
    assert not storage.is_remote("a:b.jpg")
