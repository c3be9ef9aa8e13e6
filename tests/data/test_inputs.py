from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from celebattr.data.images import open_image
from celebattr.data.inputs import Input, expand
from celebattr.errors import UnreadableImageError


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
