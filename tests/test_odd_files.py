"""JSON of strangers with odd types and numbers: refused in one sentence, or read; nothing else."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import samples
import torch
from safetensors.torch import save

from celebattr import api
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import CelebattrError
from celebattr.evaluation.model_card import markdown
from celebattr.inference.config import PredictConfig
from celebattr.inference.faces import Prepared
from celebattr.inference.inputs.source import Input
from celebattr.inference.output import manifest
from celebattr.inference.predictor import Predictor
from celebattr.models import bundle, registry
from celebattr.models.card import NO_HASH, Card
from celebattr.models.preprocess import PreprocessSpec
from celebattr.training import checkpoint, defaults

Read = Callable[[str], Any]
"""Writes a file with the text in the place of its JSON, and reads it as a user would."""


def card_of_safetensors(folder: Path) -> tuple[dict[str, Any], Read]:
    torch.manual_seed(0)
    names = ("Smiling", "Male", "Young")
    counts = np.ones((2, 3, 100), int).tolist()
    metrics = {"test": {"images": 9, "mean_attribute_accuracy": 0.9, "intervals": {}}}
    card = Card(
        "tiny", "mlp", names, PreprocessSpec((32, 32)).to_dict(), (8,), counts=counts,
        metrics=metrics, trained_on={"data": "x", "images": 9, "started_from": {"data": "y"}},
    )  # fmt: skip
    tensors = registry.build(card.spec).state_dict()
    path = folder / "odd.safetensors"

    def read(text: str) -> None:
        data = save(tensors, metadata={bundle.METADATA_KEY: text})
        path.write_bytes(bundle.seal(data) if data.count(NO_HASH.encode()) == 1 else data)
        predictor = Predictor(PredictConfig(weights=str(path), operating_point="f1"))
        crop = np.zeros((218, 178, 3), np.uint8)
        for row in predictor.finish([Prepared(Input("x"), (None,), (crop,), (None,), 1)])[0]:
            json.dumps(row.row(), allow_nan=False)
        shown = bundle.card_of(path).to_json()
        markdown(json.loads(shown))
        json.dumps(json.loads(shown), allow_nan=False)

    return json.loads(card.to_json()), read


def run_manifest(folder: Path) -> tuple[dict[str, Any], Read]:
    options = {name: getattr(PredictConfig(), name) for name in manifest.OPTIONS}
    nothing = manifest.Names().sha256
    run = manifest.Run(
        {"name": "a", "sha256": "b"}, options | {"attributes": ["Smiling"]}, "jsonl", (1, 1),
        finished=True, counts={"inputs": 0}, sha256=nothing, inputs_sha256=nothing,
    )  # fmt: skip
    rows = folder / "rows.jsonl"
    rows.write_text("")

    def read(text: str) -> None:
        manifest.about(rows).write_text(text)
        api.merge([rows], folder / "merged.jsonl", overwrite=True)

    return json.loads(run.to_json()), read


def shard_file(name: str) -> Callable[[Path, Path], tuple[dict[str, Any], Read]]:
    def made(folder: Path, drawn: Path) -> tuple[dict[str, Any], Read]:
        api.pack(drawn, folder / "shards", limit=4)
        file = folder / "shards" / name

        def read(text: str) -> None:
            file.write_text(text)
            dataset = load_dataset((folder / "shards",))
            dataset.read(0)

        return json.loads(file.read_text()), read

    return made


def of_checkpoint(folder: Path) -> tuple[dict[str, Any], Read]:
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    recipe = samples.config(folder, folder).recipe()
    row = {"epoch": 1, "validation_mean_average_precision": 0.5, "image_size": "32x32"}
    checkpoint.write(
        folder, checkpoint.Progress(history=[row]), recipe, {}, network, None, optimizer  # type: ignore[arg-type]
    )  # fmt: skip
    data = checkpoint.load(folder)
    state = json.loads(bundle.safetensors_metadata(data, "x")["state"])

    def read(text: str) -> None:
        # A hash that fits: what is looked at here comes after it.
        tensors = {f"network.{n}": t for n, t in network.state_dict().items()}
        odd = save(tensors, metadata={"state": text})
        with mock.patch.object(bundle, "intact", lambda data, sha256: True):
            checkpoint.restore(odd, folder / "odd", recipe, {}, network, None, optimizer)  # type: ignore[arg-type]

    return state, read


def config_of_a_run(folder: Path) -> tuple[dict[str, Any], Read]:
    config = samples.config(folder, folder, resume=True)
    settings = defaults.complete(dataclasses.replace(config, resume=False), 100, "cpu")

    def read(text: str) -> None:
        (folder / "config.json").write_text(text)
        defaults.complete(dataclasses.replace(config, epochs=None, image_size=None), 100, "cpu")

    return json.loads(settings.to_json()), read


KINDS: dict[str, Any] = {
    "card": lambda folder, drawn: card_of_safetensors(folder),
    "manifest": lambda folder, drawn: run_manifest(folder),
    "shards": shard_file("manifest.json"),
    "index": shard_file("test-000000.index.json"),
    "checkpoint": lambda folder, drawn: of_checkpoint(folder),
    "config": lambda folder, drawn: config_of_a_run(folder),
}
DEEP = "deeply nested"
ODD = [
    *(None, True, -1, 0, 7, 2**62, 10**40, 1e300, -0.5, float("nan"), float("inf")),
    *(
        "",
        "x",
        "\x1b[31mred",
        "../../etc",
        "\ud800",
        [],
        [[]],
        {},
        {"a": {"b": []}},
        [1] * 50,
        DEEP,
    ),
]


def changed(values: Any, chance: random.Random) -> str:
    """JSON with one to three values taken out, doubled, or replaced by odd ones."""
    values = copy.deepcopy(values)
    for _ in range(chance.randint(1, 3)):
        at = values
        while True:
            keys = list(at) if isinstance(at, dict) else range(len(at))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(at[key], dict | list) and at[key] and chance.random() < 0.7:
                at = at[key]
                continue
            if chance.random() < 0.2:
                del at[key]
            else:
                at[key] = copy.deepcopy(chance.choice(ODD))
            break
    deep = "[" * 200_000 + "]" * 200_000
    return json.dumps(values).replace(f'"{DEEP}"', deep)


def attack(kind: str, folder: Path, drawn: Path, seeds: range) -> None:
    values, read = KINDS[kind](folder, drawn)
    read(json.dumps(values))  # as it is, it is read
    refused = 0
    for seed in seeds:
        text = changed(values, random.Random(seed))
        try:
            read(text)
        except CelebattrError as error:
            refused += 1
            assert len(str(error)) < 1000, f"seed {seed}: {error}"
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {text[:2000]}") from error
    assert refused > len(seeds) / 4
    for text in ("", "null", "[]", '{"schema": 1', "[" * 200_000, '{"schema": 1}', "\ufeff{}"):
        with pytest.raises(CelebattrError):
            read(text)


@pytest.mark.parametrize("kind", KINDS)
def test_odd_files_are_refused_in_one_sentence(
    kind: str, tmp_path: Path, drawn_celeba: Path
) -> None:
    attack(kind, tmp_path, drawn_celeba, range(40))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_many_odd_files_are_refused_in_one_sentence(
    kind: str, tmp_path: Path, drawn_celeba: Path
) -> None:
    attack(kind, tmp_path, drawn_celeba, range(1000, 2000))
