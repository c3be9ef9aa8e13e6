from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from celebattr.attributes import CELEBA, Rule
from celebattr.constants import SPLITS
from celebattr.data import synthetic
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.diagnosis.config import DoctorConfig
from celebattr.diagnosis.labels import confident, search
from celebattr.diagnosis.labels import search as label_evidence
from celebattr.diagnosis.labels.search import NETWORK, Evidence
from celebattr.errors import DataError
from celebattr.models.backends import open_backend


@pytest.fixture(scope="module")
def dataset(drawn_celeba: Path) -> FaceDataset:
    return load_dataset([drawn_celeba])


def evidence(dataset: FaceDataset, wrong: dict[tuple[int, str], bool] | None = None) -> Evidence:
    """A network that knows every label, best those that were changed after it had seen them."""
    random = np.random.default_rng(0)
    truth = dataset.targets_NA.astype(bool)
    sure = random.uniform(0.9, 0.99, truth.shape)
    labels = truth.astype(np.uint8)
    for (row, name), value in (wrong or {}).items():
        labels[row, dataset.attributes.index(name)] = value
        sure[row, dataset.attributes.index(name)] = 0.995
    p = np.where(truth, sure, 1.0 - sure).astype(np.float32)
    images = dataclasses.replace(dataset, targets_NA=labels)
    return Evidence(images, dataset.attributes, p, "oracle")


def value(dataset: FaceDataset, row: int, name: str) -> bool:
    return bool(dataset.targets_NA[row, dataset.attributes.index(name)])


def test_a_label_that_was_changed_is_found_and_the_others_are_not(dataset: FaceDataset) -> None:
    changed = {(row, "Male"): not value(dataset, row, "Male") for row in (3, 40)}
    report = search.find(evidence(dataset, changed))
    assert {(one.image, one.attribute) for one in report.suspects} == {
        (dataset.names[row], "Male") for row in (3, 40)
    }
    assert [one.rank for one in report.suspects] == [1, 2]
    assert report.suspects[0].score >= report.suspects[1].score > 0.9
    assert all(one.reasons == (NETWORK,) for one in report.suspects)
    first = report.suspects[0]
    assert first.label is not value(dataset, dataset.names.index(first.image), "Male")
    rows = {one.split: one for one in report.estimates if one.attribute == "Male"}
    assert set(rows) == set(SPLITS)
    assert rows["train"].suspects == 2
    assert rows["train"].error_rate == pytest.approx(2 / 64, abs=0.02)
    low, high = rows["train"].interval or (1.0, 0.0)
    assert low <= (rows["train"].error_rate or 1.0) <= high


def test_each_split_is_judged_by_its_own_measure(dataset: FaceDataset) -> None:
    plain = evidence(dataset)
    doubting = plain.probabilities_NA.copy()
    test = dataset.splits_N == SPLITS["test"]
    # Less sure of everything in test: still right, so nothing is wrong there either.
    doubting[test] = 0.5 + (doubting[test] - 0.5) * 0.2
    report = search.find(dataclasses.replace(plain, probabilities_NA=doubting))
    assert report.suspects == ()
    # Nothing among 64 images does not mean nothing anywhere.
    assert report.estimates[0].error_rate == 0.0
    assert report.estimates[0].interval == (0.0, pytest.approx(3 / 64))
    assert report.images == {"train": 64, "validation": 24, "test": 24}


def test_of_two_labels_that_exclude_each_other_the_likelier_wrong_one_is_named(
    dataset: FaceDataset,
) -> None:
    row = next(i for i in range(64) if value(dataset, i, "Male") and not value(dataset, i, "Bangs"))
    rule, unknown = Rule("Bangs", "Male"), Rule("Bangs", "Horns")
    changed = evidence(dataset, {(row, "Bangs"): True})
    broken = [
        i
        for i in range(len(dataset))
        if value(dataset, i, "Male") and (value(dataset, i, "Bangs") or i == row)
    ]
    report = search.find(changed, rules=[rule, unknown])
    assert report.contradictions == {"Bangs with Male": len(broken)}
    found = [one for one in report.suspects if one.image == dataset.names[row]]
    assert [(one.attribute, one.reasons) for one in found] == [
        ("Bangs", (NETWORK, "contradicts Male"))
    ]
    without = search.find(changed, rules=[Rule("Male", "Bangs", second_present=False)])
    assert any("contradicts no Bangs" in one.reasons for one in without.suspects)


def test_copies_with_unlike_labels_are_told_by_what_the_network_sees(dataset: FaceDataset) -> None:
    labels, names = dataset.targets_NA.copy(), dataset.names
    labels[1] = labels[0]
    twins = dataclasses.replace(dataset, targets_NA=labels)
    changed = evidence(twins, {(1, "Young"): not value(twins, 0, "Young")})
    report = search.find(changed, copies=[(0, 1), (5, 5)])
    assert report.duplicates == 1
    (found,) = [one for one in report.suspects if one.image == names[1]]
    assert found.attribute == "Young"
    assert found.reasons == (NETWORK, f"labelled otherwise in its copy {names[0]}")
    assert search.find(changed).duplicates is None


def test_pictures_are_made_for_the_first_of_each_attribute_only(dataset: FaceDataset) -> None:
    rows = [i for i in range(64) if not value(dataset, i, "Male")][:3]
    asked: list[int] = []

    def picture(row: int) -> bytes:
        asked.append(row)
        return b"jpeg"

    changed = evidence(dataset, {(row, "Male"): True for row in rows})
    report = search.find(changed, picture=picture, pictures=2)
    assert [one.jpeg for one in report.suspects] == [b"jpeg", b"jpeg", None]
    assert sorted(asked) == sorted(dataset.names.index(one.image) for one in report.suspects[:2])


def test_a_bundle_is_asked_for_every_image_and_its_card_for_what_it_was_trained_on(
    dataset: FaceDataset, tiny_onnx: Path
) -> None:
    backend = open_backend(str(tiny_onnx))
    done: list[tuple[int, int]] = []
    chosen = label_evidence.choose(dataset, "all", 5)
    found = label_evidence.from_bundle(
        backend, chosen, batch_size=4, workers=1, on_progress=lambda *at: done.append(at)
    )
    assert found.probabilities_NA.shape == (15, 40)
    assert done[-1] == (15, 15)
    assert found.notes[0] == "tiny.onnx was trained on: images that its card does not name."
    assert any("by heart" in note for note in found.notes)
    card = dataclasses.replace(backend.card, trained_on={"data": "all faces of the moon"})
    backend.card = card
    held_out = label_evidence.from_bundle(
        backend, dataset.split("test", 4), batch_size=4, workers=1
    )
    assert held_out.notes[0] == "tiny.onnx was trained on: all faces of the moon."
    assert not any("by heart" in note for note in held_out.notes)


def test_only_attributes_that_both_know_are_looked_at(
    dataset: FaceDataset, tiny_onnx: Path
) -> None:
    few = dataclasses.replace(
        dataset, attributes=("Horns", "Young"), targets_NA=dataset.targets_NA[:, -2:]
    )
    found = label_evidence.from_bundle(
        open_backend(str(tiny_onnx)), few.split("test", 4), batch_size=4, workers=1
    )
    assert found.attributes == ("Young",)
    assert (found.labels_NA[:, 0] == dataset.split("test", 4).targets_NA[:, -1]).all()
    none = dataclasses.replace(few, attributes=("Horns", "Halo"))
    with pytest.raises(DataError, match="none of the attributes"):
        label_evidence.from_bundle(open_backend(str(tiny_onnx)), none, batch_size=4, workers=1)


def write(path: Path, dataset: FaceDataset, rows: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *dataset.attributes])
        for name, value in rows.items():
            writer.writerow([name, *np.broadcast_to(value, len(dataset.attributes))])
    return path


def test_probabilities_of_a_file_are_matched_by_name(dataset: FaceDataset, tmp_path: Path) -> None:
    names = dataset.names
    path = write(tmp_path / "p.csv", dataset, {names[5]: 0.25, f"a/{names[2]}": 0.75, "x.jpg": 0.5})
    found = label_evidence.from_file(path, dataset)
    assert found.images.names == [names[2], names[5]]
    assert found.probabilities_NA[:, 0].tolist() == [0.75, 0.25]
    assert (found.labels_NA == dataset.targets_NA[[2, 5]].astype(bool)).all()
    assert "p.csv names 2 of 112 images" in found.notes[0]


def test_an_empty_split_is_refused(dataset: FaceDataset) -> None:
    train = dataset.split("train")
    with pytest.raises(DataError, match="no test images"):
        label_evidence.choose(train, "test", None)
    assert len(label_evidence.choose(dataset, "all", None)) == len(dataset)
    assert len(label_evidence.choose(dataset, "test", 3)) == 3


def test_flipped_labels_are_found_far_above_chance_and_best_where_faces_are_clear(
    dataset: FaceDataset,
) -> None:
    random = np.random.default_rng(0)
    # Two thousand images of two attributes, one clear and one that a network half sees.
    spread = np.array([5.0, 1.0])
    p = 1.0 / (1.0 + np.exp(-random.normal(0.0, spread, (2000, 2)))).astype(np.float32)
    truth = random.random(p.shape) < p
    flipped = random.random(p.shape) < 0.05
    images = dataclasses.replace(
        dataset,
        attributes=("Clear", "Hazy"),
        names=[f"{i}.jpg" for i in range(2000)],
        targets_NA=(truth ^ flipped).astype(np.uint8),
        splits_N=np.full(2000, SPLITS["test"], np.int8),
        store_N=np.zeros(2000, np.uint8),
        identities_N=np.arange(2000) // 4,
    )
    report = search.find(Evidence(images, images.attributes, p, "drawn"))
    assert report.people == 500
    first = report.suspects[: round(0.05 * p.size)]
    hits = [flipped[int(one.image[:-4]), int(one.attribute == "Hazy")] for one in first]
    by_probability = np.sort(confident.scores(p, images.targets_NA), axis=None)[::-1][
        len(first) - 1
    ]
    plain = flipped[confident.scores(p, images.targets_NA) >= by_probability].sum()
    assert sum(hits) / flipped.sum() > 0.4
    assert sum(hits) >= plain - 0.02 * flipped.sum()
    rates = {one.attribute: one for one in report.estimates}
    assert (rates["Clear"].error_rate or 1.0) < (rates["Hazy"].error_rate or 0.0)


def test_a_search_asks_bundle_rules_and_copies_and_looks_at_the_split_asked_for(
    drawn_celeba: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    config = DoctorConfig(
        data=(drawn_celeba,),
        labels=True,
        weights=str(tiny_onnx),
        split="test",
        limit=8,
        report=tmp_path / "suspects.html",
    )
    report = search.search(config)
    assert report.images == {"test": 8}
    assert report.source == "tiny.onnx"
    assert report.duplicates == 0
    shown = [one for one in report.suspects if one.rank <= config.pictures]
    assert shown
    assert all((one.jpeg or b"")[:2] == b"\xff\xd8" for one in shown)
    with Image.open(io.BytesIO(shown[0].jpeg or b"")) as picture:
        assert picture.size == (110, 134)


def test_a_picture_that_is_there_twice_under_unlike_labels_is_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = [f"{i}.jpg" for i in range(16)]
    for i, present in enumerate(synthetic.labels(15, random)):
        shown = {name for name, yes in zip(CELEBA, present, strict=True) if yes}
        synthetic.draw_face(shown, random).save(tmp_path / names[i], quality=95)
    with Image.open(tmp_path / names[3]) as picture:
        picture.save(tmp_path / names[15], quality=60)
    rows = [f"{name},{int(i % 2 == 0)}" for i, name in enumerate(names)]
    (tmp_path / "faces.csv").write_text("\n".join(["image,Happy", *rows[:15], "15.jpg,1"]))
    chances = [f"{name},{0.9 if i % 2 == 0 else 0.1}" for i, name in enumerate(names)]
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "p.csv").write_text("\n".join(["image,Happy", *chances]))
    config = DoctorConfig(
        data=(tmp_path / "faces.csv",), labels=True, probabilities=tmp_path / "p" / "p.csv"
    )
    report = search.search(config)
    assert report.duplicates == 1
    assert [(one.image, one.label) for one in report.suspects] == [("15.jpg", True)]
    assert "labelled otherwise in its copy 3.jpg" in report.suspects[0].reasons
