"""Any kind of file, under any name, may be given as a photo: nothing blocks, acts or runs."""

from __future__ import annotations

import errno
import io
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from celebattr.constants import MAX_BYTES
from celebattr.errors import ImageNotFoundError, ImageTooLargeError, UnreadableImageError
from celebattr.images import formats
from celebattr.images.formats import FORMATS
from celebattr.images.open import open_image

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes, devices and links of POSIX")


def file_of(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "x.jpg"
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        monkeypatch.chdir(folder)  # a socket's name must be short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("x.jpg")
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "is a directory":
        path.mkdir()
    return path


KINDS = ("a named pipe", "a socket", "a device", "is a directory")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_at_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(kind, tmp_path, monkeypatch)

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("opening a device may act, opening a pipe wakes its writer")

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(UnreadableImageError, match=rf"x\.jpg: {kind}, not a file"):
        open_image(path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_takes_the_place_of_a_file_is_refused_at_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(kind, tmp_path, monkeypatch)
    (tmp_path / "file").touch()
    before = os.stat(tmp_path / "file")  # noqa: PTH116 - not to be replaced below
    monkeypatch.setattr(os, "stat", lambda *_, **__: before)
    with pytest.raises(UnreadableImageError, match=r"x\.jpg: "):
        open_image(path)


def test_a_file_deleted_before_it_is_opened_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jpg"
    path.touch()
    before = path.stat()
    path.unlink()
    with pytest.raises(ImageNotFoundError, match=r"x\.jpg: no such file"):
        open_image(path)
    monkeypatch.setattr(os, "stat", lambda *_, **__: before)
    with pytest.raises(ImageNotFoundError, match=r"x\.jpg: no such file"):
        open_image(path)


def test_links_that_lead_nowhere_or_round_are_told_apart(tmp_path: Path) -> None:
    for name, target in (("a.jpg", "b.jpg"), ("b.jpg", "a.jpg"), ("c.jpg", "gone.jpg")):
        (tmp_path / name).symlink_to(target)
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: a symbolic link that leads round"):
        open_image(tmp_path / "a.jpg")
    with pytest.raises(ImageNotFoundError, match=r"c\.jpg: no such file"):
        open_image(tmp_path / "c.jpg")


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EACCES, "permission denied"),
        (errno.EIO, "input/output error"),
        (errno.EMFILE, "many"),
    ],
)
def test_what_the_system_refuses_is_unreadable(
    number: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.jpg").write_bytes(b"any")

    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)  # the superuser may open everything
    with pytest.raises(UnreadableImageError, match=rf"x\.jpg: .*{why}"):
        open_image(tmp_path / "x.jpg")


def test_a_file_of_a_terabyte_is_refused_unread(
    tmp_path: Path, good_files: dict[str, bytes]
) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(good_files["JPEG RGB"])
    os.truncate(path, 1 << 40)
    with pytest.raises(ImageTooLargeError, match=rf"1,099,.* bytes .* limit of {MAX_BYTES:,}"):
        open_image(path)


def test_a_file_that_grows_is_read_as_far_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good_files: dict[str, bytes]
) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(good_files["JPEG RGB"])
    before = path.stat()
    with path.open("ab") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(os, "stat", lambda *_, **__: before)
    monkeypatch.setattr(os, "fstat", lambda _: before)
    assert open_image(path).size == (40, 48)


def test_too_little_memory_is_too_large(
    monkeypatch: pytest.MonkeyPatch, good_files: dict[str, bytes]
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", full)
    with pytest.raises(ImageTooLargeError, match=r"x\.jpg: too large to decode \(out of memory\)"):
        open_image(good_files["JPEG RGB"], name="x.jpg")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"two\nlines.jpg", r"two\nlines.jpg"),
        (b"\x1b[2Jred\x07.jpg", r"\x1b[2Jred\x07.jpg"),
        (b"not\xffutf8.jpg", r"not\xffutf8.jpg"),
        ("zwölf 写真.jpg".encode(), "zwölf 写真.jpg"),
    ],
)
def test_a_message_is_one_line_whatever_the_name(name: bytes, shown: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"no picture")
    for source in (path, b"no picture"):
        with pytest.raises(UnreadableImageError) as caught:
            open_image(source, name=os.fsdecode(name))
        assert str(caught.value).startswith(f"{shown}: not a JPEG")
        assert str(caught.value).isprintable()


def test_a_name_that_no_file_can_have_is_not_found() -> None:
    for name in ("", "nul\0.jpg", "\ud800.jpg"):
        with pytest.raises(ImageNotFoundError) as caught:
            open_image(name)
        assert str(caught.value).isprintable()


NAMED = {
    "JPEG XL": b"\xff\x0a\xfa\x1f",
    "JPEG XL: convert it first": b"\0\0\0\x0cJXL \r\n\x87\n",
    "a video: take pictures from it": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2",
    "a video": b"\x1aE\xdf\xa3\1",
    "a video: ": b"RIFF\0\0\1\0AVI LIST",
    "a camera's raw file": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "a Git LFS pointer, not the picture": b"version https://git-lfs.github.com/spec/v1\noid",
    "a web page": b"\n<!DOCTYPE HTML><title>404</title>",
    "a damaged AVIF image": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1",
}


@pytest.mark.parametrize("what", NAMED)
def test_what_is_not_opened_is_called_what_it_is(what: str) -> None:
    with pytest.raises(UnreadableImageError, match=rf"x\.jpg: {what}"):
        open_image(NAMED[what].ljust(200, b"\0"), name="x.jpg")


@pytest.mark.parametrize("text", ["a.jpg\nb.jpg\n", "fotos/Jos\xe9 1.png\r\n" * 900])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_list_says_how_lists_are_given(text: str, encoding: str) -> None:
    with pytest.raises(
        UnreadableImageError, match=r"list\.txt: .*text: .* `celebattr predict - < LIST`"
    ):
        open_image(text.encode(encoding), name="list.txt")


def test_heic_without_its_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_register_heif", lambda: False)
    with pytest.raises(UnreadableImageError, match=r"pip install 'celebattr\[heic\]'"):
        open_image(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", name="x.heic")


OTHERS = {
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n%%EOF\n",
    "PDF": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(100),
    "PSD": b"8BPS\0\1" + bytes(100),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "zip": b"PK\3\4" + bytes(100),
    "ELF": b"\x7fELF" + bytes(100),
}


def test_other_formats_are_refused_without_their_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict(OTHERS)
    for format in ("ICO", "PPM", "TGA", "PCX", "DDS", "SGI", "ICNS", "QOI"):
        data = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(data, format)
        files[format] = data.getvalue()
    Image.init()

    def decode(*_: object) -> None:
        raise AssertionError("the decoder of another format was called")

    for format in set(Image.OPEN) - set(FORMATS):
        monkeypatch.setitem(Image.OPEN, format, (decode, None))
    for data in files.values():
        with pytest.raises(UnreadableImageError, match=r"x\.jpg: (not a JPEG, |a |PostScript|SVG)"):
            open_image(data, name="x.jpg")
