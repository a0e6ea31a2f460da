"""ONNX Runtime's recurrent layer with quantized weights: what meets them is quantized on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.cells import Direction, bends, long_short
from pellucid.doors.onnx.running.operators.microsoft import DOMAIN
from pellucid.doors.onnx.running.operators.quantize import centered, spanned
from pellucid.doors.onnx.running.operators.recurrent import along
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, ints

_USUAL = ("Sigmoid", "Tanh", "Tanh")


@dataclass(frozen=True, slots=True)
class _Levels(Direction):
    """A direction whose matrices are levels `[inputs, gates x width]`; `scales` and `zeros` are of both."""

    scales: tuple[Tensor, ...] = ()
    zeros: tuple[Tensor, ...] = ()

    def product(self, x: Tensor, which: int) -> Tensor:
        """The rows of `x`, quantized together to their own span, times one of the matrices."""
        levels, scale, zero = spanned(x)
        matrix = centered((self.w, self.u)[which], self.zeros[which], columns=True)
        total = torch.matmul(centered(levels, zero), matrix) * (scale.double() * self.scales[which].double())
        return total.to(x.dtype)

    def reached(self, x: Tensor, state: Tensor) -> Tensor:
        """What all gates get; `x` is what the input gives them, for the inputs of all steps are quantized together."""
        wb, ub = self.biases
        out = x + self.product(state, 1)
        return out if wb is None or ub is None else out + (wb + ub)


@operator("DynamicQuantizeLSTM", domain=DOMAIN, read=(4,))
def long_short_of_levels(
    node: Node,
    x: Tensor,
    w: Tensor,
    u: Tensor,
    b: Tensor | None,
    lengths: Numbers | None,
    h: Tensor | None,
    c: Tensor | None,
    p: Tensor | None,
    *steps: Tensor,
) -> tuple[Tensor, ...]:
    """Long short-term memory; `steps` are scale and zero point of the input's weights, then of the state's."""
    ways, width = len(w), u.shape[1]
    start = [x.new_zeros(ways, x.shape[1], width) if s is None else s for s in (h, c)]
    same_length = lengths is None or all(n == len(x) for n in ints(lengths))
    outs, ends = list[Tensor](), list[tuple[Tensor, ...]]()
    for i in range(ways):
        one = _direction(node, i, (w, u, b, p), steps)
        given = one.product(x, 0)
        backwards = i == 1 or node.get("direction", "forward") == "reverse"
        state = tuple(s[i] for s in start)
        out, end = along(long_short, one, given, state, None if same_length else lengths, backwards)
        outs.append(out)
        ends.append(end)
    return torch.stack(outs, 1), *(torch.stack(s) for s in zip(*ends, strict=True))


def _direction(node: Node, i: int, weights: Sequence[Tensor | None], steps: Sequence[Tensor]) -> _Levels:
    w, u, b, p = (None if v is None else v[i] for v in weights)
    assert w is not None and u is not None  # noqa: S101 (no operator without its matrices)
    names = list(node.get("activations", ()) or _USUAL * (i + 1))
    functions = bends(names, node.get("activation_alpha", ()), node.get("activation_beta", ()))
    each = [v[i] for v in steps]
    return _Levels(
        w,
        u,
        b,
        functions[3 * i : 3 * i + 3],
        node.get("clip") or None,
        p,
        coupled=bool(node.get("input_forget", 0)),
        scales=(each[0], each[2]),
        zeros=(each[1], each[3]),
    )
