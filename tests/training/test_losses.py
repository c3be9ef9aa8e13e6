from __future__ import annotations

import pytest
import torch

from celebattr.training.losses import LOSSES


def test_squared_error_is_summed_over_attributes_and_averaged_over_images() -> None:
    logits = torch.zeros(2, 3)  # sigmoid outputs of 0.5
    targets = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert float(LOSSES["mse"](logits, targets)) == pytest.approx(3 * 0.25)


def test_cross_entropy_is_averaged_over_both() -> None:
    logits, targets = torch.zeros(2, 3), torch.ones(2, 3)
    assert float(LOSSES["bce"](logits, targets)) == pytest.approx(0.693147, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_right_answer_costs_less_than_a_wrong_one(name: str) -> None:
    targets = torch.tensor([[1.0, 0.0]])
    right, wrong = torch.tensor([[4.0, -4.0]]), torch.tensor([[-4.0, 4.0]])
    assert LOSSES[name](right, targets) < LOSSES[name](wrong, targets)


@pytest.mark.parametrize("name", LOSSES)
def test_an_image_counts_as_its_weight(name: str) -> None:
    logits, targets = torch.randn(4, 3), torch.randint(0, 2, (4, 3)).float()
    twice = LOSSES[name](logits[[0, 0, 1, 2]], targets[[0, 0, 1, 2]])
    weights = torch.tensor([1.5, 0.75, 0.75])  # of mean 1: twice as much as each of the others
    weighted = LOSSES[name](logits[:3], targets[:3], weights)
    assert float(weighted) == pytest.approx(float(twice), rel=1e-5)
