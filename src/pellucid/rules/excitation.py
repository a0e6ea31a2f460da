"""Excitation backpropagation: what flows back is a probability of winning, shared out over what excited a unit."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.operations.kinds import ELEMENTWISE
from pellucid.core.rule import Backward, Rule, Step
from pellucid.rules.expansions import DIVISORS_HELD
from pellucid.rules.lrp import halved, layer_of, over, shared


def winners(step: Step) -> tuple[Tensor]:
    """By positive contributions alone, without the bias: P(j) = sum_i P(i) z_ji / sum_j z_ji, z = max(xw, 0)."""
    (x,), w = step.x, layer_of(step).weight
    up, down = (x.clamp(min=0), w.clamp(min=0), None), (x.clamp(max=0), w.clamp(max=0), None)
    return shared(step, step.up, [up, down])


def contrasted(step: Step) -> tuple[Tensor]:
    """The winners for a unit less those for the unit of opposite weights, which says what speaks against it."""
    (x,), w = step.x, layer_of(step).weight
    up, down = (x.clamp(min=0), -w.clamp(max=0), None), (x.clamp(max=0), -w.clamp(min=0), None)
    return (winners(step)[0] - shared(step, step.up, [up, down])[0],)


def excited(step: Step) -> tuple[Tensor, ...]:
    """Sums, means and other linear operations whose weights for an input have one sign: by what was positive."""
    slopes = step.vjp(torch.ones_like(step.up))
    kept = tuple(torch.where(x * slope > 0, x, 0.0) for x, slope in zip(step.x, slopes, strict=True))
    z = step.operation.plain(*kept) - step.operation.plain(*map(torch.zeros_like, kept))
    return tuple(x * slope for x, slope in zip(kept, step.vjp(over(step.up, z)), strict=True))


def excitation(*, contrast: bool) -> Rule:
    """The rule; `contrast` takes the opposite of the last layer's unit away."""
    top: dict[str, Backward] = {"last": contrasted} if contrast else {}
    return Rule(
        "excitation",
        {
            **dict.fromkeys(ELEMENTWISE, lambda step: (step.up,)),
            "scaled": lambda step: (step.up,),
            "shifted": lambda step: (step.up,),
            "product": halved,
            "mixture": excited,
            "dense": winners,
            "convolution": winners,
            **top,
        },
        keeps=frozenset({"max_pool", "amax", "max", "maximum"}),
        expands=DIVISORS_HELD,
        shares=True,
    )
