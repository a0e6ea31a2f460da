"""Adding and multiplying by numbers: steps that are one affine map with the layer before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

Operator: TypeAlias = Callable[[Any, Any], Tensor]


@dataclass(slots=True)
class Affine:
    """What a layer and the steps behind it add to their result, and the gradients on it that steps behind took over."""

    bias: Tensor
    version: int = 0  # the result's, so that what is written into it ends the map
    taken: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a varying `x` with numbers that stay: `run` does it, `back` brings a gradient through it."""

    x: Tensor
    run: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]
    is_sum: bool


def step_by_numbers(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Step | None:
    """The step that an operation is: x + c, c - x, x * c, x / c and their like, written in whatever way; else None.

    >>> x = torch.ones(2, requires_grad=True)
    >>> step = step_by_numbers("rsub", (x, 3.0), {})
    >>> step.run(torch.tensor(1.0)), step.back(torch.tensor(5.0))
    (tensor(2.), tensor(-5.))
    """
    base = name.removesuffix("_")
    if len(args) != 2 or kwargs or base not in _OPERATORS:
        return None
    at = [i for i, v in enumerate(args) if isinstance(v, Tensor) and v.requires_grad]
    if len(at) != 1 or not _keeps_its_form(args[at[0]], args[1 - at[0]]):
        return None
    x, number = args[at[0]], args[1 - at[0]]
    run: Callable[[Tensor], Tensor] = partial(_with, _OPERATORS[base], number, at[0] == 0)
    if base in _PRODUCTS:
        return Step(x, run, run, is_sum=False)
    if base in _QUOTIENTS:  # c / x is no affine map
        return Step(x, run, run, is_sum=False) if at[0] == 0 else None
    turned = base == "rsub" if at[0] == 0 else base in ("sub", "subtract")
    return Step(x, run, torch.neg if turned else _same, is_sum=True)


_PRODUCTS = ("mul", "rmul", "multiply")
_QUOTIENTS = ("div", "truediv", "divide", "true_divide")
_OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(("add", "radd"), torch.add),
    **dict.fromkeys(("sub", "subtract"), torch.sub),
    "rsub": torch.rsub,
    **dict.fromkeys(_PRODUCTS, torch.mul),
    **dict.fromkeys(_QUOTIENTS, torch.div),
}


def _keeps_its_form(x: Tensor, number: Any) -> bool:
    if isinstance(number, Tensor):
        lacking = x.ndim - number.ndim
        fits = lacking >= 0 and all(n in (1, m) for n, m in zip(number.shape, x.shape[lacking:], strict=True))
    else:
        fits = isinstance(number, (int, float))
    return fits and x.is_floating_point() and torch.result_type(x, number) == x.dtype


def _with(operator: Operator, number: Any, first: bool, v: Tensor) -> Tensor:
    return operator(v, number) if first else operator(number, v)


def _same(v: Tensor) -> Tensor:
    return v
