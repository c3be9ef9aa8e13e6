"""People and pictures that are where they must not be."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from accidents import ARCHIVE, PARTITION, found, lines_of, report_of, write
from PIL import Image


def people(folder: Path, numbers: Sequence[int]) -> None:
    rows = [f"{i + 1:06}.jpg {number}" for i, number in enumerate(numbers)]
    (folder / "Anno/identity_CelebA.txt").write_text("\n".join(rows) + "\n")


def test_people_in_two_splits_are_counted(tmp_path: Path) -> None:
    numbers = list(range(100, 116))
    people(write(tmp_path / "a"), numbers)
    assert found(report_of(tmp_path / "a"), "people in two splits").severity == "ok"
    numbers[14] = 100
    numbers[15] = 101
    people(write(tmp_path / "b"), numbers)
    finding = found(report_of(tmp_path / "b"), "people in two splits")
    assert finding.severity == "warning"
    assert finding.what == "2 people both in train (2 images) and in test (2)"
    assert finding.examples == ("person 100", "person 101")


def test_a_picture_saved_again_in_another_split_is_found(tmp_path: Path) -> None:
    images = write(tmp_path, "torchvision") / "img_align_celeba"
    copy = io.BytesIO()
    Image.open(images / "000002.jpg").resize((100, 122)).save(copy, "JPEG", quality=60)
    (images / "000014.jpg").write_bytes(copy.getvalue())
    report = report_of(tmp_path)
    assert report.trains
    finding = found(report, "pictures in two splits")
    assert finding.severity == "warning"
    assert finding.what == "1 picture of test also in train, of 16 opened"
    assert finding.examples == ("000002.jpg = 000014.jpg",)


def test_one_person_under_two_numbers_is_found_by_the_picture(tmp_path: Path) -> None:
    people(write(tmp_path, "official"), range(100, 116))
    with zipfile.ZipFile(tmp_path / ARCHIVE) as archive:
        archive.extractall(tmp_path / "Img")
    images = tmp_path / "Img/img_align_celeba"
    shutil.copy(images / "000002.jpg", images / "000014.jpg")
    finding = found(report_of(tmp_path), "one person, two numbers")
    assert finding.examples == ("101 = 113: 1 picture",)


def test_a_folder_given_twice_counts_its_images_twice(tmp_path: Path) -> None:
    write(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    report = report_of(tmp_path / "a", tmp_path / "b")
    finding = found(report, "images in two folders")
    assert finding.severity == "note"
    assert "16 images in two folders, in the same split" in finding.what
    assert "32 pictures" in found(report, "repeated pictures").what


def test_an_image_in_two_folders_and_two_splits_is_a_leak(tmp_path: Path) -> None:
    write(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    lines_of(tmp_path / "b", PARTITION, lambda ls: [line[:-1] + "0" for line in ls])
    report = report_of(tmp_path / "a", tmp_path / "b")
    several = [f for f in report.findings if f.check == "images in two folders"]
    assert several[0].severity == "warning"
    assert several[0].what.startswith("8 images in two folders and in two splits")
