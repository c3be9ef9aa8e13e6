"""`train --folds`: runs that leave out a fold each, and their out-of-fold probabilities."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from layouts import write_celeba

import celebattr
from celebattr.data.dataset import leave_out_fold
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import DataError, UsageError
from celebattr.models import bundle
from celebattr.training import folds, loop
from celebattr.training.config import TrainConfig

FOLDS = 3


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of people who have two images each."""
    folder = write_celeba(tmp_path_factory.mktemp("faces"), train=30, validation=6, test=6)
    people = (f"{name} {row // 2}\n" for row, name in enumerate(load_dataset([folder]).names))
    (folder / "identity_CelebA.txt").write_text("".join(people))
    return folder


def config(data: Path, output: Path, **changes: Any) -> TrainConfig:
    settings = {"limit": None, "faces": "none", "thumbnails": False, "folds": FOLDS}
    return samples.config(data, output, **settings | changes)


class Watch(loop.Logger):
    """Counts epochs; cuts the power after some."""

    def __init__(self, most: int = 1000) -> None:
        self.most, self.epochs = most, 0

    def epoch(self, row: dict[str, Any]) -> None:
        self.epochs += 1
        if self.epochs > self.most:
            raise RuntimeError("power failure")


def named(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row["image"] for row in csv.DictReader(file)]


@pytest.mark.usefixtures("no_pictures")
def test_every_training_image_is_scored_by_the_network_that_did_not_see_it(
    faces: Path, tmp_path: Path
) -> None:
    whole = folds.train(config(faces, tmp_path / "whole"))
    assert whole == tmp_path / "whole/out-of-fold.csv"
    train = load_dataset([faces]).split("train")
    assert sorted(named(whole)) == sorted(train.names)
    assert train.identities_N is not None
    person = dict(zip(train.names, train.identities_N.tolist(), strict=True))
    parts = [named(tmp_path / f"whole/fold-{fold}/out-of-fold.csv") for fold in (1, 2, 3)]
    people = [{person[name] for name in part} for part in parts]
    assert all(people)
    assert sum(map(len, people)) == len(set(person.values()))
    for fold, part in enumerate(parts, 1):
        card = bundle.card_of(tmp_path / f"whole/fold-{fold}/best.safetensors")
        assert card.trained_on["images"] == len(train) - len(part)
        assert (card.training["folds"], card.training["fold"]) == (FOLDS, fold)

    # Cut off in the second fold; the first is not trained again.
    cut = config(faces, tmp_path / "cut")
    with pytest.raises(RuntimeError, match="power failure"):
        folds.train(cut, Watch(most=2))
    with pytest.raises(DataError, match=r"fold-1 already holds a run: give --resume"):
        folds.train(cut)
    watch = Watch()
    again = folds.train(dataclasses.replace(cut, resume=True), watch)
    assert watch.epochs == 2 * FOLDS - 3
    assert again.read_bytes() == whole.read_bytes()
    with pytest.raises(UsageError, match="different settings: seed 0"):
        folds.train(dataclasses.replace(cut, resume=True, seed=1))

    # One fold by itself is the same fold.
    alone = folds.train(config(faces, tmp_path / "alone", fold=2))
    assert alone == tmp_path / "alone/fold-2/out-of-fold.csv"
    assert alone.read_bytes() == (tmp_path / "whole/fold-2/out-of-fold.csv").read_bytes()
    assert not (tmp_path / "alone/fold-1").exists()

    report = celebattr.doctor(faces, labels=True, probabilities=whole, faces="none")
    assert report.images == {"train": len(train)}


@pytest.mark.usefixtures("no_pictures")
def test_of_the_first_images_each_is_scored_and_the_others_are_not_used(
    faces: Path, tmp_path: Path
) -> None:
    names = load_dataset([faces]).split("train", 12).names
    written = celebattr.train(
        **{**dataclasses.asdict(config(faces, tmp_path / "run", limit=12)), "folds": 2}
    )
    assert sorted(named(written)) == names
    for fold in (1, 2):
        card = bundle.card_of(tmp_path / f"run/fold-{fold}/best.safetensors")
        left_out = named(tmp_path / f"run/fold-{fold}/out-of-fold.csv")
        assert card.trained_on["images"] == 12 - len(left_out)


def test_folds_that_cannot_be_are_refused(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--fold is part of --folds"):
        TrainConfig(fold=2)
    with pytest.raises(UsageError, match="--fold 4 is outside 1 to 3"):
        TrainConfig(folds=3, fold=4)
    with pytest.raises(DataError, match=r"--folds 100: there are \d+ people to train on"):
        folds.train(config(faces, tmp_path / "run", folds=100))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.raises(UsageError, match="start it without torchrun"):
        folds.train(config(faces, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_one_image_per_person_needs_no_people(faces: Path) -> None:
    dataset = dataclasses.replace(load_dataset([faces]), identities_N=None)
    held = [leave_out_fold(dataset, fold, 4, seed=1)[1] for fold in (1, 2, 3, 4)]
    assert sorted(map(len, held)) == [7, 7, 8, 8]
    np.testing.assert_array_equal(
        np.sort(np.concatenate(held)), np.flatnonzero(dataset.splits_N == 0)
    )
