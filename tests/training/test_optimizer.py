from __future__ import annotations

import pytest

from celebattr.models import registry
from celebattr.models.spec import ModelSpec
from celebattr.training.optimizer import MOMENTUM, lr_factor, make_optimizer, set_lr


def test_the_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    rates = [lr_factor(step, 100, 0.2) for step in range(100)]
    top = rates.index(max(rates))
    assert top == 20
    assert rates[top] == pytest.approx(1.0)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0.0 < rates[0] < 0.06
    assert rates[-1] < 0.001


def test_without_warmup_it_starts_at_the_peak() -> None:
    assert lr_factor(0, 10, 0.0) == 1.0


def test_norms_and_biases_are_not_decayed_and_the_head_has_its_own_rate() -> None:
    network = registry.build(ModelSpec("resnet18", 3))
    optimizer = make_optimizer(network, kind="adamw", lr=1e-4, head_lr=1e-3, weight_decay=0.05)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    peak = {id(p): g["peak"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in network.named_parameters():
        assert decay[id(parameter)] == (0.05 if parameter.ndim > 1 else 0.0), name
        assert peak[id(parameter)] == (1e-3 if name.startswith("head") else 1e-4), name
    set_lr(optimizer, 0.5)
    assert {g["lr"] for g in optimizer.param_groups} == {5e-5, 5e-4}


def test_plain_gradient_descent_has_no_momentum_no_decay_and_a_steady_rate() -> None:
    network = registry.build(ModelSpec("linear", 3, size=(4, 4)))
    for kind, momentum, decay in (("gd", 0.0, {0.0}), ("sgd", MOMENTUM, {0.0, 0.05})):
        optimizer = make_optimizer(network, kind=kind, lr=0.1, head_lr=0.2, weight_decay=0.05)
        assert {group["momentum"] for group in optimizer.param_groups} == {momentum}
        assert {group["weight_decay"] for group in optimizer.param_groups} == decay
        assert {group["peak"] for group in optimizer.param_groups} == {0.2}  # it has no backbone
    assert {lr_factor(step, 10, 0.3, "gd") for step in range(10)} == {1.0}
