from __future__ import annotations

import dataclasses
import pickle
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import celebattr
from celebattr.cli.app import app
from celebattr.errors import WeightsError
from celebattr.inference.config import SPEEDS
from celebattr.models import bundle, registry, weights
from celebattr.models.backends import open_backend
from celebattr.models.card import Card
from celebattr.models.preprocess import PreprocessSpec

ATTRIBUTES = ("Smiling", "Young", "Bald")


@pytest.fixture
def card() -> Card:
    return Card("tiny", "resnet18", ATTRIBUTES, PreprocessSpec((64, 48)).to_dict(), scale=(1, 2, 3))


@pytest.fixture
def path(card: Card, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    target = tmp_path / "tiny.safetensors"
    bundle.save(target, card, registry.build(card.spec).state_dict())
    return target


def test_a_bundle_comes_back_with_its_card_and_the_same_logits(path: Path, card: Card) -> None:
    torch.manual_seed(0)
    expected = registry.build(card.spec).eval()  # the seed of the fixture: the same weights
    images = torch.randn(2, 3, 64, 48)
    loaded_card, network = bundle.load(path)
    assert dataclasses.replace(loaded_card, sha256=card.sha256) == card
    with torch.no_grad():
        # Half precision holds three digits.
        torch.testing.assert_close(network(images), expected(images), rtol=2e-2, atol=2e-2)


def test_filters_are_stored_in_half_precision_and_norms_in_full(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("backbone.conv1.weight").dtype == torch.float16
        assert file.get_tensor("backbone.bn1.running_var").dtype == torch.float32


def test_one_flipped_bit_is_noticed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="is damaged: its sha256"):
        bundle.load(path)


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
@pytest.mark.parametrize("left", [0, 9, 90, 0.5, 0.99, -1])
def test_a_part_of_a_bundle_is_called_so(
    path: Path, tiny_onnx: Path, tmp_path: Path, kind: str, left: float
) -> None:
    data = (tiny_onnx if kind == "onnx" else path).read_bytes()
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(data[: int(left * len(data)) if 0 < left < 1 else left])
    with pytest.raises(WeightsError, match=rf"cut\.{kind} is cut off, .* copy it again"):
        bundle.read(cut)


def test_a_pointer_of_git_lfs_is_called_so(tmp_path: Path) -> None:
    pointer = tmp_path / "best.safetensors"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n")
    for read in (bundle.card_of, bundle.load):
        with pytest.raises(WeightsError, match=r"is a Git LFS pointer.*run `git lfs pull`"):
            read(pointer)


def test_an_onnx_bundle_that_an_optimiser_rewrote_is_sealed_once_its_outputs_fit(
    tiny_onnx: Path, tmp_path: Path
) -> None:
    import onnx

    path, model = tmp_path / "changed.onnx", onnx.load(tiny_onnx)
    model.producer_name = "an optimiser"
    onnx.save(model, path)
    with pytest.raises(WeightsError, match=r"changed since it was sealed.*export --seal .*changed"):
        open_backend(str(path))
    done = CliRunner().invoke(app, ["export", "--seal", str(path)])
    assert (done.exit_code, done.stdout) == (0, f"{path}\n")
    crops = np.zeros((1, 218, 178, 3), np.uint8)
    same = open_backend(str(tiny_onnx)).logits(crops)
    np.testing.assert_array_equal(open_backend(str(path)).logits(crops), same)
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(np.full(40, 9.0, np.float32), "scale"))
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="its outputs are not what its card says"):
        celebattr.export(path, seal=True)
    path.write_bytes(tiny_onnx.read_bytes()[:-1])
    for use in (open_backend, lambda name: celebattr.export(name, seal=True)):
        with pytest.raises(WeightsError, match=r"changed\.onnx is cut off"):
            use(str(path))


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.safetensors", "model.onnx"])
def test_a_pickle_is_never_loaded_whatever_its_name(tmp_path: Path, name: str) -> None:
    plain, zipped = tmp_path / f"plain-{name}", tmp_path / f"zipped-{name}"
    plain.write_bytes(pickle.dumps({"weights": [1.0] * 100}))
    torch.save({"weights": torch.zeros(4)}, zipped)
    for file in (plain, zipped):
        with pytest.raises(WeightsError, match=r"a pickle, which is never loaded"):
            bundle.read(file)


def test_safetensors_without_a_card_is_not_a_bundle(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(100)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="has no card"):
        bundle.card_of(tmp_path / "x.safetensors")


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(WeightsError, match="Did you mean celebattr-resnet50"):
        weights.bundle_file("celebattr-resnet5")


@pytest.mark.parametrize("speed", SPEEDS)
def test_each_speed_has_a_bundle_for_cpus_and_one_for_gpus(speed: str) -> None:
    on_cpu, on_gpu = (weights.bundle_file(speed, gpu=gpu) for gpu in (False, True))
    assert (bundle.card_of(on_cpu).precision, bundle.card_of(on_gpu).precision) == (
        "int8",
        "float16",
    )
    assert bundle.card_of(on_cpu).name == bundle.card_of(on_gpu).name == weights.SPEEDS[speed]


def test_without_a_name_it_is_the_accurate_one() -> None:
    assert tuple(weights.SPEEDS) == SPEEDS
    assert weights.bundle_file(None) == weights.bundle_file(SPEEDS[0])


def test_a_run_folder_stands_for_its_best_bundle(path: Path) -> None:
    best = path.with_name("best.safetensors")
    path.rename(best)
    assert weights.bundle_file(str(best.parent)) == best


def test_a_card_of_a_newer_schema_asks_for_an_update(card: Card) -> None:
    text = dataclasses.replace(card, schema=99).to_json()
    with pytest.raises(WeightsError, match="update celebattr"):
        Card.from_json(text, "x")


def test_an_attribute_with_the_separator_of_lists_is_refused(card: Card) -> None:
    text = dataclasses.replace(card, attributes=("Smiling", "a;b", "Bald")).to_json()
    with pytest.raises(WeightsError, match=r"card of x\.onnx: the attribute 'a;b' .*train again"):
        Card.from_json(text, "x.onnx")


def test_a_card_must_have_one_value_an_attribute() -> None:
    with pytest.raises(WeightsError, match="2 values of scale for 3 attributes"):
        Card("x", "resnet18", ATTRIBUTES, {}, scale=(1.0, 2.0))


def test_onnx_cannot_be_loaded_for_training_or_export(tiny_onnx: Path) -> None:
    with pytest.raises(WeightsError, match=r"is ONNX: give the \.safetensors bundle"):
        bundle.load(tiny_onnx)
    with pytest.raises(WeightsError, match="is ONNX"):
        bundle.tensors_in(bundle.read(tiny_onnx), tiny_onnx)


@pytest.mark.parametrize("which", ["tiny_bundle", "tiny_onnx"])
def test_a_card_is_rewritten_without_touching_the_weights(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = tmp_path / request.getfixturevalue(which).name
    path.write_bytes(request.getfixturevalue(which).read_bytes())
    card = bundle.card_of(path)
    frames = np.random.default_rng(0).integers(0, 256, (2, 218, 178, 3), dtype=np.uint8)
    before = open_backend(str(path), device="cpu", precision="auto").logits(frames)
    longer = dataclasses.replace(card, metrics={"test": {"images": 7, "note": "é" * 1001}})
    bundle.rewrite(path, longer)
    again = bundle.card_of(path)
    assert again.metrics["test"]["images"] == 7
    assert again.sha256 != card.sha256
    after = open_backend(str(path), device="cpu", precision="auto").logits(frames)
    np.testing.assert_array_equal(before, after)


def test_a_damaged_bundle_is_not_given_a_new_card(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / tiny_bundle.name
    data = bytearray(tiny_bundle.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="damaged"):
        bundle.rewrite(path, bundle.card_of(path))
    assert path.read_bytes() == bytes(data)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preprocess": {"size": [10**6, 10**6]}}, "an input of "),
        ({"head": (10**9, 10**9)}, "hidden layers of"),
        ({"head": (8192, 8192)}, "does not fit resnet18"),
        ({"arch": "linear", "preprocess": {"size": [1024, 1024]}}, "does not fit linear"),
    ],
)
def test_a_card_that_asks_for_more_than_the_file_holds_takes_no_memory(
    changes: dict[str, Any], said: str, path: Path, card: Card, tmp_path: Path
) -> None:
    changes = changes | {"preprocess": card.preprocess | changes.get("preprocess", {})}
    hostile = tmp_path / "hostile.safetensors"
    tensors = bundle.tensors_in(bundle.read(path), path)
    bundle.save(hostile, dataclasses.replace(card, **changes), tensors)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match=said):
        open_backend(str(hostile), device="cpu")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # 512 MiB
