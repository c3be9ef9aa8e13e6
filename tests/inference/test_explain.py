"""Heat maps: exact where they claim to be, and in their place on the photo."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from celebattr import bundle
from celebattr.card import Card
from celebattr.data import drawn
from celebattr.data.transforms import PreprocessSpec
from celebattr.errors import MissingExtraError, UsageError, WeightsError
from celebattr.inference.explain import Explainer
from celebattr.models import catalog
from celebattr.results.predictions import Prediction

NAMES = ("Smiling", "Eyeglasses", "Bald")
HEADS = {"mlp": (8,), "cnn": (8,)}


def saved(folder: Path, arch: str, head: tuple[int, ...] | None = None) -> str:
    torch.manual_seed(0)
    head = HEADS.get(arch, ()) if head is None else head
    card = Card("x", arch, NAMES, PreprocessSpec((64, 48)).to_dict(), head=head)
    network = catalog.build(card.spec)
    last = list(network.head.parameters())[-2]
    nn.init.normal_(last, std=0.1)
    bundle.save(folder / "x.safetensors", card, network.state_dict())
    return str(folder / "x.safetensors")


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    random = np.random.default_rng(0)
    return np.stack([np.asarray(drawn.draw_face({"Smiling"}, random)) for _ in range(2)])


@pytest.mark.parametrize("arch", catalog.names())
def test_every_architecture_has_a_map_an_attribute(
    arch: str, tmp_path: Path, frames: np.ndarray
) -> None:
    maps = Explainer(saved(tmp_path, arch)).maps(frames, ["Bald", "Smiling"])
    assert maps.shape == (2, 2, 218, 178)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert (maps[:, 0] != maps[:, 1]).any()


def test_a_resnets_map_sums_up_to_its_logit(tmp_path: Path, frames: np.ndarray) -> None:
    explainer = Explainer(saved(tmp_path, "resnet18"))
    network, images = explainer._network, explainer._preprocess(torch.from_numpy(frames))
    with torch.no_grad():
        places = explainer._maps(images, [0, 1, 2]).mean(dim=(2, 3))
        torch.testing.assert_close(places + network.head[-1].bias, network(images))


def test_a_place_of_a_map_lies_on_the_pixels_that_it_sees(tmp_path: Path) -> None:
    explainer = Explainer(saved(tmp_path, "resnet50"))
    network = explainer._network
    assert network.spec.output_stride == 8
    images = torch.randn(1, 3, 218, 178, requires_grad=True)
    places = explainer._maps(images.detach(), [0])
    assert places.shape == (1, 1, 28, 23)
    features = torch.nn.Sequential(*list(network.backbone.children())[:-2])(images)
    # A place far from the padding, by what its gradient weighs.
    features[0, :, 13, 11].sum().backward()
    seen_HW = images.grad.abs().sum(dim=(0, 1))
    middle = [
        float((seen_HW.sum(dim=1 - axis) * torch.arange(seen_HW.shape[axis])).sum() / seen_HW.sum())
        for axis in (0, 1)
    ]
    one = torch.zeros(1, 1, 28, 23)
    one[0, 0, 13, 11] = 1.0
    large_HW = explainer._enlarged(one, (218, 178))[0, 0]
    peak = np.unravel_index(int(large_HW.argmax()), large_HW.shape)
    np.testing.assert_allclose(middle, peak, atol=3.0)


def test_a_linear_models_map_sums_up_to_its_logit(tmp_path: Path, frames: np.ndarray) -> None:
    explainer = Explainer(saved(tmp_path, "linear"))
    network, images = explainer._network, explainer._preprocess(torch.from_numpy(frames))
    summands = explainer._maps(images.clone(), [0, 1, 2]).sum(dim=(2, 3))
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
    face = Prediction("x", 0, 1, None, {}, [], [])
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


def test_without_captum_a_network_that_needs_it_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(MissingExtraError, match="captum"):
        Explainer(saved(tmp_path, "cnn"))
    Explainer(saved(tmp_path, "unet"))


def test_what_cannot_be_explained_is_refused(tmp_path: Path, tiny_onnx: Path) -> None:
    explainer = Explainer(saved(tmp_path, "linear"))
    with pytest.raises(UsageError, match="no attribute Male"):
        explainer.maps(np.zeros((1, 218, 178, 3), np.uint8), ["Male"])
    with pytest.raises(WeightsError, match=r"give the \.safetensors bundle"):
        Explainer(str(tiny_onnx))
