"""torch.compile, its one line and its fallback; `eager` stands in for a compiler."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from celebattr.training.callbacks import Silence
from celebattr.training.compile import make_forward


class Told(Silence):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, text: str) -> None:
        self.lines.append(text)


def forward(wanted: str, **changes: Any) -> tuple[nn.Module, Any, list[str]]:
    network, told = nn.Linear(3, 2), Told()
    options: dict[str, Any] = {"device": "cuda", "processes": 1, "steps": 15_000, "batch_size": 4}
    given = make_forward(network, wanted, **options | changes, listener=told)
    return network, given, told.lines


@pytest.mark.parametrize(
    ("wanted", "changes", "why"),
    [
        ("off", {}, "asked for"),
        ("auto", {"device": "cpu"}, "on a CPU it takes longer than it brings"),
        ("auto", {"device": "mps"}, "not known to pay on mps"),
        ("auto", {"processes": 2}, "not known to pay with several processes"),
        ("auto", {"steps": 14_999}, "14,999 steps of a size are too few to pay for it"),
    ],
)
def test_it_is_off_where_it_does_not_pay_and_one_line_says_why(
    wanted: str, changes: dict[str, Any], why: str
) -> None:
    network, given, lines = forward(wanted, **changes)
    assert given is network
    assert lines == [f"compile    off: {why}"]


@pytest.mark.parametrize(("wanted", "changes"), [("on", {"device": "cpu"}), ("auto", {})])
def test_whole_batches_are_compiled_and_the_last_one_is_not(
    wanted: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def compiler(module: Any, inputs: list[torch.Tensor]) -> Any:
        seen.append(1)
        return module.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=compiler))
    network, given, lines = forward(wanted, **changes)
    assert lines == ["compile    on: first steps take a minute longer"]
    short, whole = torch.rand(3, 3), torch.rand(4, 3)
    torch.testing.assert_close(given(short), network(short))
    assert not seen
    for _ in range(3):
        torch.testing.assert_close(given(whole), network(whole))
    assert len(seen) == 1
    given(whole).sum().backward()
    assert network.weight.grad is not None


def test_where_compiling_fails_the_run_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiler(module: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=compiler))
    network, given, lines = forward("on")
    whole = torch.rand(4, 3)
    for _ in range(2):
        torch.testing.assert_close(given(whole), network(whole))
    assert len(lines) == 2
    assert lines[1].startswith("compile    off: it failed (")
    assert "no compiler here" in lines[1]
    assert "\n" not in lines[1]
