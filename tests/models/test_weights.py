"""Bundles on Hugging Face's hub: a folder for it, and what comes from a server that plays it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import celebattr
from celebattr.errors import UsageError


class Hub(SimpleHTTPRequestHandler):
    """Repositories are folders OWNER/NAME."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        file = Path(self.directory, *self.path.replace("/resolve/main", "").split("/"))
        data = file.read_bytes() if file.is_file() else b""
        self.send_response(200 if data else 404)
        if not data:
            there = (Path(self.directory) / self.path.split("/")[1]).is_dir()
            self.send_header("X-Error-Code", "EntryNotFound" if there else "RepoNotFound")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{len(data):032x}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *about: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Path]:
    """The folder of a hub whose address stands in HF_ENDPOINT, with a cache of its own."""
    folder = tmp_path / "hub"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        (tmp_path / "environment").write_text(
            json.dumps({"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")})
        )
        yield folder
        server.shutdown()


def asked(hub: Path, address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`celebattr info` of an address, in a process: the library reads its environment once."""
    given = json.loads((hub.parent / "environment").read_text()) | environment
    return subprocess.run(
        [sys.executable, "-m", "celebattr", "info", address, "--format", "json"],
        env=os.environ | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_folder_for_the_hub_is_a_bundle_and_its_card(tiny_onnx: Path, tmp_path: Path) -> None:
    folder = celebattr.export(tiny_onnx, hub=tmp_path / "net")
    assert (folder / "bundle.onnx").read_bytes() == tiny_onnx.read_bytes()
    front, card = (folder / "README.md").read_text().split("---\n")[1:3]
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(front)["library_name"] == "celebattr"
    assert "## What it is not for" in card
    with pytest.raises(UsageError, match="takes a bundle as it is"):
        celebattr.export(tiny_onnx, hub=tmp_path / "net", int8=True)


def test_weights_come_from_the_hub_once(hub: Path, tiny_onnx: Path) -> None:
    pytest.importorskip("huggingface_hub")
    celebattr.export(tiny_onnx, hub=hub / "me/net")
    for address in ("hf://me/net", "hf://me/net/bundle.onnx"):
        done = asked(hub, address)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["attributes"]
    shutil.rmtree(hub / "me")
    assert asked(hub, "hf://me/net", HF_HUB_OFFLINE="1").returncode == 0


@pytest.mark.parametrize("address", ["hf://me/net/other.onnx", "hf://no/body", "hf://x"])
def test_what_the_hub_lacks_is_told_in_a_sentence(address: str, hub: Path, tiny_onnx: Path) -> None:
    pytest.importorskip("huggingface_hub")
    celebattr.export(tiny_onnx, hub=hub / "me/net")
    done = asked(hub, address)
    assert done.returncode == 4
    assert f"celebattr: {address} cannot be had" in done.stderr
    assert "Traceback" not in done.stderr
