"""Heat maps: exact where they claim to be, and in their place on the photo."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from celebattr.data import synthetic
from celebattr.errors import UsageError, WeightsError
from celebattr.inference.draw.heatmaps import STAGES, Explainer
from celebattr.models import bundle, registry
from celebattr.models.card import Card
from celebattr.models.preprocess import PreprocessSpec
from celebattr.predictions import Prediction

NAMES = ("Smiling", "Eyeglasses", "Bald")
HEADS = {"mlp": (8,), "cnn": (8,)}


def saved(folder: Path, arch: str, head: tuple[int, ...] | None = None) -> str:
    torch.manual_seed(0)
    head = HEADS.get(arch, ()) if head is None else head
    card = Card("x", arch, NAMES, PreprocessSpec((64, 48)).to_dict(), head=head)
    network = registry.build(card.spec)
    last = list(network.head.parameters())[-2]
    nn.init.normal_(last, std=0.1)
    bundle.save(folder / "x.safetensors", card, network.state_dict())
    return str(folder / "x.safetensors")


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    random = np.random.default_rng(0)
    return np.stack([np.asarray(synthetic.draw_face({"Smiling"}, random)) for _ in range(2)])


@pytest.mark.parametrize("arch", registry.CATALOG)
def test_every_architecture_has_a_map_an_attribute(
    arch: str, tmp_path: Path, frames: np.ndarray
) -> None:
    maps = Explainer(saved(tmp_path, arch)).maps(frames, ["Bald", "Smiling"])
    assert maps.shape == (2, 2, 218, 178)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert (maps[:, 0] != maps[:, 1]).any()


def outputs(explainer: Explainer, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What the stages that are looked at put out, and the logits."""
    features: list[torch.Tensor] = []
    hooks = [
        stage[-1].register_forward_hook(lambda *call: features.append(call[2]))
        for stage in explainer._network.stages[:STAGES]
    ]
    logits = explainer._network(images)
    for hook in hooks:
        hook.remove()
    return features, logits


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "cnn"])
def test_a_map_is_the_product_of_layercams(
    arch: str, tmp_path: Path, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celebattr.inference.draw.heatmaps.BLUR", 1e-3)
    explainer = Explainer(saved(tmp_path, arch))
    images = explainer._preprocess(torch.tensor(frames)).requires_grad_()
    features, logits = outputs(explainer, images)
    assert len(features) == 3
    expected = np.ones((2, 218, 178))
    for feature, gradient in zip(
        features, torch.autograd.grad(logits[:, 1].sum(), features), strict=True
    ):
        cam = (feature * gradient.clamp(min=0)).sum(dim=1, keepdim=True)
        assert (gradient < 0).any()
        large = explainer._enlarged(cam, images.shape[2:])[:, 0]
        expected *= large / large.max(axis=(1, 2), keepdims=True)
    maps = explainer.maps(frames, [NAMES[1]])[:, 0]
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-6)
    assert maps.max() > 0.01


@pytest.mark.parametrize("arch", ["resnet50", "cnn"])
def test_a_place_of_a_map_lies_on_the_pixels_that_it_sees(arch: str, tmp_path: Path) -> None:
    explainer = Explainer(saved(tmp_path, arch))
    if arch == "resnet50":
        assert explainer._network.spec.output_stride == 8
    images = torch.randn(1, 3, *explainer._network.spec.size, requires_grad=True)
    for feature in outputs(explainer, images)[0]:
        places = feature.shape[2:]
        row, column = (side // 2 for side in places)
        (gradient,) = torch.autograd.grad(
            feature[0, :, row, column].sum(), images, retain_graph=True
        )
        seen_HW = gradient.abs().sum(dim=(0, 1))
        shares = [seen_HW.sum(dim=1 - axis) / seen_HW.sum() for axis in (0, 1)]
        middle = [float((s * (torch.arange(len(s)) + 0.5)).sum() / len(s)) for s in shares]
        one = torch.zeros(1, 1, *places)
        one[0, 0, row, column] = 1.0
        large_HW = explainer._enlarged(one, images.shape[2:])[0, 0]
        # The middle of what lies at half of the peak and more.
        peak = [float(v.mean() + 0.5) for v in np.nonzero(large_HW > large_HW.max() / 2)]
        shared = [p / side for p, side in zip(peak, large_HW.shape, strict=True)]
        np.testing.assert_allclose(middle, shared, atol=0.04)


def test_a_linear_models_map_sums_up_to_its_logit(tmp_path: Path, frames: np.ndarray) -> None:
    explainer = Explainer(saved(tmp_path, "linear"))
    network, images = explainer._network, explainer._preprocess(torch.from_numpy(frames))
    summands = explainer._of_pixels(images.clone(), [0, 1, 2]).sum(dim=(2, 3))
    with torch.no_grad():
        expected = network(images) - network.head[-1].bias
    torch.testing.assert_close(summands, expected, rtol=1e-4, atol=1e-4)


def test_hidden_layers_get_another_map_than_a_linear_head(
    tmp_path: Path, frames: np.ndarray
) -> None:
    maps = Explainer(saved(tmp_path, "resnet18", (8,))).maps(frames, ["Smiling"])
    assert maps.shape == (2, 1, 218, 178)


def test_a_map_lies_on_the_photo_where_its_face_lies(tmp_path: Path, frames: np.ndarray) -> None:
    explainer = Explainer(saved(tmp_path, "unet"))
    face = Prediction("x", 1, 1, None, {}, [], [])
    alone = explainer.on_photo(frames[0], face, ["Smiling"])
    np.testing.assert_allclose(alone, explainer.maps(frames[:1], ["Smiling"])[0], atol=1e-5)
    # The same face twice as large, its corner at x 30, y 10 of a larger photo.
    photo = np.zeros((600, 500, 3), np.uint8)
    large = Image.fromarray(frames[0]).resize((356, 436), Image.Resampling.NEAREST)
    photo[10:446, 30:386] = np.asarray(large)
    # The middle of pixel i of the frame is pixel 2 i + 0.5 of the photo's part.
    to_frame = (0.5, 0.0, -(30 + 0.5) / 2, 0.0, 0.5, -(10 + 0.5) / 2)
    placed = explainer.on_photo(photo, dataclasses.replace(face, to_frame=to_frame), ["Smiling"])
    assert placed.shape == (1, 600, 500)
    inside = placed[0, 10:446, 30:386]
    assert np.abs(inside[20:-20:2, 20:-20:2] - alone[0, 10:-10, 10:-10]).mean() < 0.05 * alone.std()
    assert not placed[0, 460:].any()
    assert not placed[0, :, :20].any()


def test_what_cannot_be_explained_is_refused(tmp_path: Path, tiny_onnx: Path) -> None:
    explainer = Explainer(saved(tmp_path, "linear"))
    with pytest.raises(UsageError, match="no attribute Male"):
        explainer.maps(np.zeros((1, 218, 178, 3), np.uint8), ["Male"])
    with pytest.raises(WeightsError, match=r"give the \.safetensors bundle"):
        Explainer(str(tiny_onnx))
