"""The course's equations, written out: what a layer computes, and what back-propagation sends back.

E is the loss, o the outputs of a layer, s its weighted sums before the activation. A layer gets
dE/do of its own outputs and gives dE/dw of its weights and dE/do of its inputs, which are the
outputs of the layer before. They are for reading, and tests hold them against autograd; training
uses torch.

Axes: B batch, P inputs, K outputs of a dense layer; C channels in, F filters, H W rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """o = phi(s), and its derivative, written with o where that is shorter."""

    phi: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda s: s, lambda s, o: torch.ones_like(s)),
    "relu": Activation(lambda s: s.clamp(min=0.0), lambda s, o: (s > 0.0).to(s.dtype)),
    "sigmoid": Activation(lambda s: 1.0 / (1.0 + torch.exp(-s)), lambda s, o: o * (1.0 - o)),
    "tanh": Activation(torch.tanh, lambda s, o: 1.0 - o**2),
}


def squared_error(o_BK: Tensor, y_BK: Tensor) -> tuple[Tensor, Tensor]:
    """The empirical risk E = 1/n sum over n observations and K outputs of (o - y)^2, and dE/do.

    The lecture's 1/(2n) gives half of both: its step of 2 eta is our step of eta.
    """
    n = len(o_BK)
    return ((o_BK - y_BK) ** 2).sum() / n, 2.0 * (o_BK - y_BK) / n


def cross_entropy(s_BK: Tensor, y_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of sigmoid outputs, mean over n and K, and dE/ds: the error o - y."""
    o_BK = ACTIVATIONS["sigmoid"].phi(s_BK)
    loss = -(y_BK * o_BK.log() + (1.0 - y_BK) * (1.0 - o_BK).log()).mean()
    return loss, (o_BK - y_BK) / o_BK.numel()


def dense(o_BP: Tensor, w_KP: Tensor, w0_K: Tensor) -> Tensor:
    """s_k = w0_k + sum over p of w_kp o_p."""
    return o_BP @ w_KP.T + w0_K


def dense_backward(dE_ds_BK: Tensor, o_BP: Tensor, w_KP: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of a dense layer, dE/dw [K, P], dE/dw0 [K] and dE/do of its inputs [B, P].

    `dE_ds` is dE/do phi'(s): the error at the layer's outputs, through its activation.
    """
    return dE_ds_BK.T @ o_BP, dE_ds_BK.sum(dim=0), dE_ds_BK @ w_KP


@dataclass(frozen=True)
class Layer:
    """A dense layer of a perceptron: o = phi(s), s_k = w0_k + sum over p of w_kp o_p."""

    w_KP: Tensor
    w0_K: Tensor
    activation: str = "sigmoid"


def forward(layers: Sequence[Layer], o_BP: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Forward phase: s and o of each layer l = 1..L, from the inputs on."""
    kept = []
    for layer in layers:
        s_BK = dense(o_BP, layer.w_KP, layer.w0_K)
        o_BP = ACTIVATIONS[layer.activation].phi(s_BK)
        kept.append((s_BK, o_BP))
    return kept


def backward(
    layers: Sequence[Layer],
    inputs_BP: Tensor,
    kept: Sequence[tuple[Tensor, Tensor]],
    dE_do_BK: Tensor,
) -> list[tuple[Tensor, Tensor]]:
    """Backward phase: dE/dw and dE/dw0 of each layer, from dE/do of the last one down to l = 1.

    The recursion: dE/do of layer l - 1 is the sum over k of dE/do_k phi'(s_k) w_kp of layer l.
    """
    gradients = []
    for l in reversed(range(len(layers))):  # noqa: E741  the lecture's name of a layer
        s_BK, o_BK = kept[l]
        before_BP = kept[l - 1][1] if l else inputs_BP
        dE_ds_BK = dE_do_BK * ACTIVATIONS[layers[l].activation].derivative(s_BK, o_BK)
        dw_KP, dw0_K, dE_do_BK = dense_backward(dE_ds_BK, before_BP, layers[l].w_KP)
        gradients.append((dw_KP, dw0_K))
    return gradients[::-1]


def descend(
    layers: Sequence[Layer], gradients: Sequence[tuple[Tensor, Tensor]], eta: float
) -> list[Layer]:
    """A step of gradient descent, w <- w - eta dE/dw, in every layer."""
    return [
        Layer(layer.w_KP - eta * dw_KP, layer.w0_K - eta * dw0_K, layer.activation)
        for layer, (dw_KP, dw0_K) in zip(layers, gradients, strict=True)
    ]


def convolution(o_BCHW: Tensor, k_FCRS: Tensor) -> Tensor:
    """Each filter's weighted sum at every place where it fits, [B, F, H - R + 1, W - S + 1]."""
    height, width = _places(o_BCHW, k_FCRS)
    s_BFHW = o_BCHW.new_zeros(len(o_BCHW), len(k_FCRS), height, width)
    for r, s, seen_BCHW in _shifts(o_BCHW, k_FCRS):
        s_BFHW += torch.einsum("bchw,fc->bfhw", seen_BCHW, k_FCRS[:, :, r, s])
    return s_BFHW


def convolution_backward(
    dE_ds_BFHW: Tensor, o_BCHW: Tensor, k_FCRS: Tensor
) -> tuple[Tensor, Tensor]:
    """Of a convolution, dE/dK [F, C, R, S] and dE/do of its inputs [B, C, H, W].

    A weight is used at every place: its gradient is the sum over them. An input is seen by every
    filter that covers it: so is its gradient.
    """
    dE_dk, dE_do = torch.zeros_like(k_FCRS), torch.zeros_like(o_BCHW)
    for (r, s, seen_BCHW), (_, _, sent_BCHW) in zip(
        _shifts(o_BCHW, k_FCRS), _shifts(dE_do, k_FCRS), strict=True
    ):
        dE_dk[:, :, r, s] = torch.einsum("bfhw,bchw->fc", dE_ds_BFHW, seen_BCHW)
        sent_BCHW += torch.einsum("bfhw,fc->bchw", dE_ds_BFHW, k_FCRS[:, :, r, s])
    return dE_dk, dE_do


def max_pooling(o_BCHW: Tensor, side: int = 2) -> tuple[Tensor, Tensor]:
    """The largest of each square of `side` by `side`, and which of its pixels that was."""
    return _squares(o_BCHW, side).max(dim=-1)


def max_pooling_backward(dE_do_BCHW: Tensor, which_BCHW: Tensor, side: int = 2) -> Tensor:
    """dE/do of the inputs: the whole error goes to the pixel that was the largest."""
    batch, channels, height, width = dE_do_BCHW.shape
    squares = dE_do_BCHW.new_zeros(*dE_do_BCHW.shape, side * side)
    squares.scatter_(-1, which_BCHW[..., None], dE_do_BCHW[..., None])
    squares = squares.view(batch, channels, height, width, side, side).permute(0, 1, 2, 4, 3, 5)
    return squares.reshape(batch, channels, height * side, width * side)


def _places(o_BCHW: Tensor, k_FCRS: Tensor) -> tuple[int, int]:
    return o_BCHW.shape[2] - k_FCRS.shape[2] + 1, o_BCHW.shape[3] - k_FCRS.shape[3] + 1


def _shifts(o_BCHW: Tensor, k_FCRS: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """What each weight of a filter sees of the image, as a view of it."""
    height, width = _places(o_BCHW, k_FCRS)
    for r in range(k_FCRS.shape[2]):
        for s in range(k_FCRS.shape[3]):
            yield r, s, o_BCHW[:, :, r : r + height, s : s + width]


def _squares(o_BCHW: Tensor, side: int) -> Tensor:
    batch, channels, height, width = o_BCHW.shape
    cut = o_BCHW.view(batch, channels, height // side, side, width // side, side)
    return cut.permute(0, 1, 2, 4, 3, 5).reshape(
        batch, channels, height // side, width // side, side * side
    )
