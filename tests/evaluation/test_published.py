from __future__ import annotations

import pytest

from celebattr.attributes import CELEBA
from celebattr.evaluation.published import PUBLISHED, published


def test_every_figure_has_a_source_and_is_no_more_than_a_share() -> None:
    assert len({one.method for one in PUBLISHED}) == len(PUBLISHED)
    for one in PUBLISHED:
        assert 0.8 < one.mean_attribute_accuracy < 0.93
        assert one.attributes == 40
        assert one.year is None or 2015 <= one.year <= 2026
        assert any(mark in one.source for mark in ("arXiv:", "doi.org/", "github.com/"))
        assert one.note


def test_figures_by_attribute_have_the_published_mean_to_rounding() -> None:
    with_table = [one for one in PUBLISHED if one.by_attribute]
    assert [one.method for one in with_table] == ["LNets+ANet"]
    for one in with_table:
        assert tuple(one.by_attribute) == CELEBA
        mean = sum(one.by_attribute.values()) / 40
        assert mean == pytest.approx(one.mean_attribute_accuracy, abs=0.001)


def test_only_a_bundle_of_the_same_40_attributes_is_compared() -> None:
    assert published(CELEBA) == PUBLISHED
    assert published(CELEBA[::-1]) == PUBLISHED
    assert published(CELEBA[:39]) == ()
    assert published([*CELEBA[:39], "Round_Face"]) == ()
