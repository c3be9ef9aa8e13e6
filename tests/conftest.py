"""Shared fixtures: drawn data, and the folder of real data where there is one."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "Run one test in N, always the same ones."
    parser.addoption("--sample", type=int, default=1, metavar="N", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of `--sample`: chosen by name, so that a new test does not change the rest."""
    count = config.getoption("--sample")
    left_out = [item for item in items if zlib.crc32(item.nodeid.encode()) % count]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


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
    import samples

    return samples.save_bundle(tmp_path_factory.mktemp("bundle") / "tiny.safetensors", "cnn")


@pytest.fixture(scope="session")
def tiny_onnx(tiny_bundle: Path) -> Path:
    """The same as float ONNX."""
    from celebattr.inference.export import export

    path = tiny_bundle.with_name("tiny.onnx")
    export(tiny_bundle, path)
    return path
