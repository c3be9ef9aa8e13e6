"""Shared fixtures: drawn data, and the folder of real data where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def drawn_celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of drawn faces in CelebA's official layout, its zip not unpacked."""
    from layouts import write_celeba

    return write_celeba(
        tmp_path_factory.mktemp("drawn"), train=64, validation=24, test=24, layout="official"
    )


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that ask for it are marked `celeba`."""
    folder = os.environ.get("CELEBATTR_TEST_DATA")
    if not folder:
        pytest.skip("CELEBATTR_TEST_DATA names no folder of real data")
    assert Path(folder).is_dir(), f"CELEBATTR_TEST_DATA: {folder} is not a folder"
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A safetensors bundle of a small untrained network: predicts nonsense, but quickly."""
    import torch

    from celebattr.attributes import CELEBA
    from celebattr.models import bundle, registry
    from celebattr.models.card import Card
    from celebattr.models.preprocess import PreprocessSpec

    torch.manual_seed(0)
    card = Card("tiny", "resnet18", CELEBA, PreprocessSpec((48, 40)).to_dict())
    network = registry.build(card.spec)
    torch.nn.init.normal_(network.head[-1].weight, std=0.05)  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("bundle") / "tiny.safetensors"
    bundle.save(path, card, network.state_dict())
    return path


@pytest.fixture(scope="session")
def tiny_onnx(tiny_bundle: Path) -> Path:
    """The same as float ONNX."""
    from celebattr.inference.export import export

    path = tiny_bundle.with_name("tiny.onnx")
    export(tiny_bundle, path)
    return path
