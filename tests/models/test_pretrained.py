from __future__ import annotations

import pytest
import torch

from celebattr.errors import WeightsError
from celebattr.models import pretrained, registry
from celebattr.models.resnet import torchvision_models
from celebattr.models.spec import ModelSpec


def resnet18(attributes: int = 4) -> registry.Network:
    return registry.build(ModelSpec("resnet18", attributes))


def test_torchvisions_names_fit_and_its_classifier_is_left_out() -> None:
    torch.manual_seed(1)
    tensors = torchvision_models.resnet18(weights=None).state_dict()
    network = resnet18()
    head = network.head[-1].weight.clone()
    assert pretrained.load_into(network, dict(tensors), "a file") == "backbone"
    assert torch.equal(network.backbone.layer1[0].conv1.weight, tensors["layer1.0.conv1.weight"])
    assert torch.equal(network.head[-1].weight, head)


def test_a_networks_own_tensors_bring_the_head_along() -> None:
    source, target = resnet18(), resnet18()
    assert pretrained.load_into(target, dict(source.state_dict()), "x") == "backbone and head"
    assert torch.equal(source.head[-1].weight, target.head[-1].weight)


def test_a_head_for_other_attributes_stays_behind() -> None:
    source, target = resnet18(5), resnet18(4)
    assert pretrained.load_into(target, dict(source.state_dict()), "x") == "backbone"


def test_another_architectures_tensors_are_refused_by_name() -> None:
    tensors = dict(resnet18().state_dict())
    with pytest.raises(WeightsError, match=r"some\.file does not fit the backbone of resnet50"):
        pretrained.load_into(registry.build(ModelSpec("resnet50", 4)), tensors, "some.file")


def test_without_a_connection_the_error_says_which_file_goes_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(WeightsError) as caught:
        pretrained.imagenet("resnet50")
    message = str(caught.value)
    assert "resnet50-11ad3fa6.pth" in message
    assert str(tmp_path) in message
    assert "--backbone-weights" in message


def test_a_narrower_network_keeps_the_channels_that_matter() -> None:
    torch.manual_seed(2)
    wide = registry.build(ModelSpec("resnet50", 4)).eval()
    slim = registry.build(ModelSpec("resnet50slim", 4)).eval()
    # Half of the channels inside each block pass nothing on: without them all stays as it was.
    for block in (b for stage in range(1, 5) for b in getattr(wide.backbone, f"layer{stage}")):
        for norm in (block.bn1, block.bn2):
            silent_C = torch.randperm(len(norm.weight))[len(norm.weight) // 2 :]
            norm.weight.data[silent_C] = 0.0
            norm.running_mean.uniform_()
    images = torch.rand(2, 3, 80, 64)
    assert pretrained.load_into(slim, wide.state_dict(), "x") == (
        "backbone and head, pruned to narrower blocks,"
    )
    with torch.no_grad():
        assert torch.allclose(slim(images), wide(images), rtol=1e-4, atol=1e-5)


def test_a_wider_network_does_not_start_from_a_narrower_one() -> None:
    tensors = registry.build(ModelSpec("resnet50slim", 4)).state_dict()
    with pytest.raises(WeightsError, match=r"does not fit the backbone of resnet50: 0 tensors"):
        pretrained.load_into(registry.build(ModelSpec("resnet50", 4)), tensors, "x")
