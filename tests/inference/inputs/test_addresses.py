"""A line of a list is data: whatever it says, it is one photo or one failure, and acts on nothing.

An audit hook of the interpreter sees every connection and every process that is tried.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.registry import known_implementations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opened import rows

from celebattr.errors import UsageError
from celebattr.inference.inputs import archives
from celebattr.inference.inputs.expand import expand
from celebattr.inference.inputs.source import Input, photo
from celebattr.inference.output.manifest import Shard
from celebattr.inference.ray import plan
from celebattr.io import storage
from celebattr.io.folder import folder_at

FORBIDDEN = (
    *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind"),
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.startfile"),
)
_seen: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is not None and event in FORBIDDEN:
        _seen.append(f"{event} {arguments}")
        raise ConnectionRefusedError(f"the test allows no {event}")


@pytest.fixture
def inert() -> Iterator[None]:
    """No connection is made, and no process started, while the test runs."""
    global _seen
    if not hasattr(sys, "_celebattr_watched"):
        sys.addaudithook(_watch)  # for good: there is no way to remove it
        sys._celebattr_watched = True  # type: ignore[attr-defined]
    _seen = []
    yield
    seen, _seen = _seen, None
    assert seen == []


SCHEMES = sorted({*known_implementations, "foo", "nfs", "javascript", "rsync", "ext"})
ODD = [
    *(f"{scheme}://x.jpg" for scheme in SCHEMES),
    *(f"{scheme.upper()}://K.JPG" for scheme in SCHEMES),
    *(f"{scheme}://k.jpg::file:///etc/passwd" for scheme in SCHEMES),
    *(f"{scheme}://user:secret@127.0.0.1:9/k.jpg::http://127.0.0.1:9/x" for scheme in SCHEMES),
    *(f"simplecache::{scheme}://127.0.0.1/x.jpg" for scheme in SCHEMES),
    *("s3://", "s3:///", "s3:///x.jpg", "s3://[/x.jpg", "s3://[::1]/x.jpg", "s3://b?c=d/x.jpg"),
    *("s3://b\\@h/x.jpg", "s3://b#/x.jpg", "s3://b%2fc/x.jpg", "s3://b c/x.jpg", "s3://b:1/x.jpg"),
    *("gs://", "gs://b", "gs://b/", "gs://a@b@c/x.jpg", "gs://é/x.jpg", "GS://]/x.jpg"),
    *("abfs://c@evil/x.dfs.core.windows.net::x", "az://c@h:1/x.jpg", "abfs://c@h?/x.jpg"),
    *("file://", "file:///", "file://x", "file://[", "FILE:///dev/zero", "file:///dev/zero"),
    *("file://localhost/dev/zero", "file:///dev/../dev/zero", "file:///%64ev/zero", "file:x.jpg"),
    *("file:///proc/self/environ", "file:///proc/self/fd/0", "file:///proc/kcore", "/dev/stdin"),
    *("/dev/zero", "/dev/tty", "/proc/self/mem", "/etc/passwd", "file:///etc/passwd"),
    *(
        "://",
        "://x.jpg",
        "::",
        ":",
        "::http://127.0.0.1/x",
        "a::b::c",
        "s3:",
        "s3:/x",
        "-",
        "--help",
    ),
    *(".", "..", "/", "./", "~", "~root/x.jpg", "*", "**", "/*/*", "/**/*.jpg", "[", "?", "[!]*"),
    *(" s3://b/x.jpg", "\ts3://b/x.jpg", "\u017f3://b/x.jpg", "\uff533://b/x.jpg", "s\u200b3://b"),
    *(
        "%66ile:///dev/zero",
        "h%74tp://127.0.0.1/x.jpg",
        "http:/127.0.0.1/x.jpg",
        "//127.0.0.1/x.jpg",
    ),
    *(
        "https://[::1]/x.jpg",
        "http://[/",
        "HtTp://u:p@h/?a=b",
        "\\\\127.0.0.1\\c$\\x.jpg",
        "C:\\x.jpg",
    ),
    *("data:image/png;base64,AAAA", "data://image/png;base64,AAAA", "$(touch x).jpg", "`touch x`"),
    *("; touch x", "| touch x", "{{7*7}}", "%s%n", "x" * 5000 + ".jpg", "é" * 300, "\udcff.jpg"),
    *(
        "\x1b[31m.jpg",
        "\x01",
        "\u202egpj.exe",
        "a\x00b.jpg",
        "new\nline.jpg",
        "cr\r.jpg",
        "a,b;c\t\"'",
    ),
]
assert len(set(ODD)) == len(ODD) > 200


def check(items: Iterable[Input], names: Iterable[str]) -> None:
    found = rows(items)
    assert [name for name, _ in found] == list(names)
    assert {status for _, status in found} <= {"not_found", "unreadable", "too_large"}


def by_lines(folder: Path) -> tuple[Iterator[Input], list[str]]:
    names = [name for name in ODD if "\n" not in name]
    stream = io.BytesIO(b"\n".join(map(os.fsencode, names)))
    return expand(["-"], stdin=stream), names


def by_null(folder: Path) -> tuple[Iterator[Input], list[str]]:
    names = [name for name in ODD if "\0" not in name]
    stream = io.BytesIO(b"\0".join(map(os.fsencode, names)))
    return expand(["-"], stdin=stream, null=True), names


def by_csv(folder: Path) -> tuple[Iterator[Input], list[str]]:
    with (folder / "list.csv").open("w", newline="", errors="surrogateescape") as file:
        csv.writer(file).writerows([["n", "path"], *([n, name] for n, name in enumerate(ODD))])
    return expand([str(folder / "list.csv")]), ODD


def by_parquet(folder: Path) -> tuple[Iterator[Input], list[str]]:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"photo": pa.array([os.fsencode(name) for name in ODD])})
    pq.write_table(table, folder / "list.parquet")
    return expand([str(folder / "list.parquet")], column="photo"), ODD


def members() -> list[str]:
    """Names of photos in an archive, those of hidden files left out."""
    names = [f"{name}x.jpg" for name in ODD]
    return [name for name in names if archives._is_photo(name)]


def by_zip(folder: Path) -> tuple[Iterator[Input], list[str]]:
    names = [name for name in members() if name.isprintable() and "\\" not in name]
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"no image")
    names.sort(key=lambda name: name.replace("/", "\0"))
    assert len(names) > 200
    return expand([str(folder / "a.zip")]), [f"{folder}/a.zip/{name}" for name in names]


def by_tar(folder: Path) -> tuple[Iterator[Input], list[str]]:
    names = [name for name in members() if "\0" not in name]
    with tarfile.open(folder / "a.tar", "w", encoding="utf-8") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 8
            archive.addfile(info, io.BytesIO(b"no image"))
    return expand([str(folder / "a.tar")]), [f"{folder}/a.tar/{name}" for name in names]


def by_photo(folder: Path) -> tuple[Iterator[Input], list[str]]:
    return map(photo, ODD), ODD


def by_plan(folder: Path) -> tuple[Iterator[Input], list[str]]:
    out = folder_at(folder / "run")
    made = plan.write(out, by_null(folder)[0], 50)
    return (item for number in range(made.pieces) for item in plan.piece(out, number)[1]), by_null(
        folder
    )[1]


Route = Callable[[Path], tuple[Iterator[Input], list[str]]]
ROUTES: list[Route] = [
    *(by_lines, by_null, by_csv, by_parquet, by_zip, by_tar, by_photo, by_plan),
]


@pytest.mark.usefixtures("inert")
@pytest.mark.parametrize("route", ROUTES)
def test_any_text_gives_one_row_opens_no_socket_and_starts_nothing(
    route: Route, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    items, names = route(tmp_path)
    check(items, names)
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.usefixtures("inert")
@settings(database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*"s3file/:.@?[]*#%&=\\~", "://", "::", "s3://"]) | st.text()))
def test_any_other_text_does_too(parts: list[str]) -> None:
    name = "".join(parts)
    if "s3://" in name.lower():  # which may be a good address
        name += "::"
    ((path, _),) = rows([photo(name)])
    assert path == name


@pytest.mark.usefixtures("inert")
@pytest.mark.parametrize(
    "text", ["://" + ":" * 300_000, "?=" * 150_000, "\x01" * 300_000, "é" * 300_000]
)
def test_long_text_takes_no_longer(text: str) -> None:
    # Minutes of each, if its time grew with the square of its length.
    for start in ("", "s3", "http", "file"):
        assert rows([photo(start + text)])[0][1] in ("not_found", "unreadable")


def test_shards_share_the_lines_among_them(tmp_path: Path) -> None:
    shares = [Shard(i, 3) for i in (1, 2, 3)]
    found = [[item.path for item in share.take(by_null(tmp_path)[0])] for share in shares]
    names = by_null(tmp_path)[1]
    assert found == [names[0::3], names[1::3], names[2::3]]
    assert len({share.sha256 for share in shares}) == 1


# The attacks that were found, each by itself


@pytest.mark.usefixtures("inert")
def test_a_template_in_the_references_of_a_chain_is_not_rendered(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    # fsspec 2024.6 to 2026.4 runs it, where jinja2 is installed.
    url = f"{{{{cycler.__init__.__globals__.os.system('touch {mark}')}}}}"
    many = {"dimensions": {"i": {"stop": 1}}, "offset": "0", "length": "1"}
    evil = {"version": 1, "refs": {}, "gen": [{"key": "k.jpg", "url": url, **many}]}
    (tmp_path / "evil.json").write_text(json.dumps(evil))
    line = f"reference://k.jpg::file://{tmp_path}/evil.json"
    check(expand(["-"], stdin=io.BytesIO(line.encode())), [line])
    check(expand([line]), [line])
    assert not mark.exists()


@pytest.mark.usefixtures("inert")
@pytest.mark.parametrize(
    "line",
    [
        *("reference://k.jpg::http://127.0.0.1:9/evil.json", "zip://a.jpg::http://127.0.0.1:9/a"),
        *("reference://k.jpg", "webhdfs://127.0.0.1:9/a.jpg", "ftp://127.0.0.1:9/a.jpg"),
        *("sftp://127.0.0.1:9/a.jpg", "smb://127.0.0.1/a.jpg", "hf://a/b/c.jpg", "git://a.jpg"),
        *("github://a:b@c/d.jpg", "zip://x::file:///etc/passwd", "foo://x.jpg", "data://x"),
        *("s3://[/x.jpg", "s3://a.jpg::http://127.0.0.1:9/"),
    ],
)
def test_a_line_with_an_address_that_is_not_opened_says_so(line: str) -> None:
    (item,) = expand(["-"], stdin=io.BytesIO(line.encode()))
    assert item.failure is not None
    assert item.failure.status == "not_found"
    assert "opened" in item.failure.error or "not the address" in item.failure.error
    if "s3://[" not in line:  # typed, it is a pattern
        assert [i.failure for i in expand([line])] == [item.failure]


def test_the_user_allows_a_protocol_by_option_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/allowed/a.jpg", b"a")
    line = "MEMORY://allowed/a.jpg"
    assert photo(line).failure is not None
    for found in (photo(line, ["memory"]), *expand([line], allow=["sftp,memory"])):
        assert (found.path, found.ready().data) == (line, b"a")
    monkeypatch.setenv(storage.ALLOW, "sftp, Memory")
    assert photo(line).ready().data == b"a"
    assert rows([photo("memory://allowed/b.jpg")]) == [("memory://allowed/b.jpg", "not_found")]
    assert rows([photo("memory://allowed")]) == [("memory://allowed", "unreadable")]
    files.rm("/allowed", recursive=True)


@pytest.mark.parametrize("name", ["http", "HTTPS://", "reference", "zip", "local", "simplecache"])
def test_what_opens_other_addresses_cannot_be_allowed(name: str) -> None:
    with pytest.raises(UsageError, match="never opened"):
        next(expand(["a.jpg"], allow=["sftp", name]))


def test_whatever_a_store_does_costs_a_line_its_own_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)

    class Odd(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "odd"
        error: Exception = ValueError()

        def info(self, path: str, **_: Any) -> Any:
            raise self.error

    fsspec.register_implementation("odd", Odd, clobber=True)
    for error in (
        ValueError("x"),
        ConnectionError("y"),
        KeyError("z"),
        RecursionError(),
        OSError(5),
    ):
        monkeypatch.setattr(Odd, "error", error)
        assert rows([photo("odd://b/x.jpg", ["odd"])]) == [("odd://b/x.jpg", "unreadable")]
    monkeypatch.setattr(Odd, "info", lambda *_, **__: {"type": "other", "size": 0})
    assert rows([photo("odd://b/x.jpg", ["odd"])]) == [("odd://b/x.jpg", "unreadable")]
    missing = {"class": "package_that_is_not_there.FileSystem", "err": "install it"}
    monkeypatch.setitem(known_implementations, "gone", missing)
    assert rows([photo("gone://b/x.jpg", ["gone"])]) == [("gone://b/x.jpg", "unreadable")]
    monkeypatch.setitem(sys.modules, "fsspec", None)
    item = photo("s3://bucket/x.jpg").ready()
    assert item.failure is not None and "celebattr[cloud]" in item.failure.error


def test_messages_have_no_credentials() -> None:
    for line in ("s3://key:secret@b/x.jpg", "sftp://u:secret@h/x.jpg", "http://h/x?sig=secret&a=b"):
        failure = photo(line).failure
        assert failure is not None
        assert failure.path == line
        assert "secret" not in failure.error
        assert "***" in failure.error
