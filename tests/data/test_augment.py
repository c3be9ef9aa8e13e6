from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from celebattr.data import augment
from celebattr.data.draws import COLUMNS, VERSION, mixing_weights, parameters

PINNED = [[0.9059172499936825, 0.9004751984798256], [0.699950756603684, 0.8025149385324019]]

NEUTRAL = np.full((1, COLUMNS), 0.5)  # no rotation, scale, shift, mirror or light


def crops(count: int = 1) -> torch.Tensor:
    """Smooth crops in 0..1 whose values are whole 255ths."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 22, 18, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(218, 178), mode="bilinear")
    return (255 * smooth).round() / 255


def moved(images: torch.Tensor, draws: Any, **options: float) -> torch.Tensor:
    """`augment` of crops in 0..1 [B, 3, 218, 178]."""
    crops_BHWC = (255 * images).round().to(torch.uint8).permute(0, 2, 3, 1)
    return augment.augment(crops_BHWC, draws, **options)


def spoiled(images: torch.Tensor, draws: Any, **shares: float) -> torch.Tensor:
    return augment.corrupt_(images.clone(), draws, **shares)


def test_parameters_depend_on_seed_epoch_and_index_alone() -> None:
    whole = parameters(3, 1, np.arange(10))
    np.testing.assert_array_equal(parameters(3, 1, np.array([7, 2])), whole[[7, 2]])
    assert not np.array_equal(parameters(3, 2, np.arange(10)), whole)
    assert not np.array_equal(parameters(4, 1, np.arange(10)), whole)
    assert len(np.unique(whole)) == whole.size


def test_neutral_parameters_change_nothing() -> None:
    images = crops()
    torch.testing.assert_close(moved(images, NEUTRAL), images, rtol=0, atol=1e-4)


def test_a_mirrored_crop_is_the_exact_mirror_image() -> None:
    images, draws = crops(), NEUTRAL.copy()
    draws[0, 4] = 0.1
    torch.testing.assert_close(moved(images, draws), images.flip(3), rtol=0, atol=1e-4)


def test_a_rotation_keeps_shapes_round() -> None:
    """A disc stays a disc: the crop is not square, so its aspect must be undone and redone."""
    y, x = torch.meshgrid(torch.arange(218.0), torch.arange(178.0), indexing="ij")
    radius = ((y - 108.5) ** 2 + (x - 88.5) ** 2).sqrt()
    disc = torch.sigmoid((60.0 - radius) / 2.0).expand(1, 3, 218, 178)
    draws = NEUTRAL.copy()
    draws[0, 0] = 1.0
    turned = moved(disc, draws)
    assert (turned - disc).abs().max() < 0.02


def test_a_shift_moves_by_the_stated_share_of_the_crop() -> None:
    images, draws = torch.zeros(1, 3, 218, 178), NEUTRAL.copy()
    images[:, :, 100:110, 80:90] = 1.0
    draws[0, 2] = 1.0
    image = moved(images, draws)[0, 0]
    center = (image.sum(0) * torch.arange(178)).sum() / image.sum()
    assert abs(float(center) - (84.5 - augment.SHIFT * 178)) < 0.1


def test_values_stay_between_0_and_1() -> None:
    draws = parameters(0, 0, np.arange(16))
    images = moved(crops(16), draws)
    images = spoiled(images, draws, erasing=1, low_resolution=1, noise=1, grey=1, dark=1)
    assert images.shape == (16, 3, 218, 178)
    assert float(images.min()) >= 0.0
    assert float(images.max()) <= 1.0


def test_low_resolution_takes_fine_detail_and_leaves_the_rest() -> None:
    images = torch.zeros(4, 3, 218, 178)
    images[:, :, ::2, ::2] = 1.0  # finer than any of the resolutions can hold
    draws = np.repeat(NEUTRAL, 4, axis=0)
    draws[:, 7] = [0.1, 0.1, 0.9, 0.9]  # the gate
    draws[:, 8] = [0.0, 0.99, 0.0, 0.99]
    seen = spoiled(images, draws, low_resolution=0.5)
    assert float(seen[0].std()) < 0.1
    assert float(seen[1].std()) < 0.2
    torch.testing.assert_close(seen[2:], images[2:], rtol=0, atol=1e-4)
    smooth = crops(4)
    blurred = spoiled(smooth, draws, low_resolution=0.5)
    assert float((blurred - smooth).abs().mean()) < 0.02


def test_erasing_paints_over_a_rectangle_of_the_stated_size() -> None:
    images, draws = crops(64), parameters(0, 0, np.arange(64))
    erased = spoiled(images, draws, erasing=0.5)
    changed = (erased != images).any(dim=1)
    share = changed.float().mean(dim=(1, 2)).numpy()
    gone = draws[:, 9] < 0.5
    assert 20 < gone.sum() < 44
    assert (share[~gone] == 0).all()
    low, high = augment.ERASED_AREA
    assert (share[gone] > 0.9 * low).all()
    assert (share[gone] < 1.1 * high).all()
    assert np.ptp(share[gone]) > 0.05


def test_cut_margins_repeat_the_edge_and_leave_the_rest() -> None:
    images, draws = crops(3), np.repeat(NEUTRAL, 3, axis=0)
    draws[:, 14] = [0.1, 0.1, 0.9]  # the gate
    draws[:, 15:19] = [[1, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]]
    cut = moved(images, draws, cut_margins=0.5)
    top = round(augment.CUT[0] * 218)
    torch.testing.assert_close(cut[0, :, top:], images[0, :, top:], rtol=0, atol=1e-4)
    assert (cut[0, :, :top] == cut[0, :, :1]).all()
    low, left, right = (round(c * s) for c, s in zip(augment.CUT[1:], (218, 178, 178), strict=True))
    inside = (slice(None), slice(0, 218 - low), slice(left, 178 - right))
    torch.testing.assert_close(cut[1][inside], images[1][inside], rtol=0, atol=1e-4)
    assert (cut[1, :, 218 - low :] == cut[1, :, -1:]).all()
    assert (cut[1, :, :, :left] == cut[1, :, :, :1]).all()
    assert (cut[1, :, :, 178 - right :] == cut[1, :, :, -1:]).all()
    torch.testing.assert_close(cut[2], images[2], rtol=0, atol=1e-4)


def test_noise_has_the_drawn_strength_and_another_place_for_each_crop() -> None:
    images, draws = torch.full((3, 3, 218, 178), 0.5), np.repeat(NEUTRAL, 3, axis=0)
    draws[:, 19] = [0.1, 0.1, 0.9]  # the gate
    draws[:, 20] = [1.0, 0.5, 1.0]
    draws[:, 21:23] = [[0.0, 0.0], [0.9, 0.9], [0.0, 0.0]]
    noisy = spoiled(images, draws, noise=0.5)
    assert abs(float(noisy[0].std()) - augment.NOISE) < 0.002
    assert abs(float(noisy[1].std()) - augment.NOISE / 2) < 0.002
    assert abs(float(torch.corrcoef(noisy[:2].flatten(1))[0, 1])) < 0.02
    torch.testing.assert_close(noisy[2], images[2], rtol=0, atol=1e-4)


def test_a_grey_crop_has_no_colour_and_keeps_its_brightness() -> None:
    images, draws = crops(2), np.repeat(NEUTRAL, 2, axis=0)
    draws[:, 23] = [0.1, 0.9]
    seen = spoiled(images, draws, grey=0.5)
    assert (seen[0, 0] == seen[0, 1]).all()
    assert (seen[0, 0] == seen[0, 2]).all()
    expected = (images[0] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    torch.testing.assert_close(seen[0, 0], expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(seen[1], images[1], rtol=0, atol=1e-4)


def test_mixup_blends_images_and_targets_alike() -> None:
    kept = mixing_weights(parameters(0, 0, np.arange(6)), alpha=0.4)
    assert ((kept >= 0.5) & (kept <= 1.0)).all()
    images, targets = crops(6), torch.eye(6)
    mixed = augment.mix(images, kept)
    for i in range(6):
        expected = kept[i] * images[i] + (1 - kept[i]) * images[5 - i]
        torch.testing.assert_close(mixed[i], expected)
    torch.testing.assert_close(augment.mix(targets, kept).sum(dim=1), torch.ones(6))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixing_weights_are_a_folded_beta_distribution(alpha: float) -> None:
    kept = mixing_weights(parameters(0, 0, np.arange(20000)), alpha)
    drawn = np.random.default_rng(0).beta(alpha, alpha, 200_000)
    expected = np.quantile(np.maximum(drawn, 1.0 - drawn), np.linspace(0.02, 0.98, 25))
    np.testing.assert_allclose(np.quantile(kept, np.linspace(0.02, 0.98, 25)), expected, atol=0.02)


def test_draws_are_uniform_and_columns_and_neighbours_independent() -> None:
    draws = parameters(0, 0, np.arange(20000))
    assert np.abs(draws.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(draws.std(axis=0) - 12**-0.5).max() < 0.005
    after = parameters(0, 1, np.arange(20000))
    together = np.corrcoef(np.concatenate([draws[:-1], draws[1:], after[1:]], axis=1).T)
    assert np.abs(together - np.eye(len(together))).max() < 0.04
    assert ((draws >= 0.0) & (draws < 1.0)).all()


def test_the_draws_of_this_version_stay_as_they_are() -> None:
    """Checkpoints rely on them: whoever changes them raises `draws.VERSION`."""
    draws = parameters(3, 1, np.array([0, 200_000]))
    assert VERSION == 2
    np.testing.assert_allclose(draws[:, [0, 30]], PINNED, rtol=0, atol=1e-12)


def test_recompression_is_that_of_the_draws_and_leaves_its_input() -> None:
    whole_BHWC = np.random.default_rng(0).integers(0, 256, (6, 218, 178, 3), np.uint8)
    before = whole_BHWC.copy()
    draws = parameters(3, 1, np.array([4, 9, 1, 7, 0, 3]))
    changed = augment.recompress(whole_BHWC, draws, share=1.0)
    assert (whole_BHWC == before).all()
    part = augment.recompress(whole_BHWC[[5, 2]], draws[[5, 2]], share=1.0)
    np.testing.assert_array_equal(part, changed[[5, 2]])
    assert (changed != before).any(axis=(1, 2, 3)).all()


def test_the_share_that_is_asked_for_is_recompressed_as_jpeg_and_webp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds: list[tuple[str, int]] = []
    save = Image.Image.save

    def saved(self: Image.Image, file: Any, format: str, *, quality: int, **options: Any) -> None:
        kinds.append((format, quality))
        save(self, file, format, quality=quality, **options)

    monkeypatch.setattr(Image.Image, "save", saved)
    crop = (255 * crops()[0].permute(1, 2, 0).numpy()).astype(np.uint8)
    many = np.repeat(crop[None], 200, axis=0)
    draws = parameters(0, 0, np.arange(200))
    changed = augment.recompress(many, draws, share=0.5)
    assert 80 < len(kinds) < 120
    assert (changed != many).any(axis=(1, 2, 3)).sum() == len(kinds)
    assert np.abs(changed.astype(int) - many).mean() < 3
    for kind, (low, high) in (
        ("JPEG", augment.JPEG_QUALITIES),
        ("WEBP", augment.WEBP_QUALITIES),
    ):
        qualities = [quality for one, quality in kinds if one == kind]
        assert len(qualities) > 25
        assert low <= min(qualities) < low + 15
        assert high - 15 < max(qualities) <= high
    assert augment.recompress(many, draws, share=0.0) is many


def test_darkness_leaves_a_part_of_the_light_to_the_share_that_is_asked_for() -> None:
    images, draws = crops(200), parameters(0, 0, np.arange(200))
    dark = spoiled(images, draws, dark=0.5)
    left_B = (dark.sum(dim=(1, 2, 3)) / images.sum(dim=(1, 2, 3))).numpy()
    touched_B = left_B < 0.999
    assert 80 < touched_B.sum() < 120
    low, high = augment.DARK
    assert low - 1e-3 < left_B[touched_B].min() < low + 0.1
    assert high - 0.1 < left_B[touched_B].max() < high + 1e-3
    torch.testing.assert_close(dark / torch.from_numpy(left_B)[:, None, None, None], images)
