"""What every architecture of the catalog must do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from celebattr.errors import UsageError
from celebattr.models import registry
from celebattr.models.spec import ModelSpec
from celebattr.training.config import ACTIVATIONS, parse_sizes, parse_widths

SIZE = (64, 48)


@pytest.fixture(params=registry.CATALOG)
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def spec(arch: str, attributes: int = 5, **changes: Any) -> ModelSpec:
    """A small network of an architecture, with the hidden layers it needs."""
    head = (16,) if arch in ("mlp", "cnn") else ()
    return replace(ModelSpec(arch, attributes, head, size=SIZE), **changes)


def images(count: int) -> Tensor:
    return torch.randn(count, 3, *SIZE)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_images_become_one_finite_logit_an_attribute(arch: str, activation: str) -> None:
    torch.manual_seed(0)
    network = registry.build(spec(arch, 7, activation=activation)).eval()
    logits = network(images(2))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("arch", ["resnet50", "resnet18", "cnn", "mlp"])
def test_hidden_layers_come_in_the_widths_and_with_the_activation_asked_for(arch: str) -> None:
    network = registry.build(spec(arch, head=(9, 8), activation="tanh"))
    linear = [layer for layer in network.head if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [9, 8, 5]
    assert sum(isinstance(layer, nn.Tanh) for layer in network.head) == 2


@pytest.mark.parametrize(
    ("arch", "head", "message"),
    [
        ("linear", (8,), "no hidden layers: --arch mlp"),
        ("unet", (8,), "leave --head out"),
        ("mlp", (), "needs hidden layers"),
    ],
)
def test_layers_that_an_architecture_does_not_have_are_refused(
    arch: str, head: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        registry.build(spec(arch, head=head))


def test_every_parameter_gets_a_gradient(arch: str) -> None:
    torch.manual_seed(0)
    network = registry.build(spec(arch, activation="tanh"))
    network(images(4)).square().sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(arch: str) -> None:
    torch.manual_seed(0)
    network = registry.build(spec(arch)).eval()
    three = images(3)
    with torch.no_grad():
        together, alone = network(three), network(three[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_channels_last_changes_nothing(arch: str) -> None:
    torch.manual_seed(0)
    network = registry.build(spec(arch)).eval()
    two = images(2)
    with torch.no_grad():
        before = network(two)
        after = network.place(torch.device("cpu"))(two.to(memory_format=torch.channels_last))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_the_last_bias_starts_at_the_share_of_positives(arch: str) -> None:
    network = registry.build(spec(arch, 3))
    network.set_prior(torch.tensor([0.25, 0.5, 0.0]))
    probabilities = torch.sigmoid(list(network.head.parameters())[-1])
    torch.testing.assert_close(probabilities, torch.tensor([0.25, 0.5, 0.001]))


def test_the_linear_model_is_w0_and_a_weighted_sum_of_the_planes_laid_flat() -> None:
    network = registry.build(spec("linear", 2))
    image = images(1)
    flat = torch.cat([row for plane in image[0] for row in plane])  # red, then green, then blue
    weights, w0 = network.head[-1].weight, network.head[-1].bias
    for place in (torch.contiguous_format, torch.channels_last):
        logits = network(image.to(memory_format=place))
        torch.testing.assert_close(logits[0], weights @ flat + w0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("stride", "places"), [(16, (4, 3)), (8, (8, 6))])
def test_a_finer_feature_map_has_the_same_at_the_same_places(
    stride: int, places: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    usual = registry.build(spec("resnet50")).eval()
    fine = registry.build(spec("resnet50", output_stride=stride)).eval()
    fine.load_state_dict(usual.state_dict())
    two = images(2)
    with torch.no_grad():
        usual_BCHW, fine_BCHW = (
            nn.Sequential(*list(network.backbone.children())[:-2])(two) for network in (usual, fine)
        )
    assert usual_BCHW.shape[2:] == (2, 2)
    assert fine_BCHW.shape[2:] == places
    step = 32 // stride
    torch.testing.assert_close(fine_BCHW[:, :, ::step, ::step], usual_BCHW, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "arch", [name for name in registry.CATALOG if not name.startswith("resnet50")]
)
def test_a_finer_feature_map_is_for_blocks_of_three_convolutions(arch: str) -> None:
    with pytest.raises(UsageError, match=f"--output-stride of {arch}: 32, not 16"):
        registry.build(spec(arch, output_stride=16))


@pytest.mark.parametrize("size", [(64, 48), (37, 51), (16, 16)])
def test_the_u_nets_maps_are_as_large_as_the_image(size: tuple[int, int]) -> None:
    network = registry.build(spec("unet")).eval()
    with torch.no_grad():
        levels = network.backbone(torch.randn(1, 3, *size))
        assert network.head.maps(levels).shape == (1, network.spec.attributes, *size)
    assert levels[-1].shape == (1, 24, *size)
    assert levels[0].shape[1:] == (384, size[0] // 16, size[1] // 16)


def test_every_level_of_the_u_net_adds_to_its_maps() -> None:
    torch.manual_seed(0)
    network = registry.build(spec("unet")).eval()
    with torch.no_grad():
        levels = network.backbone(images(1))
        before = network.head.maps(levels)
        for at, level in enumerate(levels):
            changed = network.head.maps([*levels[:at], level + 1.0, *levels[at + 1 :]])
            assert not torch.allclose(changed, before)


def test_a_u_nets_logit_lies_between_the_mean_and_the_maximum_of_its_map() -> None:
    torch.manual_seed(0)
    network = registry.build(spec("unet")).eval()
    for level in network.head.levels:
        nn.init.normal_(level.weight)
    with torch.no_grad():
        features = network.backbone(images(2))
        maps, logits = network.head.maps(features).flatten(2), network.head(features)
    assert (logits > maps.mean(dim=2)).all()
    assert (logits < maps.amax(dim=2)).all()


def test_the_rows_of_the_catalog_can_be_built_as_they_are() -> None:
    for row in registry.CATALOG.values():
        sizes = parse_sizes(row.image_size or "32x32")
        assert row.fixed <= (row.image_size is not None)
        registry.build(ModelSpec(row.name, 2, parse_widths(row.head), row.dropout, size=sizes[0]))


def test_an_unknown_architecture_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean resnet50"):
        registry.build(ModelSpec("resnet5", 40))
