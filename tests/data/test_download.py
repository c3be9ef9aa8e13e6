"""Downloads from a server on this machine that plays each source, and what goes wrong there."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

import celebattr
from celebattr.cli.app import app
from celebattr.data import download as module
from celebattr.errors import DataError, UsageError

LIST, IMAGES = b"1\nSmiling\n000001.jpg 1\n", bytes(range(256)) * 40
QUOTA = "<html><title>Google Drive - Quota exceeded</title>Too many users have viewed or downloaded"


class Server(ThreadingHTTPServer):
    """Answers by path; `cut` ends an answer after some bytes, `refuse` lists codes to give first.

    Attributes:
        files: bodies by path.
        asked: requests so far: path, Range, Authorization.
        md5: told in Google's header, where it is not None.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.cut: list[int] = []
        self.refuse: list[int] = []
        self.ranges = True
        self.md5: bytes | None = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked, self.headers.get("Authorization")))
        if self.server.refuse:
            self.send_error(self.server.refuse.pop(0))
            return
        path = self.path.partition("?")[0] if self.path not in self.server.files else self.path
        body = self.server.files.get(path)
        if body is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start and start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("Content-Type", self.server.types.get(path, "application/octet-stream"))
        if self.server.md5 is not None:
            told = base64.b64encode(hashlib.md5(self.server.md5).digest()).decode()
            self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={told}")
        self.end_headers()
        self.wfile.write(body[start : start + (self.server.cut or [len(body)]).pop(0)])

    def log_message(self, *about: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(module, "PAUSE", 0.0)
        monkeypatch.setattr(module, "DRIVE", server.url + "/drive")
        monkeypatch.setattr(module, "KAGGLE", server.url + "/kaggle")
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
        for name, key in module._DRIVE_IDS.items():
            body = IMAGES if name.endswith(".zip") else LIST
            monkeypatch.setitem(module.MD5, name, hashlib.md5(body).hexdigest())
            server.files[f"/drive?id={key}&export=download&confirm=t"] = body
        yield server
        server.shutdown()


def drive(to: Path) -> Path:
    return celebattr.download(to, "drive", accept_terms=True)


def test_terms_come_first(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="non-commercial research and education only"):
        celebattr.download(tmp_path / "to", "drive")
    with pytest.raises(UsageError, match="not one of huggingface, kaggle, drive"):
        celebattr.download(tmp_path / "to", "torrent", accept_terms=True)
    assert server.asked == []
    assert not (tmp_path / "to").exists()


def test_drive_gives_the_official_files_and_a_second_run_asks_for_none(
    server: Server, tmp_path: Path
) -> None:
    drive(tmp_path / "to")
    assert {p.name for p in (tmp_path / "to").iterdir()} == set(module._DRIVE_IDS)
    assert (tmp_path / "to/img_align_celeba.zip").read_bytes() == IMAGES
    before = len(server.asked)
    drive(tmp_path / "to")
    assert len(server.asked) == before


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_download_continues(ranges: bool, server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut = ranges, [10**6] * 3 + [1000, 10**6]
    drive(tmp_path)
    assert (tmp_path / "img_align_celeba.zip").read_bytes() == IMAGES
    assert server.asked[-1][1] == "bytes=1000-"


def test_what_an_earlier_run_left_is_continued_or_already_whole(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "img_align_celeba.zip.part").write_bytes(IMAGES[:77])
    (tmp_path / "list_attr_celeba.txt.part").write_bytes(LIST)
    drive(tmp_path)
    assert (tmp_path / "img_align_celeba.zip").read_bytes() == IMAGES
    assert {asked for _, asked, _ in server.asked} == {None, "bytes=77-", f"bytes={len(LIST)}-"}
    assert not list(tmp_path.glob("*.part"))


def test_a_busy_server_is_asked_again_but_not_for_ever(server: Server, tmp_path: Path) -> None:
    server.refuse = [503, 429]
    drive(tmp_path / "a")
    server.refuse = [503] * module.TRIES
    with pytest.raises(DataError, match=r"503 Service Unavailable.*give the same command again"):
        drive(tmp_path / "b")


def test_a_changed_byte_is_noticed_and_thrown_away(server: Server, tmp_path: Path) -> None:
    for path in server.files:
        server.files[path] = server.files[path][:-1] + b"?"
    with pytest.raises(DataError, match="damaged on the way, its md5 differs"):
        drive(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("page", "code", "told"),
    [
        (QUOTA, 200, "too many people have downloaded this file today.*24 hours"),
        ("<html>Sign in</html>", 200, "a web page came instead of the file"),
        (None, 403, r"make an API token .*kaggle\.json"),
        (None, 404, r"404 Not Found\. Try another --from"),
    ],
)
def test_a_refusal_names_the_remedy(
    page: str | None, code: int, told: str, server: Server, tmp_path: Path
) -> None:
    for path in server.files:
        server.files[path] = (page or "").encode()
        server.types[path] = "text/html; charset=utf-8"
    server.refuse = [] if page else [code]
    result = CliRunner().invoke(
        app, ["download", "--from", "drive", "--to", str(tmp_path / "to"), "--accept-terms"]
    )
    assert result.exit_code == 3, result.output
    with pytest.raises(DataError, match=told):
        server.refuse = [] if page else [code]
        drive(tmp_path / "to")


def test_no_network_is_told_in_a_sentence(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRIVE", "http://nowhere.invalid/drive")
    with pytest.raises(DataError, match=r"no connection to nowhere\.invalid .*in a browser"):
        drive(tmp_path)


def test_a_full_disk_is_seen_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(server)
    monkeypatch.setattr(module, "free_room", lambda folder: 10)
    with pytest.raises(DataError, match=r"0\.0 GB are needed and 0\.0 free"):
        celebattr.download(tmp_path, accept_terms=True)


def hub(server: Server, **changes: object) -> str:
    """Let the server play Hugging Face's hub; return the name of its file."""
    name = "img_align+identity+attr/train-00000-of-00001.parquet"
    entry = {
        "path": name,
        "size": len(IMAGES),
        "lfs": {"oid": hashlib.sha256(IMAGES).hexdigest()},
    } | changes
    base = f"/datasets/{module._REPOSITORY}/resolve/main/"
    listed = [{"path": "README.md", "size": 1}, entry]
    server.files[f"/api/datasets/{module._REPOSITORY}/tree/main"] = json.dumps(listed).encode()
    server.files[base + name.replace("+", "%2B")] = IMAGES
    return name


def test_hugging_face_gives_its_parquet_files(server: Server, tmp_path: Path) -> None:
    name = hub(server)
    celebattr.download(tmp_path, accept_terms=True)
    assert (tmp_path / name).read_bytes() == IMAGES


@pytest.mark.parametrize(
    "changes", [{"path": "../x.parquet"}, {"path": "/x.parquet"}, {"lfs": None}, {"path": 3}]
)
def test_a_strange_list_of_files_is_refused(
    changes: dict[str, object], server: Server, tmp_path: Path
) -> None:
    hub(server, **changes)
    with pytest.raises(DataError, match=r"names no Parquet files|not the list of files"):
        celebattr.download(tmp_path / "to", accept_terms=True)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_kaggles_archive_keeps_its_images_and_gives_its_lists(
    server: Server, tmp_path: Path
) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        file.writestr("img_align_celeba/img_align_celeba/000001.jpg", b"\xff\xd8")
        file.writestr("list_attr_celeba.csv", "image_id,Smiling\n000001.jpg,1\n")
    server.files["/kaggle"] = server.md5 = body.getvalue()
    (tmp_path / "kaggle.json").write_text('{"username": "me", "key": "secret"}')
    celebattr.download(tmp_path / "to", "kaggle", accept_terms=True)
    names = {p.name for p in (tmp_path / "to").iterdir()}
    assert names == {"img_align_celeba.zip", "list_attr_celeba.csv"}
    assert server.asked[0][2] == "Basic " + base64.b64encode(b"me:secret").decode()
    server.md5 = b"another"
    with pytest.raises(DataError, match="its md5 differs"):
        celebattr.download(tmp_path / "other", "kaggle", accept_terms=True)
