"""What happens at one step of a recurrent layer, for every activation, clipping, peepholes and coupled gates.

Equations as in the operators' documentation of the ONNX standard (RNN, GRU, LSTM).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable

Bend: TypeAlias = Callable[[Tensor], Tensor]
State: TypeAlias = tuple[Tensor, ...]

# Name: (usual alpha, usual beta, function); None: it has no such number.
_BENDS: Mapping[str, tuple[float | None, float | None, Callable[[Tensor, float, float], Tensor]]] = {
    "relu": (None, None, lambda x, a, b: F.relu(x)),
    "tanh": (None, None, lambda x, a, b: torch.tanh(x)),
    "sigmoid": (None, None, lambda x, a, b: torch.sigmoid(x)),
    "softsign": (None, None, lambda x, a, b: F.softsign(x)),
    "softplus": (None, None, lambda x, a, b: F.softplus(x)),
    "affine": (1.0, 0.0, lambda x, a, b: a * x + b),
    "leakyrelu": (0.01, None, lambda x, a, b: F.leaky_relu(x, a)),
    "thresholdedrelu": (1.0, None, lambda x, a, b: F.threshold(x, a, 0.0)),
    "scaledtanh": (1.0, 1.0, lambda x, a, b: a * torch.tanh(b * x)),
    "hardsigmoid": (0.2, 0.5, lambda x, a, b: torch.clamp(a * x + b, 0, 1)),
    "elu": (1.0, None, lambda x, a, b: F.elu(x, a)),
}


def bends(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> list[Bend]:
    """The activations of those names; each that has an alpha or a beta takes the next one given, or the usual one."""
    found, alpha_left, beta_left = list[Bend](), list(alphas), list(betas)
    for name in names:
        if name.lower() not in _BENDS:
            raise BadModel(f"A recurrent layer has the activation {printable(name)!r}.", "Export it with another one.")
        alpha, beta, function = _BENDS[name.lower()]
        a = alpha_left.pop(0) if alpha is not None and alpha_left else alpha
        b = beta_left.pop(0) if beta is not None and beta_left else beta
        found.append(_bend(function, a or 0.0, b or 0.0))
    return found


def _bend(function: Callable[[Tensor, float, float], Tensor], alpha: float, beta: float) -> Bend:
    return lambda x: function(x, alpha, beta)


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a layer: `w` `[gates x width, inputs]`, `u` `[gates x width, width]`, both biases, peepholes."""

    w: Tensor
    u: Tensor
    b: Tensor | None
    bends: Sequence[Bend]
    clip: float | None = None
    p: Tensor | None = None
    after: bool = False  # GRU: the reset gate acts after the product
    coupled: bool = False  # LSTM: forgets as much as it takes in

    def bent(self, i: int, x: Tensor) -> Tensor:
        """The i-th activation of `x`, which is clipped before."""
        return self.bends[i](x if self.clip is None else x.clamp(-self.clip, self.clip))

    @property
    def biases(self) -> tuple[Tensor | None, Tensor | None]:
        """That of the inputs and that of the state."""
        return (None, None) if self.b is None else self.b.chunk(2)  # type: ignore[return-value]

    def reached(self, x: Tensor, state: Tensor) -> Tensor:
        """What all gates get from the input and from the state."""
        wb, ub = self.biases
        return F.linear(x, self.w, wb) + F.linear(state, self.u, ub)


def plain(one: Direction, x: Tensor, state: State) -> State:
    """f(x W + h R + both biases)."""
    return (one.bent(0, one.reached(x, state[0])),)


def gated(one: Direction, x: Tensor, state: State) -> State:
    """The gated unit; gates z (keep), r (reset), h (new)."""
    (h,) = state
    wb, ub = one.biases
    xz, xr, xh = F.linear(x, one.w, wb).chunk(3, -1)
    uz, ur, uh = one.u.chunk(3)
    bz, br, bh = (None, None, None) if ub is None else ub.chunk(3)
    z = one.bent(0, xz + F.linear(h, uz, bz))
    r = one.bent(0, xr + F.linear(h, ur, br))
    new = one.bent(1, xh + (r * F.linear(h, uh, bh) if one.after else F.linear(r * h, uh, bh)))
    return ((1 - z) * new + z * h,)


def long_short(one: Direction, x: Tensor, state: State) -> State:
    """Long short-term memory; gates i, o, f and the new content c; peepholes in the order i, o, f."""
    h, cell = state
    i, o, f, c = one.reached(x, h).chunk(4, -1)
    pi, po, pf = (None, None, None) if one.p is None else one.p.chunk(3)
    i = one.bent(0, i if pi is None else i + pi * cell)
    f = 1 - i if one.coupled else one.bent(0, f if pf is None else f + pf * cell)
    cell = f * cell + i * one.bent(1, c)
    o = one.bent(0, o if po is None else o + po * cell)
    return o * one.bends[2](cell), cell
