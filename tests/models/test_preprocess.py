from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from celebattr.models.preprocess import Preprocess, PreprocessSpec, resize_matrix


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (218, 178, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(64, 52), (128, 104), (176, 144), (218, 178), (256, 224)])
def test_resizing_is_what_pillow_calls_bilinear(size: tuple[int, int]) -> None:
    frame = noise()
    rows, columns = PreprocessSpec(size).matrices()
    ours = np.einsum("ho,owc,xw->hxc", rows, frame.astype(np.float32), columns, optimize=True)
    pillow = Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    # Pillow rounds to whole values after each of its two passes.
    assert np.abs(ours - np.asarray(pillow)).max() <= 1.01


def test_the_module_normalises_to_imagenet_statistics() -> None:
    spec = PreprocessSpec((32, 32))
    frames = torch.full((1, 218, 178, 3), 128, dtype=torch.uint8)
    images = Preprocess(spec)(frames)
    assert images.shape == (1, 3, 32, 32)
    expected = (128 / 255 - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    torch.testing.assert_close(images[0].mean(dim=(1, 2)), expected, rtol=1e-4, atol=1e-4)


def test_every_row_of_a_resizing_matrix_sums_to_one() -> None:
    for source, target in ((218, 128), (178, 176), (64, 218)):
        np.testing.assert_allclose(resize_matrix(source, target).sum(axis=1), 1.0, atol=1e-6)


def test_a_spec_survives_json() -> None:
    spec = PreprocessSpec((176, 144))
    assert PreprocessSpec.from_dict(spec.to_dict()) == spec
