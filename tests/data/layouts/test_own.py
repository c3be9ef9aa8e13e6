"""Data sets of one's own, as people have them: CSV files of many kinds, and folders."""

from __future__ import annotations

import csv
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from layouts import write_celeba

import celebattr
from celebattr.constants import SPLITS
from celebattr.data import synthetic
from celebattr.data.dataset import hold_out
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import DataError, UsageError

NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    for seed, name in enumerate(NAMES):
        synthetic.draw_face(set(), np.random.default_rng(seed)).save(folder / name)
    return folder


@pytest.fixture
def photos(tmp_path: Path, drawn: Path) -> Path:
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    return tmp_path


def rows(text: str, folder: Path, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode(encoding))
    return folder


def labels(folder: Path, **options: str) -> list[list[float | None]]:
    targets = load_dataset([folder], **options).targets_NA.tolist()  # type: ignore[arg-type]
    return [[None if value != value else value for value in row] for row in targets]


@pytest.mark.parametrize("name", ["../{}/a.jpg", "x/../../{}/a.jpg", "{path}/a.jpg"])
def test_an_image_outside_of_the_folder_is_read_only_if_it_is_allowed(
    photos: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    list_of = tmp_path_factory.mktemp("list")
    (list_of / "x").mkdir()
    outside = photos.rename(list_of.with_name(f"{list_of.name}-photos"))
    name = name.format(outside.name, path=outside)
    rows(f"image,Smiling\n{name},1\n", list_of)
    with pytest.raises(DataError, match="give --allow-outside"):
        load_dataset([list_of])
    assert load_dataset([list_of], allow_outside=True).read(0).shape == (218, 178, 3)
    report = celebattr.doctor(list_of)
    assert not report.trains
    assert celebattr.doctor(list_of, allow_outside=True, faces="none").images_opened == 1


def test_with_minus_one_anywhere_zero_is_unknown_everywhere(photos: Path) -> None:
    rows("image,A,B\na.jpg,-1,0\nb.jpg,1,1\nc.jpg,0,0\n", photos)
    assert labels(photos) == [[0, None], [1, 1], [None, None]]


def test_without_minus_one_zero_is_absent_and_a_blank_cell_is_unknown(photos: Path) -> None:
    rows("image,A,B\na.jpg,1,\nb.jpg,0.0,1\nc.jpg,NaN,false\n", photos)
    assert labels(photos) == [[1, None], [0, 1], [None, 0]]


def test_text_and_numbers_are_left_out_with_one_warning(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows(
        "Unnamed: 0,id,image,A,notes,age\n0,7,a.jpg,1,hello,33\n1,8,b.jpg,0,,41\n2,9,c.jpg,1,,2\n",
        photos,
    )
    dataset = load_dataset([photos])
    assert dataset.attributes == ("A",)
    (record,) = caplog.records
    assert "Unnamed: 0, id, notes, age" in record.getMessage()


@pytest.mark.parametrize("column", ["person", "Identity", "celeb_id"])
def test_a_column_of_people_is_who_is_shown(photos: Path, column: str) -> None:
    rows(f"image,A,{column}\na.jpg,1,eve\nb.jpg,0,eve\nc.jpg,1,\nd.jpg,0,\n", photos)
    dataset = load_dataset([photos])
    assert dataset.attributes == ("A",)
    people = dataset.identities_N
    assert people is not None
    assert people[0] == people[1]
    assert len(set(people.tolist())) == 3  # whoever is not named is nobody else


@pytest.mark.parametrize(("column", "values"), [("partition", "0121"), ("split", "0121")])
def test_a_column_of_partitions_is_the_split(photos: Path, column: str, values: str) -> None:
    lines = [f"{name},1,{value}" for name, value in zip(NAMES, values, strict=True)]
    rows("\n".join([f"image,A,{column}", *lines]), photos)
    dataset = load_dataset([photos])
    assert dataset.splits_N.tolist() == [0, 1, 2, 1]
    assert dataset.attributes == ("A",)


def test_a_column_of_images_is_named(photos: Path) -> None:
    rows("picture,image,A\na.jpg,1,1\nb.jpg,0,1\n", photos)
    dataset = load_dataset([photos], column="Picture")
    assert dataset.names == ["a.jpg", "b.jpg"]
    assert dataset.attributes == ("image", "A")
    with pytest.raises(DataError, match=r"expected one of face. Name it by --column"):
        load_dataset([photos], column="face")


def test_folders_in_the_names_are_the_splits(photos: Path) -> None:
    for folder, name in (("train", "a.jpg"), ("val", "b.jpg")):
        (photos / folder).mkdir()
        (photos / name).rename(photos / folder / name)
    rows("file_name,A\ntrain/a.jpg,1\nval/b.jpg,0\n", photos, "metadata.csv")
    dataset = load_dataset([photos])
    assert dataset.splits_N.tolist() == [0, 1]
    assert dataset.read(1).shape == (218, 178, 3)


def test_a_file_per_split_is_joined(photos: Path) -> None:
    rows("image,A\na.jpg,1\nb.jpg,-1\n", photos, "train.csv")
    rows("image,A,B\nc.jpg,0,1\n", photos, "val.csv")
    dataset = load_dataset([photos])
    assert dataset.names == ["a.jpg", "b.jpg", "c.jpg"]
    assert dataset.splits_N.tolist() == [0, 0, 1]
    assert labels(photos) == [[1, None], [0, None], [None, 1]]
    rows("image,A\na.jpg,1\n", photos, "more.csv")
    with pytest.raises(DataError, match=r"several CSV files .*train\.csv and val\.csv"):
        load_dataset([photos])


def test_a_file_in_each_folder_of_a_split_is_joined(photos: Path) -> None:
    for folder, name in (("train", "a.jpg"), ("test", "b.jpg")):
        rows(f"file_name,A\n{name},1\n", photos / folder, "metadata.csv")
        (photos / name).rename(photos / folder / name)
    dataset = load_dataset([photos])
    assert dict(zip(dataset.names, dataset.splits_N.tolist(), strict=True)) == {
        "train/a.jpg": SPLITS["train"],
        "test/b.jpg": SPLITS["test"],
    }


@pytest.mark.parametrize(
    ("file", "listed", "there"),
    [
        ("train/metadata.csv", "train/{}", "train/{}"),  # the names repeat the folder
        ("train/labels.csv", "{}", "train/images/{}"),
        ("partial-train/metadata.csv", "{}", "partial-train/{}"),
    ],
)
def test_images_of_a_split_lie_where_its_list_or_the_root_says(
    photos: Path, tmp_path: Path, file: str, listed: str, there: str
) -> None:
    for split, name in (("train", "a.jpg"), ("valid", "b.jpg")):
        place, lies = (text.replace("train", split) for text in (file, there))
        (tmp_path / lies.format(name)).parent.mkdir(parents=True)
        shutil.move(photos / name, tmp_path / lies.format(name))
        text = f"file_name,A\n{listed.replace('train', split).format(name)},1\n"
        rows(text, (tmp_path / place).parent, Path(place).name)
    dataset = load_dataset([tmp_path])
    assert dataset.splits_N.tolist() == [SPLITS["train"], SPLITS["validation"]]
    assert dataset.names == [there.format("a.jpg"), there.replace("train", "valid").format("b.jpg")]


def test_partitions_0_and_1_alone_are_splits_and_no_attribute(photos: Path) -> None:
    rows("image_id,A,partition\na.jpg,1,0\nb.jpg,0,1\n", photos)
    dataset = load_dataset([photos])
    assert (dataset.attributes, dataset.splits_N.tolist()) == (("A",), [0, 1])


@pytest.mark.parametrize("kind", ["zip", "gztar"])
@pytest.mark.parametrize("lists", [True, False])
def test_an_archive_says_what_to_do_with_it(
    photos: Path, tmp_path_factory: pytest.TempPathFactory, kind: str, lists: bool
) -> None:
    if lists:
        rows("image,A\na.jpg,1\n", photos)
    packed = shutil.make_archive(str(tmp_path_factory.mktemp("packed") / "mine"), kind, photos)
    command = "unzip mine.zip" if kind == "zip" else "tar -xf mine.tar.gz"
    told = f"unpack it .`{command}`. and give" if lists or kind == "gztar" else "a CSV with an"
    with pytest.raises(DataError, match=told):
        load_dataset([Path(packed)])


def test_images_still_in_an_archive_are_told(photos: Path, tmp_path: Path) -> None:
    rows("image,A\nx.jpg,1\n", photos)
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"1 of 1 images .* Unpack images\.zip, which lies there"):
        load_dataset([photos])


def test_own_lists_one_folder_deeper_are_named(photos: Path, tmp_path: Path) -> None:
    rows("image,A\na.jpg,1\n", tmp_path / "data")
    shutil.move(photos / "a.jpg", tmp_path / "data")
    with pytest.raises(DataError, match=r"one folder deeper: give .*data"):
        load_dataset([tmp_path])


def test_a_folder_per_attribute(photos: Path) -> None:
    for folder, names in (("Smiling", "ab"), ("Hat", "bc")):
        (photos / folder).mkdir()
        for name in names:
            shutil.copy(photos / f"{name}.jpg", photos / folder)
    dataset = load_dataset([photos])
    assert dataset.attributes == ("Hat", "Smiling")
    shown = {
        Path(n).name: v for n, v in zip(dataset.names, dataset.targets_NA.tolist(), strict=True)
    }
    assert shown == {"a.jpg": [0, 1], "b.jpg": [1, 1], "c.jpg": [1, 0]}


@pytest.mark.parametrize(
    ("name", "encoding", "between"),
    [
        ("labels.csv", "cp1252", ","),
        ("labels.csv", "utf-16", "\t"),
        ("labels.tsv", "utf-8", "\t"),
        ("labels.csv", "utf-8-sig", ";"),
    ],
)
def test_encodings_and_separators(photos: Path, name: str, encoding: str, between: str) -> None:
    text = "image,Größe,B\r\na.jpg,1,0\r\nb.jpg,0,1\r\n".replace(",", between)
    rows(text, photos, name, encoding)
    assert load_dataset([photos]).attributes == ("Größe", "B")
    assert labels(photos) == [[1, 0], [0, 1]]


def test_bytes_of_a_picture_are_no_list(photos: Path) -> None:
    shutil.copy(photos / "a.jpg", photos / "labels.csv")
    with pytest.raises(DataError, match="is not a text file"):
        load_dataset([photos])


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("images\\a.jpg", "images/a.jpg"),
        ("a.jpg", "a.JPG"),
        ("a.jpg", "a.png"),
        (unicodedata.normalize("NFD", "é.jpg"), unicodedata.normalize("NFC", "é.jpg")),
        (unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.jpg")),
    ],
)
def test_names_that_nearly_fit_are_found(photos: Path, listed: str, there: str) -> None:
    (photos / there).parent.mkdir(exist_ok=True)
    (photos / "a.jpg").rename(photos / there)
    rows(f"image,A,B\n{listed},1,0\nb.jpg,0,1\n", photos)
    dataset = load_dataset([photos], skip_missing=listed.startswith("images"))
    assert (photos / dataset.names[0]).name == Path(there).name or dataset.names[0] == there
    assert dataset.read(0).shape == (218, 178, 3)


def test_a_name_that_two_files_nearly_fit_is_missing(photos: Path) -> None:
    (photos / "a.jpg").rename(photos / "a.png")
    shutil.copy(photos / "a.png", photos / "A.JPG")
    rows("image,A\na.jpg,1\nb.jpg,0\n", photos)
    with pytest.raises(DataError, match=r"1 of 2 images are not in"):
        load_dataset([photos])


@pytest.mark.parametrize(
    "place",
    [
        "img_align_celeba_png",
        "Img/img_align_celeba_png",
        "Img/img_align_celeba_png.7z/img_align_celeba_png",
        "img_align_celeba_png.zip",
        "Img/img_align_celeba_png.zip",
        "img_align_celeba.zip",
    ],
)
def test_the_png_edition_is_read_by_lists_that_say_jpg(tmp_path: Path, place: str) -> None:
    write_celeba(tmp_path, train=2, validation=1, test=1, layout="torchvision")
    (tmp_path / place).parent.mkdir(exist_ok=True, parents=True)
    folder = (tmp_path / "img_align_celeba").rename(tmp_path / place.removesuffix(".zip"))
    for file in folder.iterdir():
        file.rename(file.with_suffix(".png"))
    if place.endswith(".zip"):
        shutil.make_archive(str(folder), "zip", folder.parent, folder.name)
        shutil.rmtree(folder)
    dataset = load_dataset([tmp_path])
    assert dataset.names[0] == "000001.png"
    assert dataset.read(3).shape == (218, 178, 3)


def test_attributes_are_chosen(photos: Path) -> None:
    rows("image,A,B,C\na.jpg,1,0,1\nb.jpg,0,0,1\n", photos)
    dataset = load_dataset([photos], attributes="c,A")
    assert dataset.attributes == ("C", "A")
    assert dataset.targets_NA.tolist() == [[1, 1], [1, 0]]
    with pytest.raises(UsageError, match="unknown attribute 'D'"):
        load_dataset([photos], attributes="D")


@pytest.mark.parametrize("people", [True, False])
def test_a_tenth_is_held_out_by_person(photos: Path, people: bool) -> None:
    with (photos / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "A", *(["person"] if people else [])])
        for i in range(60):
            shutil.copy(photos / NAMES[0], photos / f"{i}.jpg")
            table.writerow([f"{i}.jpg", i % 2, *([f"p{i // 3}"] if people else [])])
    dataset = load_dataset([photos])
    held, told = hold_out(dataset, seed=1)
    validation = held.split("validation")
    assert len(validation) == 6
    assert told.startswith("6 of 60 train images held out")
    assert hold_out(dataset, seed=1)[0].splits_N.tolist() == held.splits_N.tolist()
    assert hold_out(dataset, seed=2)[0].splits_N.tolist() != held.splits_N.tolist()
    assert hold_out(held, seed=1) == (held, "")
    if people:
        train = held.split("train").identities_N
        assert train is not None
        assert not set(train.tolist()) & set(validation.identities_N.tolist())  # type: ignore[union-attr]
