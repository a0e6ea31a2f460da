"""Recurrent layers written out are torch's own: every kind, direction, depth and packing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.overrides import TorchFunctionMode

from pellucid.core.structure import leaves
from pellucid.rules.recurrent import RECURRENT
from tests.networks import seeded


class WrittenOut(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.done = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.done += func in RECURRENT
        return RECURRENT.get(func, func)(*args, **(kwargs or {}))


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=seeded(sum(shape)))


def compare(net: nn.Module, *given: Any) -> None:
    right = leaves(net(*given))
    with WrittenOut() as mode:
        found = leaves(net(*given))
    assert mode.done == 1 and len(found) == len(right) > 0
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b)


LAYERS: dict[str, Any] = {
    "lstm": (nn.LSTM, {}), "projected": (nn.LSTM, {"proj_size": 3}), "gru": (nn.GRU, {}), "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
}  # fmt: skip


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "none"])
@pytest.mark.parametrize("both", [True, False], ids=["both ways", "one way"])
@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind: str, both: bool, bias: bool) -> None:
    make, options = LAYERS[kind]
    for first in (True, False):
        net = make(4, 6, num_layers=2, bias=bias, bidirectional=both, batch_first=first, **options).double().eval()
        compare(net, drawn(3, 5, 4))
        compare(net, drawn(5, 4))
        compare(net, pack_sequence([drawn(n, 4) for n in (5, 3, 3, 1)]))
        compare(net, pack_sequence([drawn(n, 4) for n in (2, 5, 3)], enforce_sorted=False))
    start = drawn(4 if both else 2, 3, options.get("proj_size", 6))
    compare(net, drawn(5, 3, 4), (start, drawn(len(start), 3, 6)) if make is nn.LSTM else start)


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "none"])
@pytest.mark.parametrize("make", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(make: Any, bias: bool) -> None:
    net = make(4, 6, bias=bias).double()
    compare(net, drawn(3, 4))
    compare(net, drawn(3, 4), (drawn(3, 6), drawn(1, 3, 6)[0]) if make is nn.LSTMCell else drawn(3, 6))


def test_dropout_that_drops_is_left_to_torch() -> None:
    net = nn.LSTM(4, 6, 2, dropout=0.5).double().train()
    args: list[Any] = []

    class Listen(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, given: Any = (), kwargs: Any = None) -> Any:
            if func in RECURRENT:
                args.append(RECURRENT[func](*given))
            return func(*given, **(kwargs or {}))

    with Listen():
        net(drawn(5, 3, 4))
    assert args == [NotImplemented]
