from __future__ import annotations

import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from layouts import LAYOUTS, write_celeba

from celebattr.attributes import CELEBA
from celebattr.constants import SPLITS
from celebattr.data import synthetic
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import DataError, UnreadableImageError

COUNTS = {"train": 5, "validation": 3, "test": 2}


def write(folder: Path, layout: str = "official", seed: int = 0) -> Path:
    return write_celeba(folder, **COUNTS, layout=layout, seed=seed)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    return load_dataset([write(tmp_path_factory.mktemp("reference"))])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows_and_pixels(
    tmp_path: Path, layout: str, reference: FaceDataset
) -> None:
    dataset = load_dataset([write(tmp_path, layout)])
    assert dataset.attributes == CELEBA
    assert dataset.names == reference.names
    np.testing.assert_array_equal(dataset.targets_NA, reference.targets_NA)
    np.testing.assert_array_equal(dataset.splits_N, reference.splits_N)
    np.testing.assert_array_equal(dataset.read(7), reference.read(7))


@pytest.mark.parametrize("split", COUNTS)
def test_a_split_holds_its_own_rows(reference: FaceDataset, split: str) -> None:
    part = reference.split(split)
    assert len(part) == COUNTS[split]
    start = {"train": 0, "validation": 5, "test": 8}[split]
    assert part.names == reference.names[start : start + COUNTS[split]]
    np.testing.assert_array_equal(part.read(0), reference.read(start))
    assert len(reference.split(split, 1)) == 1


def rewrite(path: Path, change: dict[str, str]) -> None:
    text = path.read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    path.write_bytes(text.encode())


@pytest.mark.parametrize(
    "change",
    [
        {"\n": "\r\n"},
        {" ": "   "},
        {" ": "\t"},
        {"-1": "0"},
        {"10\n5_o": "\ufeff10\n5_o"},
        {"10\n5_o": "5_o"},
        {"10\n5_o": "10\nimage_id 5_o"},
    ],
    ids=["CRLF", "spaces", "tabs", "0/1", "BOM", "no count", "named image column"],
)
def test_every_spelling_of_the_list_is_read(
    tmp_path: Path, reference: FaceDataset, change: dict[str, str]
) -> None:
    rewrite(write(tmp_path) / "Anno/list_attr_celeba.txt", change)
    dataset = load_dataset([tmp_path])
    assert dataset.attributes == CELEBA
    np.testing.assert_array_equal(dataset.targets_NA, reference.targets_NA)


def test_a_csv_renamed_to_txt_is_told_by_its_content(
    tmp_path: Path, reference: FaceDataset
) -> None:
    write(tmp_path, "kaggle")
    for name in ("list_attr_celeba", "list_eval_partition"):
        (tmp_path / f"{name}.csv").rename(tmp_path / f"{name}.txt")
    dataset = load_dataset([tmp_path])
    np.testing.assert_array_equal(dataset.targets_NA, reference.targets_NA)
    np.testing.assert_array_equal(dataset.splits_N, reference.splits_N)


def test_partitions_may_be_words(tmp_path: Path, reference: FaceDataset) -> None:
    path = write(tmp_path) / "Eval/list_eval_partition.txt"
    rewrite(path, {".jpg 0": ".jpg train", ".jpg 1": ".jpg valid", ".jpg 2": ".jpg test"})
    np.testing.assert_array_equal(load_dataset([tmp_path]).splits_N, reference.splits_N)


def test_columns_go_by_the_header_not_by_position(tmp_path: Path, reference: FaceDataset) -> None:
    path = write(tmp_path) / "Anno/list_attr_celeba.txt"
    count, header, *rows = path.read_text().splitlines()
    turned = [" ".join(reversed(header.split()))]
    turned += [" ".join([r.split()[0], *reversed(r.split()[1:])]) for r in rows]
    path.write_text("\n".join([count, *turned]) + "\n")
    dataset = load_dataset([tmp_path])
    assert dataset.attributes == tuple(reversed(CELEBA))
    np.testing.assert_array_equal(dataset.targets_NA[:, ::-1], reference.targets_NA)
    joined = load_dataset([write(tmp_path / "other"), tmp_path])
    assert joined.attributes == CELEBA
    np.testing.assert_array_equal(joined.targets_NA[10:], reference.targets_NA)


def test_folders_are_joined_and_each_row_keeps_its_split_and_image(
    tmp_path: Path, reference: FaceDataset
) -> None:
    other = load_dataset([write(tmp_path / "b", "torchvision", seed=1)])
    joined = load_dataset([write(tmp_path / "a"), tmp_path / "b"])
    assert len(joined) == 20
    assert len(joined.split("train")) == 10
    np.testing.assert_array_equal(joined.read(3), reference.read(3))
    np.testing.assert_array_equal(joined.read(13), other.read(3))


def test_what_a_folder_lacks_is_unknown_in_a_join(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", "csv")
    rewrite(tmp_path / "b/labels.csv", {"Smiling": "Grinning"})
    joined = load_dataset([tmp_path / "a", tmp_path / "b"])
    assert joined.attributes == (*CELEBA, "Grinning")
    count = len(joined) // 2
    unknown = np.isnan(joined.targets_of(("Smiling", "Grinning")))
    np.testing.assert_array_equal(unknown[:count], [[False, True]] * count)
    np.testing.assert_array_equal(unknown[count:], [[True, False]] * count)
    assert not np.isnan(joined.targets_of(CELEBA[:3])).any()


def test_missing_images_are_counted_and_named_or_left_out(tmp_path: Path) -> None:
    write(tmp_path, "torchvision")
    for name in ("000002.jpg", "000009.jpg"):
        (tmp_path / "img_align_celeba" / name).unlink()
    with pytest.raises(DataError, match=r"2 of 10 images .*000002\.jpg, 000009\.jpg.*skip-missing"):
        load_dataset([tmp_path])
    dataset = load_dataset([tmp_path], skip_missing=True)
    assert len(dataset) == 8
    assert "000002.jpg" not in dataset.names
    assert len(dataset.targets_NA) == len(dataset.splits_N) == 8


def test_a_data_set_without_any_image_is_refused_in_either_case(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("image,Happy\na.png,1\n")
    with pytest.raises(DataError, match="1 of 1 images"):
        load_dataset([tmp_path], skip_missing=True)


@pytest.mark.parametrize("content", ["000001.jpg 7\n", "000001.jpg nobody\n", "", "<html>"])
def test_a_damaged_list_of_people_stops_nothing(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (write(tmp_path) / "Anno/identity_CelebA.txt").write_text(content)
    dataset = load_dataset([tmp_path])
    assert dataset.identities_N is None
    assert "identity_CelebA.txt is left out" in caplog.text


def test_people_are_known_by_name_and_kept_with_their_rows(tmp_path: Path) -> None:
    rows = [f"{i + 1:06}.jpg {100 + i}" for i in range(10)]
    (write(tmp_path) / "Anno/identity_CelebA.txt").write_text("\n".join(reversed(rows)))
    people = load_dataset([tmp_path]).split("test").identities_N
    assert people is not None
    assert people.tolist() == [108, 109]


@pytest.mark.parametrize(
    ("delimiter", "prefix", "end"),
    [(",", "", "\r\n"), (",", "\ufeff", "\n"), (";", "", "\n"), ("\t", "", "\n")],
    ids=["CRLF", "BOM", "semicolons", "tabs"],
)
def test_every_spelling_of_ones_own_list_is_read(
    tmp_path: Path, reference: FaceDataset, delimiter: str, prefix: str, end: str
) -> None:
    path = write(tmp_path, "csv") / "labels.csv"
    text = path.read_text().replace(",", delimiter).replace("\n", end)
    path.write_bytes((prefix + text).encode())
    np.testing.assert_array_equal(load_dataset([tmp_path]).targets_NA, reference.targets_NA)


def test_the_row_numbers_that_pandas_writes_are_no_attribute(tmp_path: Path) -> None:
    path = write(tmp_path, "csv") / "labels.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f",{header}", *(f"{i},{row}" for i, row in enumerate(rows))]))
    assert load_dataset([tmp_path]).attributes == CELEBA


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("image,A,A\na.png,1,0\n", "more than one column A"),
        ("image,A\n", "no rows"),
        ("image,\na.png,\n", "no columns beside"),
        (",,\n", "is empty"),
        ("picture,A\na.png,1\n", "no column that names the image.*expected one of image_id"),
        ("image,A,B\na.png,1\n", "row 1: 2 values for 3 columns"),
        ("image,A\na.png,x\n", "no attribute columns beside the image: A hold other values"),
        ("image,A\na.png,1\nb.png,x\n", "b.png has 'x' for A"),
        ("image,A,split\na.png,1,dev\n", "split 'dev'"),
        ("image,A,b;c\na.png,1,0\n", "the attribute 'b;c' has a ';' .*: rename it"),
    ],
)
def test_a_damaged_csv_says_what_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(DataError, match=rf"mine\.csv.*{why}"):
        load_dataset([tmp_path])


def test_ones_own_attributes_come_from_a_plain_csv(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        synthetic.draw_face({"Smiling"}, np.random.default_rng(0)).save(tmp_path / name)
    (tmp_path / "mine.csv").write_text("image,Happy,Tall\na.png,1,0\nb.png,true,FALSE\n")
    dataset = load_dataset([tmp_path])
    assert dataset.attributes == ("Happy", "Tall")
    assert dataset.targets_NA.tolist() == [[1, 0], [1, 0]]
    assert "no split column: all rows are train" in dataset.describe()
    assert load_dataset([tmp_path / "mine.csv"]).names == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (" 1 ", " 7 ", r"'7' for .*expected 0 or 1"),
        (CELEBA[-1], "", r"do not fill rows"),
        ("10\n", "<!DOCTYPE html>\n", r"is a web page"),
    ],
)
def test_a_damaged_list_says_where(tmp_path: Path, old: str, new: str, why: str) -> None:
    path = write(tmp_path) / "Anno/list_attr_celeba.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=why) as caught:
        load_dataset([tmp_path])
    assert "list_attr_celeba.txt" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("Anno/list_attr_celeba.txt", "2\nA B\n", "no rows"),
        ("Eval/list_eval_partition.txt", "000001.jpg 0\n", "no row for 9 images"),
        ("Eval/list_eval_partition.txt", "000001.jpg\n", "no columns beside"),
        ("Eval/list_eval_partition.txt", "", "is empty"),
    ],
)
def test_an_incomplete_list_is_named(tmp_path: Path, name: str, content: str, why: str) -> None:
    (write(tmp_path) / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name}.*{why}"):
        load_dataset([tmp_path])


def test_a_partition_list_may_have_a_header(tmp_path: Path, reference: FaceDataset) -> None:
    path = write(tmp_path) / "Eval/list_eval_partition.txt"
    path.write_text("image_id partition\n" + path.read_text())
    np.testing.assert_array_equal(load_dataset([tmp_path]).splits_N, reference.splits_N)


def test_without_a_partition_list_the_error_says_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path)
    shutil.rmtree(tmp_path / "Eval")
    with pytest.raises(DataError, match=r"no list_eval_partition\.txt"):
        load_dataset([tmp_path])


def test_a_web_page_saved_as_zip_is_explained(tmp_path: Path) -> None:
    (write(tmp_path) / "Img/img_align_celeba.zip").write_text("<html>quota exceeded</html>")
    with pytest.raises(DataError, match=r"not a complete zip file.*Download it again"):
        load_dataset([tmp_path])


def test_the_png_archive_is_refused_with_the_remedy(tmp_path: Path) -> None:
    images = write(tmp_path) / "Img"
    (images / "img_align_celeba.zip").unlink()
    (images / "img_align_celeba_png.7z.001").touch()
    with pytest.raises(DataError, match="7z, which cannot be read here"):
        load_dataset([tmp_path])


def test_a_wrong_folder_says_what_was_looked_for_found_and_to_do(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").touch()
    with pytest.raises(DataError) as caught:
        load_dataset([tmp_path])
    message = str(caught.value)
    assert "looked for list_attr_celeba.txt" in message
    assert "found holiday.txt" in message
    assert "README" in message
    write(tmp_path / "CelebA")
    with pytest.raises(DataError, match=r"one folder deeper: give .*CelebA"):
        load_dataset([tmp_path])
    with pytest.raises(DataError, match="does not exist"):
        load_dataset([tmp_path / "nowhere"])


@pytest.mark.parametrize("part", ["Anno", "Img", "Img/img_align_celeba.zip"])
def test_a_part_of_a_data_set_names_the_whole(tmp_path: Path, part: str) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=f"a part of {tmp_path}: give that"):
        load_dataset([tmp_path / part])


def test_a_data_set_two_folders_deeper_is_named(tmp_path: Path) -> None:
    write(tmp_path / "archive/celeba")
    with pytest.raises(DataError, match=r"two folders deeper: give .*archive/celeba"):
        load_dataset([tmp_path])


@pytest.mark.parametrize("place", ["list_attr_celeba.txt", "img_align_celeba", "zip"])
def test_what_may_not_be_read_is_named(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "official" if place == "zip" else "torchvision")

    def refuse(path: object, *arguments: object, **options: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    owner, method = {
        "list_attr_celeba.txt": (Path, "read_bytes"),
        "img_align_celeba": (os, "scandir"),
        "zip": (zipfile, "ZipFile"),
    }[place]
    monkeypatch.setattr(owner, method, refuse)
    with pytest.raises(DataError, match=r"cannot .*permission denied") as caught:
        load_dataset([tmp_path])
    assert place in str(caught.value)


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = write(tmp_path) / "Img/img_align_celeba.zip"
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    dataset = load_dataset([tmp_path])
    with pytest.raises(UnreadableImageError, match=r"img_align_celeba\.zip.*000001\.jpg"):
        dataset.read(0)
    assert dataset.read(1).shape == (218, 178, 3)


def test_threads_read_the_same_as_one(reference: FaceDataset) -> None:
    rows = list(range(len(reference))) * 5
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(reference.read, rows))
    for row, frame in zip(rows, together, strict=True):
        np.testing.assert_array_equal(frame, reference.read(row))


@pytest.mark.celeba
def test_the_real_folders_have_the_rows_they_should(real_data: Path) -> None:
    dataset = load_dataset([real_data / "celeba"])
    assert dataset.attributes == CELEBA
    assert [len(dataset.split(s)) for s in SPLITS] == [52_433, 5_185, 4_548]
    assert dataset.identities_N is not None
    train = set(dataset.split("train").identities_N.tolist())  # type: ignore[union-attr]
    for split in ("validation", "test"):
        assert not train & set(dataset.split(split).identities_N.tolist())  # type: ignore[union-attr]
    for row in (0, 20_000, 62_000):
        assert dataset.read(row).shape == (218, 178, 3)
