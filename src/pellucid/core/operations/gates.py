"""Gates: a product of a signal and a sigmoid, told from other products by where its factors come from."""

from __future__ import annotations

import re
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pellucid.core.operations.kinds import Operation

# what a gate may pass through between its sigmoid and the product: it keeps its numbers
_SHAPES = frozenset(
    """View UnsafeView ReshapeAlias Unsqueeze Squeeze Expand Permute Transpose T Clone Slice Select Alias ToCopy Split
    SplitWithSizes Unbind""".split()  # noqa: SIM905 (read as words)
)
_CURVES = {"sigmoid": ("silu", F.silu), "hardsigmoid": ("hardswish", F.hardswish)}


def gated(call: Operation) -> Operation | None:
    """A product of a signal and a gate as an operation on the signal alone, the gate being a constant.

    A signal that is its own gate is SiLU (or hardswish), spelled out.  None for products of any other kind.

    >>> import torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> product = lambda a, b: Operation("product", (a, b), torch.mul)
    >>> gated(product(2 * x, x.sigmoid())).name, gated(product(x, x.sigmoid())).name, gated(product(x, x.tanh()))
    ('gated', 'silu', None)
    """
    if call.name != "product" or len(call.inputs) != 2:
        return None
    first, second = (_sigmoid_of(v) for v in call.inputs)
    if (first is None) == (second is None):
        return None
    at, node = (0, first) if first is not None else (1, second)
    signal, gate = call.inputs[1 - at], call.inputs[at].detach()
    if _reads(node, signal) and signal.shape == gate.shape:
        name, curve = _CURVES[_kind(node)]
        return Operation(name, (signal,), curve, call.in_place)
    gate = gate.clone() if call.in_place and at == 0 else gate

    def plain(v: Tensor) -> Tensor:
        return call.plain(gate, v) if at == 0 else call.plain(v, gate)

    return Operation("gated", (signal,), plain, call.in_place)


def _sigmoid_of(v: Tensor) -> Any:
    """The sigmoid's node in the gradient graph that a value comes from unchanged; None when it does not."""
    node: Any = v.grad_fn
    while node is not None:
        kind = _kind(node)
        if kind in _CURVES:
            return node
        if _name(node) not in _SHAPES:
            return None
        node = node.next_functions[0][0]
    return None


def _name(node: Any) -> str:
    return re.sub(r"Backward\d*$", "", str(node.name()).rsplit("::", 1)[-1]).lstrip("_")


def _kind(node: Any) -> str:
    return _name(node).lower()


def _reads(node: Any, signal: Tensor) -> bool:
    """Is the signal what the node's operation was computed of?"""
    parent, output = node.next_functions[0]
    if signal.grad_fn is None:
        return getattr(parent, "variable", None) is signal
    return parent is signal.grad_fn and output == signal.output_nr
