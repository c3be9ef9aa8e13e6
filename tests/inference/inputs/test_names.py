"""A name is that of a file, wherever it lies: `file://` is a path, and `::` means nothing in it."""

from __future__ import annotations

import io
import os
import socket
import zipfile
from pathlib import Path

import fsspec
import pytest
from opened import rows
from PIL import Image

from celebattr.inference.faces import Preparer
from celebattr.inference.inputs.expand import expand
from celebattr.inference.inputs.source import Input, photo
from celebattr.inference.ray import plan
from celebattr.io import storage
from celebattr.io.folder import folder_at


def test_a_file_address_is_the_path_and_refused_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    os.mkfifo("a.fifo")
    Path("sub").mkdir()
    Path("text.jpg").write_text("no image")
    Image.new("RGB", (178, 218)).save("b.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.sock")
        for name, status in {
            **{"a.fifo": "unreadable", "a.sock": "unreadable", "sub": "unreadable"},
            **{"text.jpg": "unreadable", "b.png": "ok", "none": "not_found"},
        }.items():
            path = f"{tmp_path}/{name}"
            for address in (f"file://{path}", f"FILE://localhost{path}"):
                assert rows([photo(path), photo(address)]) == [(path, status), (address, status)]
            if status == "unreadable":
                one, two = (Preparer("none")(photo(p)).failure for p in (path, f"file://{path}"))
                assert one and two
                assert one.error.removeprefix(path) == two.error.removeprefix(f"file://{path}")
    for path in ("/dev/zero", "/dev/null", "file:///dev/zero"):
        failure = Preparer("none")(photo(path)).failure
        assert failure is not None and failure.error == f"{path}: a device, not a file"


def test_a_file_address_that_is_typed_is_a_folder_an_archive_or_a_list(tmp_path: Path) -> None:
    (tmp_path / "b.jpg::c.jpg").write_bytes(b"1")
    (tmp_path / "list.csv").write_text("path\nb.jpg::c.jpg\n")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in.jpg", b"2")
    inside = Input(f"{tmp_path}/b.jpg::c.jpg")
    assert list(expand([f"file://{tmp_path}"])) == [inside]
    assert list(expand([f"file://{tmp_path}/*.jpg"])) == [inside]
    assert list(expand([f"file://{inside.path}"])) == [
        Input(f"file://{inside.path}", file=inside.path)
    ]
    assert list(expand([f"file://{tmp_path}/list.csv"])) == [
        Input("b.jpg::c.jpg", file=inside.path)
    ]
    assert [item.path for item in expand([f"file://{tmp_path}/a.zip"])] == [
        f"{tmp_path}/a.zip/in.jpg"
    ]


@pytest.mark.parametrize("name", ["b.jpg::c.jpg", "a:b.jpg", "zip://a.jpg::c", "http://h/x.jpg"])
def test_a_file_that_is_there_is_opened_by_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (178, 218)).save(Path(name), "PNG")
    line = io.BytesIO(name.encode())
    for items in (expand([name]), expand(["-"], stdin=line), [photo(name)]):
        assert rows(items) == [(name, "ok")]
    out = folder_at(tmp_path / "run")
    plan.write(out, expand([name]), 4)
    plan._lines.cache_clear()
    monkeypatch.chdir("/")
    assert rows(plan.piece(out, 0)[1]) == [(name, "ok")]


def test_names_in_a_store_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(storage.ALLOW, "memory")
    files = fsspec.filesystem("memory")
    names = ["a*.jpg", "b.jpg::c.jpg", "d?[e].jpg", "zip::file:x.jpg"]
    for name in names:
        files.pipe_file(f"/odd/{name}", name.encode())
    files.pipe_file("/odd/list.csv", "\n".join(["path", *names]).encode())
    for place in ("memory://odd", "memory://odd/*.jpg"):
        found = [item.ready() for item in expand([place])]
        assert [item.data for item in found] == [name.encode() for name in names]
        out = folder_at(tmp_path / place[-5:].strip("*."))
        plan.write(out, expand([place]), 3)
        plan._lines.cache_clear()
        planned = [*plan.piece(out, 0)[1], *plan.piece(out, 1)[1]]
        assert [item.ready() for item in planned] == found
    assert [item.ready().data for item in expand(["memory:///odd/list.csv"])] == [
        name.encode() for name in names
    ]
    files.rm("/odd", recursive=True)
