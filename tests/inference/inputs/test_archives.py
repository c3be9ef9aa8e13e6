from __future__ import annotations

import gzip
import io
import random
import stat
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from celebattr.inference.config import PredictConfig
from celebattr.inference.faces import Preparer
from celebattr.inference.inputs import archives
from celebattr.inference.inputs.source import Input
from celebattr.inference.pool.pool import WorkerPool

TARS = ("tar", "tar.gz", "tar.bz2", "tar.xz")


def photo(shade: int = 0, format: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (20, 30), (shade, 0, 0)).save(data, format)
    return data.getvalue()


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w") -> str:
    with tarfile.open(path, mode, errors="surrogateescape") as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def zip_of(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def archive_of(folder: Path, kind: str, files: dict[str, bytes]) -> str:
    path = folder / f"some.{kind}"
    if kind == "zip":
        return zip_of(path, files)
    return tar_of(path, files, f"w:{kind.partition('.')[2]}")


def members(path: str) -> list[Input]:
    return [item.ready() for item in archives.members(path)]


def found(path: str) -> list[str]:
    """Names of the members, without the archive's."""
    return [item.path.removeprefix(f"{path}/") for item in members(path)]


def failures(items: list[Input]) -> list[tuple[str, str]]:
    return [(i.failure.path, i.failure.status) for i in items if i.failure]


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_the_images_of_an_archive_are_read_as_they_lie_in_it(tmp_path: Path, kind: str) -> None:
    files = {"a/one.png": photo(1), "notes.txt": b"no", "two.JPG": photo(2)}
    path = archive_of(tmp_path, kind, files)
    assert archives.is_archive(path)
    assert members(path) == [
        Input(f"{path}/a/one.png", data=files["a/one.png"]),
        Input(f"{path}/two.JPG", data=files["two.JPG"]),
    ]
    assert list(tmp_path.iterdir()) == [Path(path)]


def test_a_zip_is_sorted_as_folders_are_and_a_tar_keeps_its_order(tmp_path: Path) -> None:
    files = {name: b"x" for name in ("b.jpg", "a.jpg", "a/z.jpg", "a-b/c.jpg")}
    assert found(zip_of(tmp_path / "a.zip", files)) == ["a/z.jpg", "a-b/c.jpg", "a.jpg", "b.jpg"]
    assert found(tar_of(tmp_path / "a.tar", files)) == list(files)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_hidden_files_are_left_out_and_strange_names_are_only_names(
    tmp_path: Path, kind: str
) -> None:
    strange = ["../../up.jpg", "./here.jpg", "/etc/passwd.jpg", "a\nb \x1b[31m'\".jpg"]
    hidden = [".a.jpg", ".git/a.jpg", "__MACOSX/a.jpg", "deep/__MACOSX/._a.jpg"]
    path = archive_of(tmp_path, kind, dict.fromkeys(strange + hidden, b"x"))
    assert sorted(found(path)) == sorted(strange)


def test_what_is_no_plain_file_is_left_out_of_a_tar(tmp_path: Path) -> None:
    kinds = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number, kind in enumerate(kinds):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert found(str(tmp_path / "a.tar")) == []


def test_folders_and_links_are_left_out_of_a_zip(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.mkdir("folder.jpg")
        archive.writestr("a.jpg", b"x")
    assert found(str(tmp_path / "a.zip")) == ["a.jpg"]


def test_names_that_are_not_utf8_survive_in_a_tar(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", {"\udcff.jpg": b"x"})
    assert found(path) == ["\udcff.jpg"]


def test_names_in_a_zip_are_utf8_where_the_flag_for_it_is_missing(tmp_path: Path) -> None:
    path = Path(zip_of(tmp_path / "a.zip", {"abcd.jpg": b"x", "efgh.jpg": b"x"}))
    data = path.read_bytes().replace(b"abcd", "éü".encode()).replace(b"efgh", b"ef\x82h")
    path.write_bytes(data)
    assert sorted(found(str(path))) == ["eféh.jpg", "éü.jpg"]  # the second by code page 437


def test_a_member_of_a_zip_is_read_only_when_it_is_wanted(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a.jpg": b"1" * 100, "b.jpg": b"2" * 50})
    first, second = archives.members(path)
    assert (first.data, first.size, second.size) == (None, 100, 50)
    assert second.ready() == Input(f"{path}/b.jpg", data=b"2" * 50)  # its archive has ended by now
    with ThreadPoolExecutor(8) as pool:
        assert {item.data for item in pool.map(lambda _: first.ready(), range(400))} == {b"1" * 100}


def test_two_members_of_one_name_are_two_inputs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, pytest.warns(UserWarning):
        archive.writestr("a.jpg", b"1")
        archive.writestr("a.jpg", b"2")
    assert [i.data for i in members(str(tmp_path / "a.zip"))] == [b"1", b"2"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_an_image_is_no_archive_even_with_a_zip_behind_it(tmp_path: Path, format: str) -> None:
    path = tmp_path / "image"
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("a.jpg", b"x")
    path.write_bytes(photo(format=format) + inside.getvalue())
    assert zipfile.is_zipfile(path)
    assert not archives.is_archive(str(path))


@pytest.mark.parametrize("name", ["BMW.jpg", "RIFF.jpg", "GIF89a.gif"])
def test_a_tar_is_known_whatever_its_first_member_is_called(tmp_path: Path, name: str) -> None:
    assert archives.is_archive(tar_of(tmp_path / "a.tar", {name: b"x"}))


def test_what_is_compressed_but_no_tar_is_no_archive(tmp_path: Path) -> None:
    for data in (
        gzip.compress(photo()),
        gzip.compress(b"x" * 5000)[:20],
        b"BZh9",
        b"",
        b"\0" * 999,
    ):
        (tmp_path / "a").write_bytes(data)
        assert not archives.is_archive(str(tmp_path / "a"))
    assert not archives.is_archive(str(tmp_path))
    assert not archives.is_archive(str(tmp_path / "missing"))


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_a_member_over_the_limit_fails_alone(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    path = archive_of(tmp_path, kind, {"a.bmp": bytes(1000), "b.bmp": bytes(1001), "c.bmp": b"c"})
    items = members(path)
    assert [i.data for i in items] == [bytes(1000), None, b"c"]
    assert failures(items) == [(f"{path}/b.bmp", "too_large")]


def test_the_limit_is_on_what_is_read_not_on_what_is_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    item = archives._read(io.BytesIO(bytes(1 << 22)), "a.bmp")
    assert item.failure is not None
    assert item.failure.status == "too_large"


def test_a_zip_member_that_declares_less_than_it_has_is_damaged(tmp_path: Path) -> None:
    path = Path(zip_of(tmp_path / "a.zip", {"a.bmp": bytes(5 << 20)}))
    size = (5 << 20).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (10).to_bytes(4, "little")))
    assert failures(members(str(path))) == [(f"{path}/a.bmp", "unreadable")]


def test_an_encrypted_member_is_a_failure_that_says_so(tmp_path: Path) -> None:
    path = Path(zip_of(tmp_path / "a.zip", {"a.jpg": b"x", "b.jpg": b"y"}))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    first, second = members(str(path))
    assert first.failure is not None
    assert "encrypted" in first.failure.error
    assert second.data == b"y"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_decompresses_without_limit_is_refused(tmp_path: Path, method: int) -> None:
    path = zip_of(tmp_path / "a.zip", {"a.jpg": b"x" * 100}, method)
    (item,) = members(path)
    assert item.failure is not None
    assert "compression is not supported" in item.failure.error


def test_a_zip_member_with_a_wrong_checksum_fails_alone(tmp_path: Path) -> None:
    files = {"a.jpg": b"first" * 9, "b.jpg": b"second" * 9, "c.jpg": b"third" * 9}
    path = Path(zip_of(tmp_path / "a.zip", files, zipfile.ZIP_STORED))
    path.write_bytes(path.read_bytes().replace(b"secondsecond", b"secondSecond"))
    items = members(str(path))
    assert [i.data for i in items] == [files["a.jpg"], None, files["c.jpg"]]
    assert failures(items) == [(f"{path}/b.jpg", "unreadable")]


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_an_archive_that_is_cut_off_says_so_once_and_in_its_own_name(
    tmp_path: Path, kind: str
) -> None:
    noise = random.Random(0)
    files = {f"{n}.jpg": noise.randbytes(20_000) for n in range(100)}
    path = Path(archive_of(tmp_path, kind, files))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    *good, last = members(str(path))
    assert failures([*good, last]) == [(str(path), "unreadable")]
    assert [i.data for i in good] == list(files.values())[: len(good)]
    assert len(good) >= (40 if kind != "zip" else 0)  # bzip2's blocks hold 45 of them


@pytest.mark.parametrize("at", [512, 1024 + 512, 1024 + 20])
def test_a_tar_cut_between_or_in_headers_is_not_taken_for_whole(tmp_path: Path, at: int) -> None:
    path = Path(tar_of(tmp_path / "a.tar", {"a.jpg": b"x", "b.jpg": b"y", "c.jpg": b"z"}))
    path.write_bytes(path.read_bytes()[:at])
    assert failures(members(str(path))) == [(str(path), "unreadable")]


def test_a_damaged_header_in_the_middle_of_a_tar_is_not_its_end(tmp_path: Path) -> None:
    path = Path(tar_of(tmp_path / "a.tar", {"a.jpg": b"x", "b.jpg": b"y"}))
    path.write_bytes(path.read_bytes().replace(b"b.jpg", b"B.jpg"))
    good, bad = members(str(path))
    assert good.data == b"x"
    assert bad.failure is not None
    assert bad.path == str(path)


def test_a_wrong_checksum_at_the_end_of_a_compressed_tar_is_found(tmp_path: Path) -> None:
    path = Path(archive_of(tmp_path, "tar.gz", {"a.jpg": b"x"}))
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    items = members(str(path))
    assert failures(items) == [(str(path), "unreadable")]
    assert len(items) == 2


def test_a_tar_compressed_in_several_streams_is_read_to_its_end(tmp_path: Path) -> None:
    data = Path(tar_of(tmp_path / "a.tar", {"a.jpg": b"x", "b.jpg": b"y"})).read_bytes()
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]))
    assert found(str(path)) == ["a.jpg", "b.jpg"]


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16))
    (item,) = members(str(path))
    assert item.failure is not None
    assert "impossible size" in item.failure.error


def test_members_of_a_tar_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar_of(tmp_path / "a.tar", {f"{n}.jpg": b"x" for n in range(300)})
    real = tarfile.TarFile.next
    known = []

    def count(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
        info = real(archive)
        known.append(len(archive.members))  # type: ignore[attr-defined]
        return info

    monkeypatch.setattr(tarfile.TarFile, "next", count)
    assert len(found(path)) == 300
    assert max(known) <= 1


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_no_damage_crashes_or_hangs(tmp_path: Path, kind: str) -> None:
    files = {f"{n}.png": photo(n) for n in range(4)} | {"long" * 60 + ".png": photo(9)}
    path = Path(archive_of(tmp_path, kind, files))
    whole = path.read_bytes()
    chance = random.Random(kind)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
        archives.is_archive(str(path))
        for item in members(str(path)):
            assert (item.data is None) == (item.failure is not None)
            assert item.path.startswith(str(path))


def test_a_large_member_of_a_zip_is_unpacked_where_it_is_opened(tmp_path: Path) -> None:
    bitmap = io.BytesIO()
    Image.new("RGB", (2400, 2400)).save(bitmap, "BMP")
    path = Path(zip_of(tmp_path / "a.zip", {"a.bmp": bitmap.getvalue(), "b.bmp": b"b"}))
    large, small = members(str(path))
    assert large.data is not None
    assert len(large.data) < 100_000 < 17_000_000 < len(bitmap.getvalue())
    assert large.source == bitmap.getvalue()
    assert small.source == small.data == b"b"
    with WorkerPool(PredictConfig(faces="none")) as pool:
        assert pool.prepare([large])[0].failure is None
    where = path.read_bytes().index(large.data)
    for at in (1, len(large.data) // 2):
        data = bytearray(path.read_bytes())
        data[where + at] ^= 0xFF
        path.write_bytes(data)
        failure = Preparer("none")(next(iter(members(str(path))))).failure
        assert failure is not None
        assert failure.error.startswith(f"{path}/a.bmp: damaged (")
