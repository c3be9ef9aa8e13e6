"""What every architecture of the catalog must do."""

from __future__ import annotations

import pytest
import torch

from celebattr.errors import UsageError
from celebattr.models import catalog
from celebattr.models.catalog import ModelSpec

HEADS = [(), (16,)]


@pytest.fixture(params=catalog.names())
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("head", HEADS)
def test_images_become_one_finite_logit_an_attribute(arch: str, head: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = catalog.build(ModelSpec(arch, 7, head)).eval()
    logits = network(torch.randn(2, 3, 64, 48))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()


def test_every_parameter_gets_a_gradient(arch: str) -> None:
    torch.manual_seed(0)
    network = catalog.build(ModelSpec(arch, 5, (8,)))
    network(torch.randn(4, 3, 64, 64)).square().sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(arch: str) -> None:
    torch.manual_seed(0)
    network = catalog.build(ModelSpec(arch, 5)).eval()
    images = torch.randn(3, 3, 64, 48)
    with torch.no_grad():
        together, alone = network(images), network(images[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_the_last_bias_starts_at_the_share_of_positives(arch: str) -> None:
    network = catalog.build(ModelSpec(arch, 3, (8,)))
    network.set_prior(torch.tensor([0.25, 0.5, 0.0]))
    probabilities = torch.sigmoid(network.head[-1].bias)
    torch.testing.assert_close(probabilities, torch.tensor([0.25, 0.5, 0.001]))


def test_an_unknown_architecture_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean resnet50"):
        catalog.build(ModelSpec("resnet5", 40))
