from __future__ import annotations

import pytest
import torch

from celebattr.errors import WeightsError
from celebattr.models import backbones, catalog
from celebattr.models._torchvision import torchvision_models
from celebattr.models.catalog import ModelSpec


def resnet18(attributes: int = 4) -> catalog.Network:
    return catalog.build(ModelSpec("resnet18", attributes))


def test_torchvisions_names_fit_and_its_classifier_is_left_out() -> None:
    torch.manual_seed(1)
    tensors = torchvision_models.resnet18(weights=None).state_dict()
    network = resnet18()
    head = network.head[-1].weight.clone()
    assert backbones.load_into(network, dict(tensors), "a file") == "backbone"
    assert torch.equal(network.backbone.layer1[0].conv1.weight, tensors["layer1.0.conv1.weight"])
    assert torch.equal(network.head[-1].weight, head)


def test_a_networks_own_tensors_bring_the_head_along() -> None:
    source, target = resnet18(), resnet18()
    assert backbones.load_into(target, dict(source.state_dict()), "x") == "backbone and head"
    assert torch.equal(source.head[-1].weight, target.head[-1].weight)


def test_a_head_for_other_attributes_stays_behind() -> None:
    source, target = resnet18(5), resnet18(4)
    assert backbones.load_into(target, dict(source.state_dict()), "x") == "backbone"


def test_another_architectures_tensors_are_refused_by_name() -> None:
    tensors = dict(resnet18().state_dict())
    with pytest.raises(WeightsError, match=r"some\.file does not fit the backbone of resnet50"):
        backbones.load_into(catalog.build(ModelSpec("resnet50", 4)), tensors, "some.file")


def test_without_a_connection_the_error_says_which_file_goes_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(WeightsError) as caught:
        backbones.imagenet("resnet50")
    message = str(caught.value)
    assert "resnet50-11ad3fa6.pth" in message
    assert str(tmp_path) in message
    assert "--backbone-weights" in message
