from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from celebattr.errors import ImageNotFoundError, ImageTooLargeError, UnreadableImageError
from celebattr.inference.inputs.expand import expand
from celebattr.inference.inputs.source import photo
from celebattr.io import web


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind = self.path.partition("?")[0]
        if kind in ("/a.jpg", "/large.jpg", "/short.jpg"):
            self.send_response(200)
            if kind != "/large.jpg":
                self.send_header("Content-Length", "9" if kind == "/short.jpg" else "5")
            self.end_headers()
            self.wfile.write(b"photo" * (40 if kind == "/large.jpg" else 1))
        elif kind == "/slow.jpg":
            for _ in range(100):
                self.wfile.write(b"H")
                time.sleep(0.1)
        elif kind.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", TO[kind])
            self.end_headers()
        else:
            self.send_error(503 if kind == "/down.jpg" else 404)

    def log_message(self, *_: object) -> None:
        pass


TO = {
    "/to/a": "/a.jpg",
    "/to/to": "/to/to",
    "/to/https": "https://127.0.0.1:9/a.jpg",
    "/to/file": "file:///etc/passwd",
    "/to/private": "http://10.1.2.3/a.jpg",
    "/to/metadata": "http://169.254.169.254/latest/meta-data",
}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine that counts as public, by its address alone."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    monkeypatch.setattr(web, "_is_public", lambda address: address == "127.0.0.1")
    yield f"http://127.0.0.1:{port}"
    server.shutdown()
    server.server_close()


def test_a_photo_is_fetched_and_redirects_are_followed(host: str) -> None:
    assert web.read(f"{host}/a.jpg?size=1", "x") == b"photo"
    assert web.read(f"{host}/to/a", "x") == b"photo"


@pytest.mark.parametrize(
    ("path", "kind", "why"),
    [
        ("/none.jpg", ImageNotFoundError, "no such file"),
        ("/down.jpg", UnreadableImageError, "answers 503"),
        ("/short.jpg", UnreadableImageError, "breaks off"),
        ("/to/to", UnreadableImageError, "again and again"),
        ("/to/https", UnreadableImageError, "another protocol, https://"),
        ("/to/file", UnreadableImageError, "another protocol, file://"),
        ("/to/private", UnreadableImageError, "in a private network"),
        ("/to/metadata", UnreadableImageError, "in a private network"),
    ],
)
def test_what_is_no_photo_is_refused_with_the_reason(
    host: str, path: str, kind: type[Exception], why: str
) -> None:
    with pytest.raises(kind, match=f"the photo: .*{why}"):
        web.read(host + path, "the photo")


def test_https_is_spoken_or_nothing(host: str) -> None:
    with pytest.raises(UnreadableImageError, match=r"x: .*SSL"):
        web.read(host.replace("http://", "https://") + "/a.jpg", "x")


def test_more_bytes_than_the_limit_are_not_read(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_BYTES", 100)
    with pytest.raises(ImageTooLargeError):
        web.read(f"{host}/large.jpg", "x")


def test_a_host_that_sends_a_byte_now_and_then_is_cut_off(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "SECONDS", 0.5)
    begun = time.monotonic()
    with pytest.raises(UnreadableImageError):
        web.read(f"{host}/slow.jpg", "x")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.9",
        "169.254.169.254",
        "::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "100.64.0.1",
        "::ffff:10.0.0.1",
        "224.0.0.1",
        "fc00::1",
        "2002:a00:1::",
    ],
)
def test_private_addresses_are_known(address: str) -> None:
    assert not web._is_public(address)


def test_public_addresses_are_known() -> None:
    assert web._is_public("93.184.215.14")
    assert web._is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "0", "2130706433"])
def test_a_private_host_is_refused_however_it_is_written(name: str) -> None:
    with pytest.raises(UnreadableImageError, match="in a private network"):
        web.read(f"http://{name}:9/a.jpg", "x")


def test_addresses_of_the_web_are_inputs_where_they_are_allowed(host: str) -> None:
    url = f"{host}/a.jpg?w=1"
    (refused,) = expand([url])
    assert refused.failure is not None
    assert "--allow-protocol http" in refused.failure.error
    (item,) = expand([url], allow=["http"])
    assert item.ready().data == b"photo"
    assert photo(url, ["http"]).ready().data == b"photo"
    (gone,) = (item.ready() for item in expand([f"{host}/none.jpg"], allow=["http"]))
    assert gone.failure is not None
    assert gone.failure.status == "not_found"
