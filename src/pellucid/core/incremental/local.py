"""Which operations keep a local change local, and where it goes in each.

Sliding windows (convolution, pooling) spread it by their reach; what works position by position (activations, sums,
batch normalization, concatenation of channels) leaves it where it is; constant padding shifts it.  Whatever is not
listed here is computed whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from pellucid.core.incremental.places import Reach
from pellucid.core.recording.step import Ref
from pellucid.core.recording.tape import Operation, Tape
from pellucid.core.recording.windows import Call


@dataclass(frozen=True, slots=True)
class Slides:
    """A window that slides over the map: `apply` computes it on regions that need no more padding than `margin`."""

    rows: Reach
    columns: Reach
    margin: float
    apply: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Convolves:
    """A two-dimensional convolution by weight and bias of these numbers."""

    rows: Reach
    columns: Reach
    stride: tuple[int, int]
    padding: Any
    dilation: tuple[int, int]
    groups: int
    weight: int
    bias: int | None


@dataclass(frozen=True, slots=True)
class Shifts:
    """Constant padding: the map has room around it, what was at 0 is at (down, right)."""

    down: int
    right: int


@dataclass(frozen=True, slots=True)
class Stays:
    """Position by position.  `everywhere`: operands are maps or broadcast over maps; else only the first is a map."""

    everywhere: bool


Rule: TypeAlias = Slides | Convolves | Shifts | Stays
# the first operand is a map whose positions stay apart; the others speak of channels
_BY_CHANNEL = frozenset({"batch_norm", "prelu", "channel_shuffle"})


def rule_for(tape: Tape, op: Operation, changed: frozenset[int]) -> Rule | None:
    """How an operation passes on a change of the values in `changed`; None when everything has to be computed."""
    shapes = [tape.values[v].shape for v in op.outputs]
    given = [v for v in op.inputs if v in changed]
    maps = all(len(tape.values[v].shape) == 4 for v in (*op.outputs, *given))
    if not maps or not given or any(shape[0] != 1 for shape in shapes):
        return None
    name, step = op.name.rstrip("_"), tape.steps[op.index]
    first = step.args[0] if step.args else step.kwargs.get("input", step.kwargs.get("x"))
    source = tape.values[first.id] if isinstance(first, Ref) else None
    if op.pointwise:
        same = {tape.values[v].shape[2:] for v in given} == {shape[2:] for shape in shapes}
        return Stays(True) if same else None
    if name in ("cat", "concat"):
        dim = step.args[1] if len(step.args) > 1 else step.kwargs.get("dim", 0)
        return Stays(True) if dim in (1, -3) else None
    if source is None or given != [source.id] or len(step.args) == 0:
        return None  # a weight, or a statistic, depends on the picture
    call = Call(step, source.shape, shapes[0], _weight_shape(tape, step.args, step.kwargs))
    if name in _BY_CHANNEL or (name in _ALONG and _along_channels(name, call)):
        return Stays(False)
    make = _MAKERS.get(name)
    return None if make is None else make(call)


def _weight_shape(tape: Tape, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    weight = args[1] if len(args) > 1 else kwargs.get("weight")
    return tape.values[weight.id].shape if isinstance(weight, Ref) else ()


_ALONG = frozenset({"chunk", "split", "split_with_sizes", "tensor_split", "getitem"})


def _along_channels(name: str, call: Call) -> bool:
    """Does it take channels apart?"""
    if name != "getitem":
        return call.arg(2, "dim", 0) in (1, -3)
    index = call.step.args[1]
    return isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None) and type(index[1]) is slice


def two(value: Any) -> tuple[int, int]:
    """A number for both axes, or one for each."""
    several = tuple(value) if isinstance(value, tuple | list) else (value,)
    return (several * 2)[:2]


def _convolution(call: Call) -> Convolves | None:
    weight, bias = _ref(call, 1, "weight"), _ref(call, 2, "bias")
    if weight is None:
        return None
    stride, dilation = two(call.arg(3, "stride", 1)), two(call.arg(5, "dilation", 1))
    padding = call.arg(4, "padding", 0)
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, call.weight[2:], strict=True)]
    same = padding == "same"
    left = [(e - 1) // 2 for e in extents] if same else two(0 if padding == "valid" else padding)
    rows, columns = (Reach(extents[i], stride[i], left[i], call.given[2 + i], call.made[2 + i]) for i in (0, 1))
    return Convolves(rows, columns, stride, padding, dilation, call.arg(6, "groups", 1), weight, bias)


def _ref(call: Call, place: int, name: str) -> int | None:
    args = call.step.args
    found = args[place] if place < len(args) else call.step.kwargs.get(name)
    return found.id if isinstance(found, Ref) else None


def _max_pool(call: Call) -> Slides | None:
    kernel, dilation = two(call.arg(1, "kernel_size")), two(call.arg(4, "dilation", 1))
    stride, padding = two(call.arg(2, "stride") or kernel), two(call.arg(3, "padding", 0))
    if call.arg(6, "return_indices", False):
        return None  # they count positions of the whole map
    apply = partial(functional.max_pool2d, kernel_size=kernel, stride=stride, dilation=dilation)
    extents = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
    return _slides(call, extents, stride, padding, -torch.inf, apply)


def _avg_pool(call: Call) -> Slides | None:
    kernel = two(call.arg(1, "kernel_size"))
    stride, padding = two(call.arg(2, "stride") or kernel), two(call.arg(3, "padding", 0))
    if call.arg(4, "ceil_mode", False) or (any(padding) and not call.arg(5, "count_include_pad", True)):
        return None  # means over fewer positions at the border
    divisor = call.arg(6, "divisor_override")
    apply = partial(functional.avg_pool2d, kernel_size=kernel, stride=stride, divisor_override=divisor)
    return _slides(call, kernel, stride, padding, 0.0, apply)


def _slides(
    call: Call,
    extents: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    margin: float,
    apply: Callable[[Tensor], Tensor],
) -> Slides:
    rows, columns = (Reach(extents[i], stride[i], padding[i], call.given[2 + i], call.made[2 + i]) for i in (0, 1))
    return Slides(rows, columns, margin, apply)


def _pad(call: Call) -> Shifts | None:
    amounts = list(call.arg(1, "pad", ()))
    if call.arg(2, "mode", "constant") != "constant" or min(amounts, default=0) < 0 or any(amounts[4:]):
        return None
    right, _, down, _ = [*amounts[:4], 0, 0, 0, 0][:4]
    return Shifts(down, right)


_MAKERS: Mapping[str, Callable[[Call], Rule | None]] = {
    "conv2d": _convolution,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "pad": _pad,
}
