from __future__ import annotations

import numpy as np
import pytest
import torch

from celebattr.errors import UsageError
from celebattr.training.config import LOSSES as NAMES
from celebattr.training.config import TrainConfig
from celebattr.training.losses import LOSSES, focal, make_loss


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
    whole = each.sum() / (4 if name == "mse" else 12)
    whole.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(whole.item(), rel=1e-5)
    assert known.grad is not None
    torch.testing.assert_close(logits.grad, known.grad)
    assert (logits.grad[unknown] == 0).all()


def test_every_loss_of_the_command_line_is_there() -> None:
    assert tuple(LOSSES) == NAMES


def test_focal_and_asymmetric_are_as_published() -> None:
    logits = torch.randn(8, 5, dtype=torch.float64) * 3
    targets = torch.randint(0, 2, (8, 5)).double()
    p = torch.sigmoid(logits)
    right = torch.where(targets == 1, p, 1 - p)
    expected = -((1 - right) ** 2 * right.log()).mean()
    torch.testing.assert_close(LOSSES["focal"](logits, targets), expected)
    # As timm's AsymmetricLossMultiLabel() writes it, but for the mean.
    right = torch.where(targets == 1, p, (1 - p + 0.05).clamp(max=1))
    expected = -((1 - right) ** torch.where(targets == 1, 1, 4) * right.log()).mean()
    torch.testing.assert_close(LOSSES["asymmetric"](logits, targets), expected)
    soft = torch.rand(8, 5, dtype=torch.float64)
    torch.testing.assert_close(
        focal(logits, soft, gamma_pos=0.0, gamma_neg=0.0), LOSSES["bce"](logits, soft)
    )


@pytest.mark.parametrize("name", ["bce", "focal", "asymmetric"])
def test_no_logit_is_too_large(name: str) -> None:
    logits = torch.tensor([[200.0, -200.0, 200.0, -200.0]], requires_grad=True)
    LOSSES[name](logits, torch.tensor([[0.0, 1.0, 1.0, 0.0]])).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["bce", "focal", "asymmetric"])
def test_a_positive_counts_as_its_weight(name: str) -> None:
    logits, shares = torch.randn(6, 2), np.array([0.1, 0.8])
    present, absent = torch.ones(6, 2), torch.zeros(6, 2)
    for text, weights in (("3", (3.0, 3.0)), ("auto", (9.0, 0.25))):
        loss = make_loss(name, text, shares)
        for column, weight in enumerate(weights):
            one = logits[:, [column]]
            alone = make_loss(name, text, shares[[column]])
            plain = LOSSES[name](one, present[:, [column]])
            assert float(alone(one, present[:, [column]])) == pytest.approx(weight * float(plain))
        assert float(loss(logits, absent)) == pytest.approx(float(LOSSES[name](logits, absent)))
    # An attribute that no training image has weighs 100, not infinitely much.
    never = make_loss(name, "auto", np.array([0.0]))
    one = logits[:, :1]
    assert float(never(one, present[:, :1])) == pytest.approx(
        100 * float(LOSSES[name](one, present[:, :1])), rel=1e-4
    )


def test_weights_that_cannot_be_are_refused() -> None:
    for text in ("0", "-1", "nan", "inf", "many"):
        with pytest.raises(UsageError, match=f"--pos-weight {text} is neither auto nor a number"):
            TrainConfig(pos_weight=text)
    with pytest.raises(UsageError, match="not mse"):
        TrainConfig(loss="mse", pos_weight="2")
