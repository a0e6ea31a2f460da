"""Recurrent layers of ONNX files against torch's own, against sequences one by one, and by their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.doors.onnx import open_file
from tests.onnx_files import exported
from tests.onnx_single import answers, imported, numbers, single

STEPS, BATCH, WIDE, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ORDER = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}  # the standard's, among torch's gates
TURNED: dict[str, dict[str, Any]] = {"RNN": {}, "GRU": {"linear_before_reset": 1}, "LSTM": {}}


def weights(op: str, layer: Any, ways: int) -> list[np.ndarray[Any, Any]]:
    """W, R and B as the standard orders them."""

    def turned(name: str) -> Tensor:
        gates = getattr(layer, name).detach().chunk(GATES[op])
        return torch.cat([gates[i] for i in ORDER[op]])

    ends = ["_l0", "_l0_reverse"][:ways]
    w, u = (torch.stack([turned(f"weight_{kind}{end}") for end in ends]) for kind in ("ih", "hh"))
    b = torch.stack([torch.cat([turned(f"bias_ih{end}"), turned(f"bias_hh{end}")]) for end in ends])
    return [w.numpy(), u.numpy(), b.numpy()]


@pytest.mark.parametrize("written", ["by torch", "written out"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("op", GATES)
def test_the_layer_is_torchs(op: str, both: bool, written: str):
    layer = getattr(nn, op)(WIDE, HIDDEN, bidirectional=both)
    x, ways = numbers(1, STEPS, BATCH, WIDE), 1 + both
    start = [numbers(2 + i, ways, BATCH, HIDDEN) for i in range(1 + (op == "LSTM"))]
    options = TURNED[op] | ({"clip": 1e6} if written == "written out" else {})  # which no fused kernel has
    out = answers(
        op, x, *weights(op, layer, ways), None, *start, outputs=1 + len(start), version=14, hidden_size=HIDDEN,
        direction="bidirectional" if both else "forward", **options,
    )  # fmt: skip
    given = tuple(map(torch.from_numpy, start))
    with torch.no_grad():
        wanted, ends = layer(torch.from_numpy(x), given if op == "LSTM" else given[0])
    torch.testing.assert_close(out[0].transpose(1, 2).flatten(2), wanted)
    for found, end in zip(out[1:], ends if op == "LSTM" else [ends], strict=True):
        torch.testing.assert_close(found, end)


@pytest.mark.parametrize("op", GATES)
def test_backwards_is_the_sequence_turned_around_and_batches_may_come_first(op: str):
    layer = getattr(nn, op)(WIDE, HIDDEN)
    x, stored = numbers(1, STEPS, BATCH, WIDE), weights(op, layer, 1)
    options: dict[str, Any] = {"outputs": 2, "version": 14, "hidden_size": HIDDEN} | TURNED[op]
    forward, end = answers(op, x[::-1].copy(), *stored, **options)
    backward, last = answers(op, x, *stored, direction="reverse", **options)
    torch.testing.assert_close(backward, forward.flip(0))
    torch.testing.assert_close(last, end)
    first, end_first = answers(op, x.swapaxes(0, 1).copy(), *stored, direction="reverse", layout=1, **options)
    torch.testing.assert_close(first, backward.permute(2, 0, 1, 3))
    torch.testing.assert_close(end_first, last.transpose(0, 1))


@pytest.mark.parametrize("op", GATES)
def test_a_batch_of_lengths_is_each_sequence_alone(op: str):
    layer, lengths = getattr(nn, op)(WIDE, HIDDEN, bidirectional=True), [5, 2, 3]
    x, stored = numbers(1, STEPS, BATCH, WIDE), weights(op, layer, 2)
    options = {"outputs": 2, "version": 14, "hidden_size": HIDDEN, "direction": "bidirectional"} | TURNED[op]
    out, end = answers(op, x, *stored, np.array(lengths, np.int32), **options)
    for i, n in enumerate(lengths):
        alone, alone_end = answers(op, x[:n, i : i + 1], *stored, **options)
        torch.testing.assert_close(out[:n, :, i : i + 1], alone)
        torch.testing.assert_close(end[:, i : i + 1], alone_end)
        assert not out[n:, :, i].any()


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gru": ("GRU", {"linear_before_reset": 0}),
    "peepholes": ("LSTM", {}),
    "coupled": ("LSTM", {"input_forget": 1}),
    "clipped": ("LSTM", {"clip": 0.5}),
    "bent": ("RNN", {"activations": ["ScaledTanh"], "activation_alpha": [0.7], "activation_beta": [1.3]}),
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_differences(case: str):
    op, options = CASES[case]
    g = GATES[op]
    stored = [numbers(1, 1, g * HIDDEN, WIDE), numbers(2, 1, g * HIDDEN, HIDDEN), numbers(3, 1, 2 * g * HIDDEN)]
    more = [None, None, None, numbers(4, 1, 3 * HIDDEN)] if case == "peepholes" else []
    values = [v.astype(np.float64) if v is not None else None for v in (numbers(5, 3, 1, WIDE), *stored, *more)]
    model, fed = single(op, *values, version=14, hidden_size=HIDDEN, **options)
    module, rest = imported(model), {k: torch.from_numpy(v) for k, v in fed.items() if k != "x0"}
    x = torch.from_numpy(fed["x0"]).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: module(x0=v, **rest), (x,))


class Last(nn.Module):
    """An LSTM whose last output says how much of each class there is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(WIDE, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


@pytest.mark.parametrize("name", ["lrp", "deep_lift", "input_x_gradient"])
def test_rules_reach_inside_an_imported_layer(name: str, tmp_path):
    model, x = Last().eval(), torch.from_numpy(numbers(1, 1, STEPS, WIDE))
    net, method = open_file(exported(model, x, tmp_path / "last.onnx", free=False)), getattr(pl.methods, name)
    ours, theirs = method(net, x, pl.logit(1)), method(pl.open(model), x, pl.logit(1))
    torch.testing.assert_close(ours.values, theirs.values)
    assert ours.values.abs().sum() > 0
