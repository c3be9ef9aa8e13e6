"""Images and layouts, as the doctor sees them."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import layouts
import numpy as np
import pytest
import samples
from accidents import ARCHIVE, LIST, QUOTA, found, loads, report_of, write
from layouts import LAYOUTS
from PIL import Image

from celebattr.data.layouts.load import load_dataset
from celebattr.diagnosis import files
from celebattr.diagnosis import files as official
from celebattr.diagnosis.config import DoctorConfig
from celebattr.diagnosis.examine import examine
from celebattr.errors import UsageError

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
        ("any", lambda n: (200 + 40 * n, 300), "warning", "and 12 more sizes"),
    ):
        folder = resize(write(tmp_path / name, "torchvision"), size)  # type: ignore[arg-type]
        finding = found(report_of(folder, faces="none"), "sizes")
        assert finding.severity == severity
        assert what in finding.what
        assert ("photos before alignment" in finding.remedy) == (name == "any")


def test_a_limit_opens_images_spread_over_all(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    config = DoctorConfig(data=(write(tmp_path),), limit=5)
    report = examine(config, lambda done, total: seen.append((done, total)))
    assert report.images_opened == 5
    assert seen == [(i + 1, 5) for i in range(5)]


# Other layouts


def test_other_layouts_are_seen(tmp_path: Path) -> None:
    reference = load_dataset([write(tmp_path / "official")])
    for writer, layout in (
        (layouts.parquet, "Hugging Face Parquet"),
        (layouts.webdataset, "WebDataset"),
        (layouts.lists, "one list per split, torchvision"),
        (layouts.hq, "CelebAMask-HQ"),
    ):
        report = report_of(writer(reference, tmp_path / layout))
        assert report.trains
        assert (report.folders[0].layout or "").startswith(layout)
        assert report.images_opened == 16
        assert found(report, "pictures in two splits").severity == "ok"


def test_the_numbers_of_mask_hq_are_told_to_be_official_images(tmp_path: Path) -> None:
    """The crops of images that another folder has under their official names and another split."""
    reference = load_dataset([write(tmp_path / "official")])
    swapped = dataclasses.replace(reference, splits_N=reference.splits_N[::-1])
    hq = layouts.hq(swapped, tmp_path / "hq")
    report = report_of(tmp_path / "official", hq)
    several = [f for f in report.findings if f.check == "images in two folders"]
    assert several[0].severity == "warning"
    leak = [f for f in report.findings if f.check == "pictures in two splits"]
    assert leak[0].severity == "warning"


def test_a_damaged_shard_is_a_problem(tmp_path: Path) -> None:
    reference = load_dataset([write(tmp_path / "official")])
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
    if layout in LAYOUTS:
        write(folder, layout)
    else:
        reference = load_dataset([write(tmp_path / "official")])
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


def test_photos_are_told_from_crops_and_not_called_stretched(tmp_path: Path) -> None:
    for number in range(4):
        samples.scene({"Smiling"}, number).save(tmp_path / f"{number}.png")
    text = "file,Smiling,Odd,B\n" + "".join(f"{n}.png,{n % 2},1,{n % 2}\n" for n in range(4))
    (tmp_path / "labels.csv").write_text(text)
    report = report_of(tmp_path)
    finding = found(report, "faces")
    assert (finding.severity, report.trains) == ("note", True)
    assert finding.what.startswith("photos, not aligned crops: the eyes of 0 of 4 faces are at")
    assert "celebattr align" in finding.remedy
    assert "sizes" not in {one.check for one in report.findings}
    taken = report_of(tmp_path, faces="none")
    assert found(taken, "faces").what == "taken as aligned crops: as asked"
    assert found(taken, "sizes").severity == "warning"
    for number in range(4):
        (tmp_path / f"{number}.png").unlink()
    assert "faces" not in {one.check for one in report_of(tmp_path).findings}


def test_a_column_and_attributes_are_chosen(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, name in ((one, "B"), (other, "Big Hat")):
        folder.mkdir()
        Image.new("RGB", (178, 218)).save(folder / "a.png")
        (folder / "x.csv").write_text(f"picture,image,A,{name}\na.png,?,1,0\n")
    assert not report_of(one).trains
    report = report_of(one, column="picture", attributes="a")
    assert report.trains
    assert found(report, "constant attribute").examples == ("A",)
    both = report_of(one, other, column="picture", attributes="a,big_hat")
    examples = {one.examples for one in both.findings if one.check == "constant attribute"}
    assert examples == {("A",), ("A", "Big Hat")}
    with pytest.raises(UsageError, match="unknown attribute 'C'"):
        report_of(one, other, column="picture", attributes="a,C")
