"""Accidents that happen to data sets, each made from drawn faces, and what is said of it."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import layouts
import numpy as np
import pytest
from PIL import Image

from celebattr.attributes import CELEBA
from celebattr.config import DoctorConfig
from celebattr.data import celeba, drawn
from celebattr.doctor import files, official, rows
from celebattr.doctor.examine import examine
from celebattr.errors import DataError
from celebattr.results.doctor import SEVERITIES, DoctorReport, Finding

LIST = "Anno/list_attr_celeba.txt"
PARTITION = "Eval/list_eval_partition.txt"
ARCHIVE = "Img/img_align_celeba.zip"
QUOTA = "<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>"


def write(folder: Path, layout: str = "official", seed: int = 0) -> Path:
    return drawn.write_celeba(folder, train=8, validation=4, test=4, layout=layout, seed=seed)


def report_of(*folders: Path, **options: object) -> DoctorReport:
    report = examine(DoctorConfig(data=folders, **options))  # type: ignore[arg-type]
    for finding in report.findings:
        assert finding.severity in SEVERITIES
        assert finding.what
        if finding.severity in ("warning", "problem"):
            assert finding.remedy, finding
    return report


def found(report: DoctorReport, check: str) -> Finding:
    several = [finding for finding in report.findings if finding.check == check]
    assert len(several) == 1, [f.check for f in report.findings]
    return several[0]


def loads(*folders: Path) -> bool:
    """Whether the data set can be read and has what training wants: the truth to compare with."""
    try:
        dataset = celeba.load(folders)
        for row in range(len(dataset)):
            dataset.read(row)
    except DataError:
        return False
    return bool(len(dataset.split("train")) and len(dataset.split("validation")))


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
    (jpeg_as_zip, "not a zip", "is a JPEG image, whatever its name says", "Download it again"),
    (empty_zip, "empty file", "img_align_celeba.zip is empty", "Download it again"),
    (only_png, "png archive", "a part of the PNG images", "img_align_celeba.zip"),
    (only_wild, "not aligned", "photos before alignment", "Take img_align_celeba.zip"),
    (part_file, "unfinished download", "a download that was not finished", "finish"),
    (page_list, "web page", "list_attr_celeba.txt is a web page", "Delete it"),
    (moved_images, "nesting", "the images lie in Img/faces", "Move that folder"),
    (one_deeper, "nesting", "the data set lies deeper, in celeba", "--data"),
    (crops_for_images, "numbering", "CelebA-HQ-img is there without CelebAMask-HQ", "beside"),
    (crops_renamed, "numbering", "numbers its images anew, from 0.jpg", "mapping.txt"),
    (crops_list, "reading", "no row for 1 images, the first 0.jpg", "CelebAMask-HQ numbers"),
    (no_partition, "reading", "no list_eval_partition.txt", "Take list_eval_partition.txt from"),
    (cut_list, "reading", "the file may be cut off", "take that file anew"),
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


# What happens to lists


def lines_of(folder: Path, name: str, change: Callable[[list[str]], Sequence[str]]) -> None:
    path = folder / name
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def test_a_wrong_count_line_is_found(tmp_path: Path) -> None:
    lines_of(write(tmp_path), LIST, lambda lines: ["202599", *lines[1:]])
    finding = found(report_of(tmp_path), "count line")
    assert finding.severity == "warning"
    assert "says 202,599 rows, and there are 16" in finding.what
    assert "cut off" in finding.remedy


def test_a_deleted_count_line_is_found(tmp_path: Path) -> None:
    lines_of(write(tmp_path), LIST, lambda lines: lines[1:])
    report = report_of(tmp_path)
    assert report.trains
    assert "lost its first line" in found(report, "count line").what


def test_a_deleted_header_is_found(tmp_path: Path) -> None:
    lines_of(write(tmp_path), LIST, lambda lines: [lines[0], *lines[2:]])
    report = report_of(tmp_path)
    assert report.trains
    finding = found(report, "header")
    assert finding.severity == "warning"
    assert " ".join(CELEBA) in finding.remedy


def test_doubled_rows_are_found_and_whether_they_contradict_each_other(tmp_path: Path) -> None:
    lines_of(write(tmp_path / "a"), LIST, lambda lines: ["17", *lines[1:], lines[3]])
    finding = found(report_of(tmp_path / "a"), "doubled rows")
    assert finding.what == "1 image with more than one row"
    assert finding.examples == ("000002.jpg",)

    def contradict(lines: list[str]) -> list[str]:
        swap = {"1": "-1", "-1": "1"}
        name, *values = lines[3].split()
        return ["17", *lines[1:], " ".join([name, *(swap[v] for v in values)])]

    lines_of(write(tmp_path / "b"), LIST, contradict)
    finding = found(report_of(tmp_path / "b"), "doubled rows")
    assert "1 of them with rows that contradict each other" in finding.what


def test_an_image_in_two_splits_of_the_list_is_found(tmp_path: Path) -> None:
    lines_of(write(tmp_path), PARTITION, lambda lines: [*lines, "000001.jpg 2", "000099.jpg 0"])
    report = report_of(tmp_path)
    finding = found(report, "doubled rows")
    assert "list_eval_partition.txt puts 1 image into two splits" in finding.what
    assert finding.examples == ("000001.jpg",)
    assert "1 image without labels" in found(report, "rows without labels").what


def test_missing_and_extra_images_are_counted(tmp_path: Path) -> None:
    images = write(tmp_path, "torchvision") / "img_align_celeba"
    (images / "000003.jpg").rename(images / "900000.jpg")
    report = report_of(tmp_path)
    assert not report.trains
    finding = found(report, "missing images")
    assert finding.examples == ("000003.jpg",)
    assert "--skip-missing" in finding.remedy
    assert found(report, "images without labels").examples == ("900000.jpg",)


def test_a_damaged_list_of_people_is_a_warning(tmp_path: Path) -> None:
    (write(tmp_path) / "Anno/identity_CelebA.txt").write_text("000001.jpg nobody\n")
    report = report_of(tmp_path)
    assert report.trains
    assert found(report, "people").severity == "warning"


def test_a_split_without_images_is_a_problem_only_where_training_needs_it(tmp_path: Path) -> None:
    lines_of(write(tmp_path / "a"), PARTITION, lambda ls: [line[:-1] + "0" for line in ls])
    report = report_of(tmp_path / "a")
    severities = {f.what[:13]: f.severity for f in report.findings if f.check == "empty split"}
    assert severities == {"no validation": "problem", "no test image": "note"}
    assert not loads(tmp_path / "a")
    joined = (tmp_path / "a", write(tmp_path / "b", seed=1))
    assert loads(*joined)
    assert report_of(*joined).trains


def test_folders_with_other_attributes_cannot_be_joined(tmp_path: Path) -> None:
    write(tmp_path / "a", "csv")
    path = write(tmp_path / "b", "csv", seed=1) / "labels.csv"
    path.write_text(path.read_text().replace("Smiling", "Grinning"))
    report = report_of(tmp_path / "a", tmp_path / "b")
    assert not report.trains
    joint = [f for f in report.findings if f.check == "attributes" and f.severity == "problem"]
    assert joint[0].examples == ("Grinning", "Smiling")


# Frequencies


def like_celeba(folder: Path, count: int, seed: int = 0) -> Path:
    """Lists with CelebA's frequencies, all test but for two rows, and no images."""
    shares = np.array([official.TEST_PERCENT[name] for name in CELEBA]) / 100
    targets = np.random.default_rng(seed).random((count, 40)) < shares
    names = [f"{182_638 + i}.jpg" for i in range(count)]
    (folder / "Anno").mkdir(parents=True)
    (folder / "Eval").mkdir()
    (folder / "img_align_celeba").mkdir()
    (folder / "img_align_celeba" / names[0]).touch()
    table = [f"{n} {' '.join('1' if v else '-1' for v in t)}" for n, t in zip(names, targets)]  # noqa: B905
    (folder / LIST).write_text("\n".join([str(count), " ".join(CELEBA), *table]) + "\n")
    (folder / PARTITION).write_text("\n".join(f"{n} 2" for n in names) + "\n")
    return folder


def prevalence(folder: Path) -> list[Finding]:
    report = report_of(folder, quick=True)
    checks = ("prevalence", "order of attributes")
    return [finding for finding in report.findings if finding.check in checks]


def test_celebas_frequencies_are_known_in_any_order_of_columns(tmp_path: Path) -> None:
    like_celeba(tmp_path, 600)
    [finding] = prevalence(tmp_path)
    assert finding.severity == "ok"
    assert finding.what.startswith("test: attributes are as frequent as in CelebA, to 0.")

    def turn(lines: list[str]) -> list[str]:
        turned = [" ".join([r.split()[0], *reversed(r.split()[1:])]) for r in lines[2:]]
        return [lines[0], " ".join(reversed(lines[1].split())), *turned]

    lines_of(tmp_path, LIST, turn)
    order, shares = prevalence(tmp_path)
    assert (order.check, order.severity) == ("order of attributes", "note")
    assert shares.severity == "ok"


def test_names_that_are_not_those_of_their_columns_are_found(tmp_path: Path) -> None:
    like_celeba(tmp_path, 600)
    lines_of(tmp_path, LIST, lambda ls: [ls[0], " ".join(reversed(ls[1].split())), *ls[2:]])
    finding = prevalence(tmp_path)[-1]
    assert finding.severity == "warning"
    assert "the names above the columns are not theirs" in finding.what


def test_exchanged_values_are_found(tmp_path: Path) -> None:
    like_celeba(tmp_path, 600)
    path = tmp_path / LIST
    path.write_text(path.read_text().replace("-1", "x").replace(" 1", " -1").replace("x", "1"))
    [finding] = prevalence(tmp_path)
    assert "0 and 1 are exchanged" in finding.what


def test_labels_of_something_else_are_found(tmp_path: Path) -> None:
    like_celeba(tmp_path, 600)

    def shuffle(lines: list[str]) -> list[str]:
        rng = np.random.default_rng(0)
        order = rng.permutation(40)
        cells = [line.split() for line in lines[2:]]
        return [*lines[:2], *(" ".join([c[0], *(c[1:][i] for i in order)]) for c in cells)]

    lines_of(tmp_path, LIST, shuffle)
    [finding] = prevalence(tmp_path)
    assert finding.severity == "warning"
    assert "not as frequent as in CelebA" in finding.what
    assert "take the list of attributes anew" in finding.remedy


def test_official_test_images_in_train_are_a_warning(tmp_path: Path) -> None:
    like_celeba(tmp_path, 200)
    lines_of(tmp_path, PARTITION, lambda ls: [line[:-1] + "0" for line in ls[:50]] + ls[50:])
    finding = found(report_of(tmp_path, quick=True), "splits")
    assert finding.severity == "warning"
    assert finding.what == "50 images in train here and in test in CelebA"


def test_few_rows_say_nothing_of_frequencies() -> None:
    truth = np.array(list(official.TEST_PERCENT.values()))
    rng = np.random.default_rng(0)
    for count in (100, 1000, 20_000):
        off = [
            rows.beyond_chance(rng.binomial(count, truth / 100) * 100 / count, truth, count)
            for _ in range(50)
        ]
        assert abs(np.mean(off)) < 0.15
        assert max(off) < rows.NEAR


# What happens to images


def test_an_unreadable_image_is_a_problem_and_named(tmp_path: Path) -> None:
    images = write(tmp_path, "torchvision") / "img_align_celeba"
    (images / "000004.jpg").write_bytes((images / "000004.jpg").read_bytes()[:900])
    (images / "000009.jpg").write_text(QUOTA)
    report = report_of(tmp_path)
    assert not loads(tmp_path)
    assert not report.trains
    finding = found(report, "unreadable images")
    assert finding.what.startswith("2 images of 16 opened cannot be read: 000004.jpg: damaged")
    assert finding.examples == ("000004.jpg", "000009.jpg")
    assert report_of(tmp_path, quick=True).trains  # it opens none


def test_a_damaged_member_of_the_zip_is_named(tmp_path: Path) -> None:
    path = write(tmp_path) / ARCHIVE
    data = bytearray(path.read_bytes())
    data[300] ^= 0xFF
    path.write_bytes(data)
    assert found(report_of(tmp_path), "unreadable images").examples == ("000001.jpg",)


def resize(folder: Path, size: Callable[[int], tuple[int, int]]) -> Path:
    for number, path in enumerate(sorted((folder / "img_align_celeba").iterdir())):
        data = io.BytesIO()
        Image.open(path).resize(size(number)).save(data, "JPEG")
        path.write_bytes(data.getvalue())
    return folder


def test_odd_sizes_are_found(tmp_path: Path) -> None:
    for name, size, severity, what in (
        ("half", lambda n: (89, 109), "note", "smaller than 178x218: 89x109 (16)"),
        ("square", lambda n: (64, 64), "warning", "stretched to it: 64x64 (16)"),
        ("any", lambda n: (200 + 40 * n, 300), "warning", "and 13 more sizes"),
    ):
        folder = resize(write(tmp_path / name, "torchvision"), size)  # type: ignore[arg-type]
        finding = found(report_of(folder), "sizes")
        assert finding.severity == severity
        assert what in finding.what
        assert ("photos before alignment" in finding.remedy) == (name == "any")


def test_a_limit_opens_images_spread_over_all(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    config = DoctorConfig(data=(write(tmp_path),), limit=5)
    report = examine(config, lambda done, total: seen.append((done, total)))
    assert report.images_opened == 5
    assert seen == [(i + 1, 5) for i in range(5)]


# Leaks


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


def test_a_picture_saved_anew_in_another_split_is_found(tmp_path: Path) -> None:
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


# Other layouts


def test_other_layouts_are_seen(tmp_path: Path) -> None:
    reference = celeba.load([write(tmp_path / "official")])
    for writer, layout in (
        (layouts.parquet, "Hugging Face Parquet"),
        (layouts.webdataset, "WebDataset"),
        (layouts.lists, "a list a split, torchvision"),
        (layouts.hq, "CelebAMask-HQ"),
    ):
        report = report_of(writer(reference, tmp_path / layout))
        assert report.trains
        assert (report.folders[0].layout or "").startswith(layout)
        assert report.images_opened == 16
        assert found(report, "pictures in two splits").severity == "ok"


def test_the_numbers_of_mask_hq_are_told_to_be_official_images(tmp_path: Path) -> None:
    """The crops of images that another folder has under their official names and another split."""
    reference = celeba.load([write(tmp_path / "official")])
    swapped = dataclasses.replace(reference, splits_N=reference.splits_N[::-1])
    hq = layouts.hq(swapped, tmp_path / "hq")
    report = report_of(tmp_path / "official", hq)
    several = [f for f in report.findings if f.check == "images in two folders"]
    assert several[0].severity == "warning"
    leak = [f for f in report.findings if f.check == "pictures in two splits"]
    assert leak[0].severity == "warning"


def test_a_damaged_shard_is_a_problem(tmp_path: Path) -> None:
    reference = celeba.load([write(tmp_path / "official")])
    file = next(layouts.parquet(reference, tmp_path / "there").glob("data/train*"))
    file.write_bytes(file.read_bytes()[:-100])
    finding = found(report_of(tmp_path / "there"), "reading")
    assert finding.severity == "problem"
    assert "not a complete Parquet file" in finding.what


def test_a_checksum_tells_celebas_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    for name in official.MD5:
        monkeypatch.setitem(official.MD5, name, "")
    monkeypatch.setitem(official.MD5, "list_attr_celeba.txt", official.md5(tmp_path / LIST))
    several = {f.severity: f.what for f in files.look(tmp_path, hashes=True)}
    assert several["ok"] == "CelebA's own, by MD5: list_attr_celeba.txt"
    assert "list_eval_partition.txt, img_align_celeba.zip" in several["note"]
    quick = {f.severity: f.what for f in files.look(tmp_path, hashes=False)}
    assert "zip" not in quick["note"]


@pytest.mark.parametrize("layout", ["official", "kaggle", "csv", "hq", "webdataset", "parquet"])
def test_damage_anywhere_is_a_finding_and_no_crash(tmp_path: Path, layout: str) -> None:
    """Files are cut or overwritten by chance; whether they can be read decides the verdict."""
    folder = tmp_path / "there"
    if layout in drawn.LAYOUTS:
        write(folder, layout)
    else:
        reference = celeba.load([write(tmp_path / "official")])
        getattr(layouts, layout)(reference, folder)
    names = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".jpg", ".png")]
    rng = np.random.default_rng(0)
    for turn in range(24):
        path = names[turn % len(names)]
        whole = path.read_bytes()
        data = bytearray(whole)
        place = int(rng.integers(len(data)))
        if turn % 2:
            del data[place:]
        else:
            data[place : place + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()
        path.write_bytes(data)
        report = report_of(folder)
        assert report.trains == loads(folder), (path, turn)
        path.write_bytes(whole)
