"""How a step follows from a gradient.  The optimizer's memory is plain tensors, so that it can be kept in a file.

The same numbers as in `torch.optim`, whose first use loads torch's compiler (80 MB, seconds).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pellucid.core.tensors import Tensors

FIRST, SECOND = 0.9, 0.999  # how long the mean of gradients and of their squares is remembered
TINY = 1e-8
MEMORIES = ("speed", "mean", "square")


def moved(name: str, rate: float, number: int, x: Tensor, grad: Tensor, memory: Tensors) -> tuple[Tensor, Tensors]:
    """Where `x` is after step `number` (from 1) down `grad`, and the memory for the next; nothing is changed in place.

    `adam` (Kingma, Ba 2015), `nadam` (Dozat 2016), `sgd` with momentum 0.9, or `sign`: steps of one size.
    """
    if name == "sign":
        return x - rate * grad.sign(), {}
    if name == "sgd":
        speed = FIRST * memory["speed"] + grad if memory else grad
        return x - rate * speed, {"speed": speed}
    mean, square = (memory.get(k, torch.zeros_like(grad)) for k in ("mean", "square"))
    mean, square = mean.lerp(grad, 1 - FIRST), SECOND * square + (1 - SECOND) * grad * grad
    spread = (square / (1 - SECOND**number)).sqrt() + TINY
    kept = {"mean": mean, "square": square}
    if name == "adam":
        return x - rate / (1 - FIRST**number) * mean / spread, kept
    now, ahead = _weight(number), _weight(number + 1)
    product = math.prod(map(_weight, range(1, number + 1)))
    towards = (1 - now) / (1 - product) * grad + ahead / (1 - product * ahead) * mean
    return x - rate * towards / spread, kept


def _weight(number: int) -> float:
    """Of the mean of gradients, in `nadam`."""
    faded: float = 0.96 ** (0.004 * number)
    return FIRST * (1 - 0.5 * faded)
