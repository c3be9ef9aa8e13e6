"""Accidents that happen to downloads, each made from drawn faces, and what is said of it."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from accidents import ARCHIVE, LIST, QUOTA, found, loads, report_of, write


def test_a_whole_data_set_has_no_problem(tmp_path: Path) -> None:
    report = report_of(write(tmp_path))
    assert report.trains
    assert report.images_opened == 16
    assert [s.images for s in report.folders[0].splits] == [8, 4, 4]
    assert report.folders[0].layout == "CelebA official, zipped"
    assert found(report, "missing images").severity == "ok"
    assert found(report, "unreadable images").severity == "ok"
    assert found(report, "sizes").what == "all 16 are 178x218"
    assert found(report, "pictures in two splits").severity == "ok"


# What happens to downloads


def page(folder: Path) -> None:
    (folder / ARCHIVE).write_text(QUOTA)


def cut_zip(folder: Path) -> None:
    data = (folder / ARCHIVE).read_bytes()
    (folder / ARCHIVE).write_bytes(data[: len(data) // 2])


def jpeg_as_zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        data = archive.read(archive.namelist()[0])
    (folder / ARCHIVE).write_bytes(data)


def empty_zip(folder: Path) -> None:
    (folder / ARCHIVE).write_bytes(b"")


def only_png(folder: Path) -> None:
    (folder / ARCHIVE).unlink()
    (folder / "Img/img_align_celeba_png.7z.001").write_bytes(b"7z\xbc\xaf\x27\x1c")


def only_wild(folder: Path) -> None:
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        archive.extractall(folder / "Img")
    (folder / ARCHIVE).unlink()
    (folder / "Img/img_align_celeba").rename(folder / "Img/img_celeba")


def part_file(folder: Path) -> None:
    (folder / ARCHIVE).rename(folder / "Img/img_align_celeba.zip.part")


def page_list(folder: Path) -> None:
    (folder / LIST).write_text(QUOTA)


def moved_images(folder: Path) -> None:
    only_wild(folder)
    (folder / "Img/img_celeba").rename(folder / "Img/faces")


def one_deeper(folder: Path) -> None:
    shutil.move(folder / "Img", folder / "celeba/Img")
    shutil.move(folder / "Anno", folder / "celeba/Anno")
    shutil.move(folder / "Eval", folder / "celeba/Eval")


def no_partition(folder: Path) -> None:
    shutil.rmtree(folder / "Eval")


def cut_list(folder: Path) -> None:
    text = (folder / LIST).read_text()
    (folder / LIST).write_text(text[: len(text) - 30])


def crops_for_images(folder: Path) -> None:
    only_wild(folder)
    (folder / "Img/img_celeba").rename(folder / "CelebA-HQ-img")


def crops_renamed(folder: Path) -> None:
    only_wild(folder)
    (folder / "Img/img_celeba").rename(folder / "Img/img_align_celeba")
    for number, path in enumerate(sorted((folder / "Img/img_align_celeba").iterdir())):
        path.rename(path.with_name(f"{number}.jpg"))


def crops_list(folder: Path) -> None:
    text = (folder / LIST).read_text().replace("000001.jpg", "0.jpg")
    (folder / LIST).write_text(text)


ACCIDENTS: tuple[tuple[Callable[[Path], None], str, str, str], ...] = (
    (page, "web page", "img_align_celeba.zip is a web page of 65 bytes", "download it tomorrow"),
    (cut_zip, "truncated zip", "img_align_celeba.zip is cut off", "Download it again"),
    (jpeg_as_zip, "not a zip", "is a JPEG image, in spite of its name", "Download it again"),
    (empty_zip, "empty file", "img_align_celeba.zip is empty", "Download it again"),
    (only_png, "png archive", "a part of the PNG images", "img_align_celeba.zip"),
    (only_wild, "not aligned", "photos before alignment", "Take img_align_celeba.zip"),
    (part_file, "unfinished download", "a download that was not finished", "finish"),
    (page_list, "web page", "list_attr_celeba.txt is a web page", "Delete it"),
    (moved_images, "nesting", "the images lie in Img/faces", "Move that folder"),
    (one_deeper, "nesting", "the data set lies deeper, in celeba", "--data"),
    (crops_for_images, "numbering", "CelebA-HQ-img is there without CelebAMask-HQ", "beside"),
    (crops_renamed, "numbering", "has its own numbering, from 0.jpg", "mapping.txt"),
    (
        crops_list,
        "reading",
        "no row for 1 images, the first 0.jpg",
        "CelebAMask-HQ has its own numbering",
    ),
    (no_partition, "reading", "no list_eval_partition.txt", "Take list_eval_partition.txt from"),
    (cut_list, "reading", "the file may be cut off", "get that file again"),
)


@pytest.mark.parametrize(("accident", "check", "what", "remedy"), ACCIDENTS)
def test_an_accident_is_recognised_with_its_remedy(
    tmp_path: Path, accident: Callable[[Path], None], check: str, what: str, remedy: str
) -> None:
    accident(write(tmp_path))
    report = report_of(tmp_path)
    assert not loads(tmp_path)
    assert not report.trains
    finding = found(report, check)
    assert finding.severity == "problem"
    assert what in finding.what
    assert remedy in finding.remedy


def test_what_stops_nothing_is_no_problem(tmp_path: Path) -> None:
    write(tmp_path, "unpacked")
    (tmp_path / "Img/img_align_celeba_png.7z.001").touch()
    (tmp_path / "Img/other.zip").write_text(QUOTA)
    report = report_of(tmp_path)
    assert loads(tmp_path)
    assert report.trains
    assert found(report, "png archive").severity == "note"
    assert found(report, "web page").severity == "note"


def test_a_stray_file_does_not_hide_why_a_folder_cannot_be_read(tmp_path: Path) -> None:
    no_partition(write(tmp_path))
    (tmp_path / "notes.txt").write_text(QUOTA)
    report = report_of(tmp_path)
    assert found(report, "web page").what.startswith("notes.txt")
    assert "no list_eval_partition.txt" in found(report, "reading").what


def test_the_double_folder_of_kaggle_is_found(tmp_path: Path) -> None:
    report = report_of(write(tmp_path, "kaggle"))
    assert report.trains
    finding = found(report, "nesting")
    assert finding.severity == "note"
    assert "img_align_celeba/img_align_celeba" in finding.what


def test_a_csv_renamed_to_txt_is_said(tmp_path: Path) -> None:
    write(tmp_path, "kaggle")
    for name in ("list_attr_celeba", "list_eval_partition"):
        (tmp_path / f"{name}.csv").rename(tmp_path / f"{name}.txt")
    report = report_of(tmp_path)
    assert report.trains
    assert [f.check for f in report.findings].count("csv as txt") == 2


def test_a_folder_that_may_not_be_listed_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    scan = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path).name == "Anno":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    finding = found(report_of(tmp_path), "permission")
    assert "Anno cannot be listed" in finding.what
    assert "chmod" in finding.remedy


@pytest.mark.parametrize("kind", ["nowhere", "file", "empty", "part"])
def test_what_is_no_data_set_is_a_finding(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_bytes(b"\x00\xff")
    elif kind == "empty":
        place.mkdir()
    elif kind == "part":
        place = write(place) / "Img"
    report = report_of(place)
    assert not report.trains
    assert report.folders[0].layout is None
