from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.data.soft_labels import soften
from celebattr.errors import DataError


@pytest.fixture(scope="module")
def train_set(drawn_celeba: Path) -> FaceDataset:
    return load_dataset([drawn_celeba]).split("train", 6)


def write(path: Path, train_set: FaceDataset, rows: list[tuple[str, float | str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "status", *train_set.attributes])
        for name, value in rows:
            writer.writerow([name, "ok", *[value] * len(train_set.attributes)])
    return path


def test_named_images_become_soft_and_the_others_stay(
    train_set: FaceDataset, tmp_path: Path
) -> None:
    names = train_set.names
    path = write(
        tmp_path / "soft.csv",
        train_set,
        [(f"some/folder/{names[3]}", 0.25), (names[0], 0.75), (names[1], ""), ("other.jpg", 0.5)],
    )
    soft = soften(train_set, [path], 1.0)
    assert soft.targets_NA.dtype == np.float32
    assert (soft.targets_NA[3] == 0.25).all()
    assert (soft.targets_NA[0] == 0.75).all()
    np.testing.assert_array_equal(soft.targets_NA[[1, 2, 4, 5]], train_set.targets_NA[[1, 2, 4, 5]])


def test_an_image_that_several_files_name_gets_their_mean(
    train_set: FaceDataset, tmp_path: Path
) -> None:
    first, second = train_set.names[:2]
    one = write(tmp_path / "one.csv", train_set, [(first, 0.25), (second, 0.5)])
    other = write(tmp_path / "other.csv", train_set, [(first, 0.75)])
    soft = soften(train_set, [one, other], 1.0)
    assert (soft.targets_NA[:2] == 0.5).all()
    np.testing.assert_array_equal(soft.targets_NA[2:], train_set.targets_NA[2:])


def test_without_a_file_nothing_changes(train_set: FaceDataset) -> None:
    assert soften(train_set, [], 0.6) is train_set


def test_the_weight_mixes_them_with_the_labels(train_set: FaceDataset, tmp_path: Path) -> None:
    path = write(tmp_path / "soft.csv", train_set, [(train_set.names[2], 0.25)])
    soft = soften(train_set, [path], 0.6)
    expected = 0.4 * train_set.targets_NA[2] + 0.6 * 0.25
    np.testing.assert_allclose(soft.targets_NA[2], expected, rtol=1e-6)
    np.testing.assert_array_equal(soft.targets_NA[3:], train_set.targets_NA[3:])
    np.testing.assert_array_equal(soften(train_set, [path], 0.0).targets_NA, train_set.targets_NA)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("{0}", 1.5)], r"has the value 1\.5; expected probabilities"),
        ([("{0}", "nan")], "has the value nan"),
        ([("{0}", "high")], "not a number"),
        ([("{0}", 0.1), ("again/{0}", 0.2)], "more than one row"),
        ([("nobody.jpg", 0.1)], "names none of the 6 images"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    train_set: FaceDataset,
    tmp_path: Path,
    rows: list[tuple[str, float | str]],
    message: str,
) -> None:
    filled = [(name.format(train_set.names[0]), value) for name, value in rows]
    path = write(tmp_path / "soft.csv", train_set, filled)
    with pytest.raises(DataError, match=message) as caught:
        soften(train_set, [path], 0.6)
    assert "soft.csv" in str(caught.value)


def test_a_file_without_all_attributes_is_refused(train_set: FaceDataset, tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text(f"image,Smiling\n{train_set.names[0]},0.5\n")
    with pytest.raises(DataError, match="no column 5_o_Clock_Shadow"):
        soften(train_set, [path], 0.6)
