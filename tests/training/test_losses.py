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


@pytest.mark.parametrize("name", LOSSES)
def test_an_unknown_target_adds_nothing_and_pulls_nowhere(name: str) -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    targets = torch.randint(0, 2, (4, 3)).float()
    unknown = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1]], dtype=torch.bool)
    loss = LOSSES[name](logits, targets.masked_fill(unknown, torch.nan))
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    known = logits.detach().clone().requires_grad_()
    each = torch.stack(
        [
            LOSSES[name](known[i, a].view(1, 1), targets[i, a].view(1, 1))
            for i, a in (~unknown).nonzero().tolist()
        ]
    )
    whole = each.sum() / (12 if name == "bce" else 4)
    whole.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(whole.item(), rel=1e-5)
    assert known.grad is not None
    torch.testing.assert_close(logits.grad, known.grad)
    assert (logits.grad[unknown] == 0).all()
