"""The pointing test: regions where they should be, peaks counted right."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from celebattr.data.layouts.load import load_dataset
from celebattr.evaluation import pointing
from celebattr.evaluation.pointing import BOXES, CENTRE, ELLIPSES, WHERE, region


def test_regions_lie_where_the_frame_has_these_parts() -> None:
    inside = {name: region(name) for name in (*ELLIPSES, *BOXES)}
    assert all(mask.shape == (218, 178) for mask in inside.values())
    assert all(0.02 < mask.mean() < 0.31 for mask in inside.values())
    # The mean landmarks of CelebA: eyes, nose, corners of the mouth; (row, column).
    for name, row, column in [
        ("eyes", 111, 69),
        ("eyes", 111, 108),
        ("nose", 136, 87),
        ("mouth", 152, 71),
        ("mouth", 152, 106),
        ("neck", 210, 89),
        ("top of the head", 40, 89),
    ]:
        assert [n for n, mask in inside.items() if mask[row, column]] == [name]
    assert set(WHERE.values()) == set(inside)


def test_the_baseline_points_into_no_region() -> None:
    assert not any(region(name)[CENTRE] for name in (*ELLIPSES, *BOXES))


def test_peaks_in_the_region_of_their_attribute_count() -> None:
    mouth, elsewhere = np.array([152, 89]), np.array([5, 5])
    smiling = pointing.score("Smiling", [mouth, elsewhere, mouth])
    assert (smiling.region, smiling.images, smiling.centre) == ("mouth", 3, 0.0)
    assert smiling.inside == pytest.approx(2 / 3)
    bald = pointing.score("Bald", [])
    assert (bald.images, bald.inside) == (0, None)


class Painter:
    """Maps whose peak lies on a known pixel: the mouth in every second image, else a corner."""

    card = SimpleNamespace(attributes=("Male", "Smiling", "Eyeglasses"))

    def __init__(self) -> None:
        self.painted = {"Smiling": 0, "Eyeglasses": 0}

    def maps(self, crops_NHWC: np.ndarray, attributes: list[str]) -> np.ndarray:
        (name,) = attributes
        maps = np.zeros((len(crops_NHWC), 1, 218, 178), np.float32)
        for one in maps:
            one[0, 152, 89] = 1.0
            one[0, 0, 0] = 2.0 * (self.painted[name] % 2)
            self.painted[name] += 1
        return maps


def test_only_images_that_show_an_attribute_are_looked_at(drawn_celeba: Path) -> None:
    images = load_dataset((drawn_celeba,)).split("test", None)
    done: list[tuple[int, int]] = []
    painter = Painter()
    found = pointing.pointing(painter, images, lambda *two: done.append(two))  # type: ignore[arg-type]
    assert [one.attribute for one in found] == ["Smiling", "Eyeglasses"]
    for one, inside in zip(found, (0.5, 0.0), strict=True):
        shown = int((images.targets_NA[:, images.attributes.index(one.attribute)] == 1).sum())
        assert one.images == painter.painted[one.attribute] == shown > 0
        assert one.inside == pytest.approx(np.ceil(shown * inside) / shown)
    assert done[-1] == (len(images), len(images))
