"""The course's equations against autograd, to 1e-5."""

from __future__ import annotations

import equations as course
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from celebattr.training.losses import LOSSES


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def near(mine: Tensor, autograds: Tensor | None) -> None:
    assert autograds is not None
    torch.testing.assert_close(mine, autograds, rtol=1e-5, atol=1e-5)


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("name", course.ACTIVATIONS)
def test_a_dense_layer_sends_back_what_autograd_does(name: str) -> None:
    o, w, w0, error = leaf(5, 7), leaf(3, 7), leaf(3), torch.randn(5, 3)
    activation = course.ACTIVATIONS[name]
    s = course.dense(o, w, w0)
    near(s, functional.linear(o, w, w0))
    out = activation.phi(s)
    out.backward(error)
    with torch.no_grad():
        mine = course.dense_backward(error * activation.derivative(s, out), o, w)
    for gradient, variable in zip(mine, (w, w0, o), strict=True):
        near(gradient, variable.grad)


def test_the_recursion_down_to_the_first_layer_is_autograds() -> None:
    layers = [
        course.Layer(leaf(6, 7), leaf(6), "tanh"),
        course.Layer(leaf(5, 6), leaf(5), "relu"),
        course.Layer(leaf(3, 5), leaf(3)),
    ]
    inputs, y = torch.randn(4, 7), torch.randint(0, 2, (4, 3)).float()
    kept = course.forward(layers, inputs)
    loss, dE_do = course.squared_error(kept[-1][1], y)
    loss.backward()
    with torch.no_grad():
        gradients = course.backward(layers, inputs, kept, dE_do)
        stepped = course.descend(layers, gradients, eta=0.1)
    for layer, (dw, dw0), after in zip(layers, gradients, stepped, strict=True):
        near(dw, layer.w_KP.grad)
        near(dw0, layer.w0_K.grad)
        near(after.w0_K, layer.w0_K - 0.1 * dw0)


def test_the_lectures_four_losses() -> None:
    """docs/course, section 3: one output, two images of two pixels, good and bad weights."""
    images, y = torch.eye(2), torch.tensor([[1.0], [0.0]])
    losses = []
    for w in ([[3.9, -2.83]], [[-0.46, -0.272]]):
        output = course.forward([course.Layer(torch.tensor(w), torch.zeros(1))], images)[-1][1]
        losses += [float(course.squared_error(output[i : i + 1], y[i : i + 1])[0]) for i in (0, 1)]
    assert [float(f"{loss:.3}") for loss in losses] == [0.000394, 0.00311, 0.376, 0.187]


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_an_activation_is_torchs(name: str) -> None:
    s = torch.randn(50)
    near(course.ACTIVATIONS[name].phi(s), getattr(torch, name)(s))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5)])
def test_a_convolution_sends_back_what_autograd_does(kernel: tuple[int, int]) -> None:
    o, k = leaf(2, 3, 8, 9), leaf(4, 3, *kernel)
    s = functional.conv2d(o, k)
    error = torch.randn_like(s)
    s.backward(error)
    with torch.no_grad():
        near(course.convolution(o, k), s)
        dE_dk, dE_do = course.convolution_backward(error, o, k)
    near(dE_dk, k.grad)
    near(dE_do, o.grad)


@pytest.mark.parametrize("side", [2, 3])
def test_max_pooling_sends_the_error_to_the_largest(side: int) -> None:
    o = leaf(2, 3, 6, 12)
    pooled = functional.max_pool2d(o, side)
    error = torch.randn_like(pooled)
    pooled.backward(error)
    largest, which = course.max_pooling(o.detach(), side)
    near(largest, pooled)
    near(course.max_pooling_backward(error, which, side), o.grad)


def test_the_squared_error_is_the_loss_that_trains() -> None:
    s, y = leaf(6, 4), torch.randint(0, 2, (6, 4)).float()
    loss = LOSSES["mse"](s, y)
    loss.backward()
    with torch.no_grad():
        sigmoid = course.ACTIVATIONS["sigmoid"]
        o = sigmoid.phi(s)
        mine, dE_do = course.squared_error(o, y)
        near(mine, loss)
        near(dE_do * sigmoid.derivative(s, o), s.grad)


def test_cross_entropys_error_is_output_minus_target() -> None:
    s, y = leaf(6, 4), torch.randint(0, 2, (6, 4)).float()
    loss = LOSSES["bce"](s, y)
    loss.backward()
    with torch.no_grad():
        mine, dE_ds = course.cross_entropy(s, y)
    near(mine, loss)
    near(dE_ds, s.grad)


def test_a_network_of_these_layers_descends_as_autograd_does() -> None:
    """All of them together: three steps of w <- w - eta dE/dw."""
    images, y = torch.randn(8, 2, 9, 9), torch.randint(0, 2, (8, 3)).float()
    start = (torch.randn(4, 2, 2, 2) / 3, torch.randn(3, 64) / 8, torch.zeros(3))
    mine = [w.clone() for w in start]
    theirs = [w.clone().requires_grad_() for w in start]
    relu, sigmoid = course.ACTIVATIONS["relu"], course.ACTIVATIONS["sigmoid"]
    for _ in range(3):
        k, w, w0 = mine
        s1 = course.convolution(images, k)
        o1 = relu.phi(s1)
        pooled, which = course.max_pooling(o1)
        s2 = course.dense(pooled.flatten(1), w, w0)
        o2 = sigmoid.phi(s2)
        _, error = course.squared_error(o2, y)
        dw, dw0, error = course.dense_backward(
            error * sigmoid.derivative(s2, o2), pooled.flatten(1), w
        )
        error = course.max_pooling_backward(error.view_as(pooled), which)
        dk, _ = course.convolution_backward(error * relu.derivative(s1, o1), images, k)
        mine = [a - 0.5 * b for a, b in zip(mine, (dk, dw, dw0), strict=True)]

        k, w, w0 = theirs
        features = functional.max_pool2d(functional.conv2d(images, k).relu(), 2).flatten(1)
        LOSSES["mse"](functional.linear(features, w, w0), y).backward()
        theirs = [(t - 0.5 * t.grad).detach().requires_grad_() for t in theirs]  # type: ignore[operator]
    for one, other in zip(mine, theirs, strict=True):
        near(one, other)
