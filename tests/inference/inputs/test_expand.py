from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from celebattr.constants import MAX_NAME
from celebattr.errors import DataError, ImageTooLargeError, UnreadableImageError
from celebattr.images.open import open_image
from celebattr.inference.inputs import expand as expand_module
from celebattr.inference.inputs.expand import expand
from celebattr.inference.inputs.source import DRAWN, Input


def names(*paths: str, **options: object) -> list[str]:
    return [item.path for item in expand(paths, **options)]  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "deep/er/c.webp", ".git/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_a_folder_is_searched_throughout_in_order(folder: Path) -> None:
    found = [os.path.relpath(name, folder) for name in names(str(folder))]
    assert found == ["a.PNG", "b.jpg", "deep/er/c.webp"]


def test_names_are_kept_as_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert names("./b.jpg", "deep", "missing.jpg", "notes.txt") == [
        "./b.jpg",
        "deep/er/c.webp",
        "missing.jpg",
        "notes.txt",
    ]


def test_patterns_are_expanded_and_one_without_a_match_stays(folder: Path) -> None:
    assert names(f"{folder}/*.jpg") == [f"{folder}/b.jpg"]
    assert names(f"{folder}/**/*.webp") == [f"{folder}/deep/er/c.webp"]
    assert names(f"{folder}/*.bmp") == [f"{folder}/*.bmp"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(folder: Path) -> None:
    (folder / "b[1].jpg").touch()
    assert names(f"{folder}/b[1].jpg") == [f"{folder}/b[1].jpg"]


def test_a_circle_of_links_ends(folder: Path) -> None:
    (folder / "deep/back").symlink_to(folder)
    assert len(names(str(folder))) == 3


@pytest.mark.parametrize("pattern", ["", "**", "**/[0-9].jpg", "*/**/*.jpg", "**/d?/**", "d?"])
def test_folders_that_link_to_each_other_are_searched_once(folder: Path, pattern: str) -> None:
    for one in range(9):
        (folder / f"all/d{one}").mkdir(parents=True)
        (folder / f"all/d{one}/{one}.jpg").touch()
        for other in range(9):
            (folder / f"all/d{one}/to{other}").symlink_to(f"../d{other}")
    found = names(f"{folder}/all/{pattern}")
    assert sorted(Path(name).name for name in found) == [f"{n}.jpg" for n in range(9)]


def test_folders_deeper_than_pythons_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        Path("d").mkdir()
        os.chdir("d")
    Path("x.jpg").touch()
    os.chdir(tmp_path)
    deepest = f"{'d/' * 1200}x.jpg"
    assert names("d") == names("**/*.jpg") == names("d/**") == [deepest]
    subprocess.run(["rm", "-r", "d"], check=True)  # shutil.rmtree goes down by recursion


@pytest.mark.parametrize("pattern", ["**", "**/*"])
def test_a_pattern_that_matches_a_folder_and_what_is_in_it_gives_each_once(
    folder: Path, pattern: str
) -> None:
    found = [os.path.relpath(name, folder) for name in names(f"{folder}/{pattern}")]
    assert [name for name in found if name != "notes.txt"] == ["a.PNG", "b.jpg", "deep/er/c.webp"]


def test_a_link_to_itself_fails_alone(folder: Path) -> None:
    for name in ("loop", "loop.jpg"):
        (folder / name).symlink_to(name)
    found = [os.path.relpath(name, folder) for name in names(str(folder))]
    assert found == ["a.PNG", "b.jpg", "deep/er/c.webp", "loop.jpg"]
    with pytest.raises(UnreadableImageError, match=r"loop\.jpg: a symbolic link that leads round"):
        open_image(folder / "loop.jpg")


def test_standard_input_lists_paths_line_by_line() -> None:
    stream = io.BytesIO(b"a.jpg\r\nb c.jpg\n\n-x.jpg")
    assert names("-", stdin=stream) == ["a.jpg", "b c.jpg", "-x.jpg"]


def test_names_that_end_in_nul_may_hold_newlines_and_any_bytes() -> None:
    stream = io.BytesIO(b"new\nline.jpg\0\xff.jpg\0")
    assert names("-", null=True, stdin=stream) == ["new\nline.jpg", os.fsdecode(b"\xff.jpg")]


def test_a_list_longer_than_a_read_is_not_cut() -> None:
    wanted = [f"{'x' * 50}{i}.jpg" for i in range(5000)]
    assert names("-", stdin=io.BytesIO("\n".join(wanted).encode())) == wanted


def test_an_image_on_standard_input_is_one_input() -> None:
    data = b"\xff\xd8\xff\xe0" + b"x" * 200_000
    assert list(expand(["-"], stdin=io.BytesIO(data))) == [Input("-", data=data)]


@pytest.mark.parametrize("name", ["BMW.jpg", "RIFF/a.jpg", "GIF89a.gif"])
def test_a_list_may_begin_with_a_name_that_looks_like_a_signature(name: str) -> None:
    assert names("-", stdin=io.BytesIO(f"{name}\nb.jpg\n".encode())) == [name, "b.jpg"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format_is_known_on_standard_input(format: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (300, 300), "red").save(data, format)
    assert list(expand(["-"], stdin=io.BytesIO(data.getvalue()))) == [
        Input("-", data=data.getvalue())
    ]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_a_forbidden_folder_is_a_failure(folder: Path) -> None:
    (folder / "deep").chmod(0)
    found = list(expand([str(folder)]))
    (folder / "deep").chmod(0o700)
    assert [i.failure.status for i in found if i.failure] == ["unreadable"]


def test_a_folder_that_cannot_be_read_is_a_failure_and_the_rest_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = list(expand([str(folder)]))
    assert [i.failure is None for i in found] == [True, True, False]
    failure = found[2].failure
    assert failure is not None
    assert failure.status == "unreadable"
    assert "permission denied" in failure.error


def zip_of(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def test_an_archive_that_is_named_gives_its_images(folder: Path) -> None:
    for name in ("photos.zip", "report.docx"):
        path = zip_of(folder / name, "b.jpg", "a.jpg")
        assert [item.ready() for item in expand([str(path)])] == [
            Input(f"{path}/a.jpg", data=b"a.jpg"),
            Input(f"{path}/b.jpg", data=b"b.jpg"),
        ]


def test_a_line_of_a_list_is_one_photo_whatever_it_names(folder: Path) -> None:
    zip_of(folder / "x.zip", "a.jpg")
    (folder / "x.csv").write_text("path\nq.jpg\n")
    lines = [f"{folder}/x.zip", f"{folder}/x.csv", str(folder), f"{folder}/*.jpg", "/**/*", "-"]
    stream = io.BytesIO("\n".join(lines).encode())
    assert list(expand(["-"], stdin=stream)) == [Input(line) for line in lines]


def test_a_line_without_end_is_cut_and_fails_alone() -> None:
    class Zeros(io.BytesIO):
        left = 50

        def read1(self, size: int | None = -1) -> bytes:
            self.left -= 1
            return b"0" * (size or 0) if self.left > 0 else super().read1(size)

    long, short = names("-", stdin=Zeros(b"\nb.jpg"))
    assert short == "b.jpg"
    assert long == "0" * MAX_NAME
    with pytest.raises(UnreadableImageError, match="name too long"):
        open_image(long)


def test_archives_and_lists_that_are_only_met_are_not_opened(folder: Path) -> None:
    zip_of(folder / "x.zip", "a.jpg")
    (folder / "x.csv").write_text("path\nq.jpg\n")
    assert not [name for name in names(str(folder)) if "x." in name]
    assert {f"{folder}/x.zip", f"{folder}/x.csv"} < set(names(f"{folder}/*"))
    assert names(f"{folder}/*.zip") == [f"{folder}/x.zip/a.jpg"]
    assert names(f"{folder}/*.csv") == ["q.jpg"]


def test_a_zip_with_an_image_suffix_is_an_image_to_be(folder: Path) -> None:
    path = str(zip_of(folder / "z.jpg", "a.jpg"))
    assert list(expand([path])) == [Input(path)]


def test_a_list_that_is_named_gives_its_paths(folder: Path) -> None:
    (folder / "l.tsv").write_text("n\tpath\n1\tnone.jpg\n2\tdeep\n")
    assert list(expand([str(folder / "l.tsv")])) == [
        Input("none.jpg"),
        Input("deep", file=f"{folder}/deep"),
    ]


def test_paths_in_a_list_are_looked_for_here_first_and_then_beside_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = folder / "lists"
    lists.mkdir()
    for name in ("b.jpg", "beside.jpg"):
        (lists / name).touch()
    (lists / "l.csv").write_text(f"path\nb.jpg\nbeside.jpg\nnowhere.jpg\n{folder}/a.PNG\n")
    monkeypatch.chdir(folder)
    assert list(expand(["lists/l.csv"])) == [
        Input("b.jpg"),
        Input("beside.jpg", file="lists/beside.jpg"),
        Input("nowhere.jpg"),
        Input(f"{folder}/a.PNG"),
    ]


def test_with_a_column_every_path_is_a_list(folder: Path) -> None:
    (folder / "l.txt").write_text("path,photo\nx.jpg,y.jpg\n")
    assert names(str(folder / "l.txt"), f"{folder}/l.*", column="photo") == ["y.jpg", "y.jpg"]
    assert names("-", stdin=io.BytesIO(b"path;photo\nx.jpg;z.jpg\n"), column="photo") == ["z.jpg"]
    with pytest.raises(DataError, match=r"l\.txt has no column 'none'"):
        names(str(folder / "l.txt"), column="none")


def test_an_empty_cell_is_a_failure_that_says_where(folder: Path) -> None:
    path = str(folder / "l.csv")
    Path(path).write_text("n,path\n1,a.jpg\n2,\n")
    first, second = expand([path])
    assert first == Input("a.jpg")
    assert second.failure is not None
    assert second.failure.error == f"{path}: row 2 has no path"
    assert second.failure.status == "not_found"


@pytest.mark.parametrize("url", ["http://example.org/a.jpg", "HTTPS://example.org/*.jpg?x=[1]"])
def test_a_url_is_a_failure_that_says_to_download_it(folder: Path, url: str) -> None:
    (folder / "l.csv").write_text(f"path\n{url}\n")
    for item in expand([url, "-", str(folder / "l.csv")], stdin=io.BytesIO(url.encode())):
        assert item.path == url
        assert item.failure is not None
        assert item.failure.status == "not_found"
        assert "URLs are not opened: download it first" in item.failure.error


@pytest.mark.parametrize("column", [None, "path"])
def test_a_pipe_a_device_or_a_socket_is_never_read(
    folder: Path, column: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # the path of a socket may not be long
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.zip")
        given = [f"{folder}/pipe.csv", f"{folder}/pipe", f"{folder}/socket.zip", "/dev/zero"]
        assert list(expand(given, column=column)) == [Input(path) for path in given]


def test_what_is_not_there_fails_when_it_is_opened_with_a_column_too(folder: Path) -> None:
    given = [str(folder / "none.csv"), str(folder / "deep")]
    assert list(expand(given, column="path")) == [Input(path) for path in given]


def test_pictures_and_videos_that_are_never_opened_are_counted_by_suffix(folder: Path) -> None:
    for name in ("film.MP4", "deep/raw.cr2", "deep/b.mp4", ".hidden.mp4", "phone.heic", "x.jxl"):
        (folder / name).touch()
    left_out: Counter[str] = Counter()
    found = [os.path.relpath(name, folder) for name in names(str(folder), left_out=left_out)]
    assert found == ["a.PNG", "b.jpg", "deep/er/c.webp", "phone.heic", "x.jxl"]
    assert left_out == {".mp4": 2, ".cr2": 1}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_those_in_an_archive_are_counted_too(folder: Path, tmp_path: Path, kind: str) -> None:
    (folder / "film.mp4").touch()
    archive = shutil.make_archive(str(tmp_path / "all"), kind, folder)
    left_out: Counter[str] = Counter()
    assert len(names(archive, left_out=left_out)) == 3
    assert left_out == {".mp4": 1}


@pytest.mark.parametrize(
    "start", [b"\0\0\0\x1cftypavif", b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51"]
)
def test_a_picture_of_any_format_may_come_on_standard_input(start: bytes) -> None:
    (item,) = expand(["-"], stdin=io.BytesIO(start + b"\0" * 40))
    assert item.data is not None


def test_an_image_on_standard_input_is_read_up_to_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expand_module, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr("celebattr.images.open.MAX_BYTES", 1 << 20)
    endless = io.BytesIO(b"\xff\xd8\xff" + bytes(1 << 24))
    (item,) = expand(["-"], stdin=endless)
    assert item.data is not None
    assert len(item.data) < 1 << 21
    with pytest.raises(ImageTooLargeError, match="more bytes than the limit of 1,048,576"):
        open_image(item.data)


def test_pictures_of_an_earlier_run_are_no_inputs(folder: Path, tmp_path: Path) -> None:
    before = names(str(folder))
    drawn = folder / "drawn"
    drawn.mkdir()
    # A heat map lies beside its annotated picture; a name with dots alone is a photo's.
    for name in ("a.annotated.jpg", "a.Smiling.jpg", "a.b.annotated.png", "a.b.A.B.png", "x.y.jpg"):
        (drawn / name).touch()
    left_out: Counter[str] = Counter()
    photo = str(drawn / "x.y.jpg")
    assert set(names(str(folder), left_out=left_out)) == {*before, photo}
    assert left_out[DRAWN] == 4
    assert names(str(drawn / "*.[jp][pn]g")) == [photo]
    outright = [str(drawn / "a.annotated.jpg"), photo]  # as a shell's own pattern gives them
    assert names(*outright) == outright
    assert names(*outright, drawn=drawn) == [photo]
    packed = zip_of(tmp_path / "packed.zip", "a.annotated.jpg", "x.y.jpg")
    assert names(str(packed)) == [f"{packed}/x.y.jpg"]
