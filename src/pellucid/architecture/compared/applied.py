"""Weights as they are applied: with what scales and shifts a layer's channels afterwards folded in, row by row.

Factors are those of `core/folding.py`, in double precision: gain / sqrt(variance + eps), and the shift that is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.architecture.compared.layers import BACK, LINEAR, Layer
from pellucid.architecture.compared.scaling import Constants
from pellucid.architecture.compared.weight_change import WeightChange, summed

_PRECISE = {torch.float64: 1e-9, torch.float32: 1e-5}  # differences up to here are rounding
_COARSE = 5e-2  # of half precision
_PIECE = 1 << 16  # numbers at a time: as many as a processor keeps close by


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """The weight of a layer, a row an output channel, and by what each row is multiplied and shifted.

    `names` are those of the weight and of the shift; others than linear layers have their weights in `more`, as one.
    """

    weight: Tensor | None
    scale: Tensor | None
    shift: Tensor | None
    names: tuple[str, str]
    more: tuple[Tensor, ...] = ()

    @property
    def tolerance(self) -> float:
        """The largest relative difference that rounding explains."""
        held = [t for t in (self.weight, *self.more) if t is not None]
        return max((_PRECISE.get(t.dtype, _COARSE) for t in held), default=_PRECISE[torch.float32])

    def rows(self) -> Iterator[Tensor]:
        """The numbers as they are applied, in pieces of some rows."""
        if self.weight is None:
            yield from (t.detach().flatten() for t in self.more)
            return
        step = max(1, _PIECE // max(1, self.weight[0].numel()))
        for start in range(0, len(self.weight), step):
            piece = self.weight[start : start + step].flatten(1).double()
            scale = None if self.scale is None else self.scale[start : start + step, None]
            yield (piece if scale is None else piece * scale).flatten()

    def print(self) -> tuple[float, float, float]:
        """Three numbers that tell weights apart: their size, and two sums with factors that differ from place to place.

        They are taken without making the weights that they are of.
        """
        w = self.weight
        if w is None:
            whole = torch.cat([t.detach().flatten().double() for t in self.more]) if self.more else torch.zeros(0)
            return float(whole.norm()), float(whole @ _factors(len(whole))), float(whole.sum())
        w = w.flatten(1)
        scale = torch.ones(len(w), dtype=torch.double) if self.scale is None else self.scale
        sizes = torch.linalg.vector_norm(w, dim=1, dtype=torch.double)
        down = w.sum(1, dtype=torch.double) * scale
        across = scale.to(w.dtype) @ w
        return (
            float((sizes * scale).norm()),
            float(down @ _factors(len(down))),
            float(across.double() @ _factors(len(across))),
        )


def _factors(count: int) -> Tensor:
    return torch.cos(torch.arange(count, dtype=torch.double) + 1)


def alike(a: Applied, b: Applied, prints: tuple[tuple[float, ...], tuple[float, ...]]) -> bool:
    """Could weights be the same, as far as their prints tell?"""
    one, two = prints
    near = max(1e-4, a.tolerance, b.tolerance) * max(one[0], two[0])
    return abs(one[0] - two[0]) <= near and all(abs(p - q) <= 30 * near for p, q in zip(one[1:], two[1:], strict=True))


def applied(layer: Layer, held: Mapping[int, Tensor], names: tuple[str, str]) -> Applied:
    """The weights of a layer as they are applied; `held` are values of its tape.

    >>> after = Constants("mul", (2,)), Constants("add", (3,))
    >>> layer = Layer(LINEAR, (1, 1), 1, 0, 9, 1, (0, 1), (1, None), after=after)
    >>> found = applied(layer, {1: torch.tensor([[3.0]]), 2: torch.tensor([2.0]), 3: torch.tensor([1.0])}, ("w", "b"))
    >>> [row.tolist() for row in found.rows()], found.shift.tolist()
    ([[6.0]], [1.0])
    """
    if layer.kind not in (LINEAR, BACK, "batch_norm", "layer_norm", "group_norm", "rms_norm", "instance_norm"):
        return Applied(None, None, None, names, tuple(held[v] for v in layer.weights if v is not None))
    linear = layer.kind in (LINEAR, BACK)
    weight, bias = ([*(None if v is None else held[v].detach() for v in layer.weights), None, None])[:2]
    scale: Tensor | None = None
    shift = None if bias is None else bias.double().flatten()
    if not linear:  # what it multiplies by is all there is to it
        scale = None if weight is None else weight.double().flatten()
    for constants in layer.after:
        factor, offset = _factor(constants, held)
        if factor is not None:
            scale = factor if scale is None else scale * factor
            shift = None if shift is None else shift * factor
        if offset is not None:
            shift = offset if shift is None else shift + offset
    if not linear or weight is None:
        return Applied(None, None, shift, names, () if scale is None else (scale.float(),))
    return Applied(_out_first(layer, weight), scale, shift, names)


def _out_first(layer: Layer, weight: Tensor) -> Tensor:
    if layer.turned:
        return weight.T
    if layer.kind != BACK:
        return weight
    inner, outer = weight.shape[:2]
    split = weight.reshape(layer.groups, inner // layer.groups, outer, *weight.shape[2:])
    return split.transpose(1, 2).reshape(layer.groups * outer, inner // layer.groups, *weight.shape[2:])


def _factor(c: Constants, held: Mapping[int, Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """By what channels are multiplied, and what is then added."""
    first, *rest = (None if v is None else held[v].detach().double().flatten() for v in c.values)
    if first is None:
        return None, None
    if c.how == "batch_norm":
        variance, gain, bias = rest
        if variance is None:
            return None, None
        factor = (variance + c.eps).rsqrt() * (1.0 if gain is None else gain)
        return factor, (0.0 if bias is None else bias) - first * factor
    by: Mapping[str, tuple[Tensor | None, Tensor | None]] = {
        "mul": (first, None), "div": (1 / first, None), "add": (None, first), "sub": (None, -first),
    }  # fmt: skip
    return by[c.how]


def changes(a: Applied, b: Applied) -> tuple[WeightChange, ...]:
    """How far the weights of two layers are from each other as they are applied, and what they add."""
    found = [summed(a.names[0], b.names[0], _together(a.rows(), b.rows()))] if a.weight is not None or a.more else []
    there = [shift for shift in (a.shift, b.shift) if shift is not None]
    if there and there[0].shape == there[-1].shape:
        one, other = (torch.zeros_like(there[0]) if shift is None else shift for shift in (a.shift, b.shift))
        found.append(summed(a.names[1], b.names[1], [(one, other)]))
    return tuple(found)


def _together(left: Iterator[Tensor], right: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Two rows of pieces as pairs of pieces of one length, as far as both go."""
    a, b = torch.zeros(0), torch.zeros(0)
    while True:
        a = a if len(a) else next(left, a)
        b = b if len(b) else next(right, b)
        size = min(len(a), len(b))
        if not size:
            return
        yield a[:size], b[:size]
        a, b = a[size:], b[size:]


def relative(changes: tuple[WeightChange, ...]) -> float:
    """How much a layer changed: the largest relative change of its parts."""
    return max((math.inf if c.relative is None or c.bad else c.relative for c in changes), default=0.0)
