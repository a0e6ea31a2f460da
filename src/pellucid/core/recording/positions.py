"""Where an operation moves the axes of its input, and which positions it keeps: reshape, permute, slice, reduce."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

import torch

from pellucid.core.recording.step import Ref
from pellucid.core.recording.windows import Call, Window, window
from pellucid.core.structure import rebuilt

# axis of the input -> (axis of the output, which positions it reads); None instead of a window: all of them, mixed, so
# that along that axis of the output nothing else keeps its positions either
Moves: TypeAlias = dict[int, tuple[int, Window | None]]

_SAME = window(1, 0, 0)
_NOWHERE: tuple[int, Window | None] = (-1, None)


def moved(name: str, call: Call) -> Moves | None:
    """Where each axis of the input goes; None for an operation that is not known to keep positions apart.

    >>> from pellucid.core.recording.step import Step
    >>> moved("flatten", Call(Step(None, (Ref(0), 2), {}, None, ()), (1, 8, 4, 1), (1, 8, 4)))[2][0]
    2
    """
    rule = _RULES.get(name.rstrip("_"))
    return None if rule is None else rule(call)


def _reshaped(call: Call) -> Moves:
    """An axis survives reshaping if the sizes before it, and its own size, are the same before and after.

    One that is joined with k - 1 positions behind it (so are pictures enlarged) has each of its positions k times.
    """
    spans = [(math.prod(call.made[:axis]), axis, size) for axis, size in enumerate(call.made) if size > 1]
    ends = {math.prod(call.given[: axis + 1]) for axis in range(len(call.given))}
    found: Moves = {}
    for axis, size in enumerate(call.given):
        start = math.prod(call.given[:axis])
        first, to, wide = next((s for s in spans if size > 1 and s[0] <= start < s[0] * s[2]), (-1, -1, 0))
        if first == start and wide == size:
            found[axis] = (to, _SAME)
        elif first == start and wide % size == 0 and start * wide in ends:
            k = wide // size
            found[axis] = (to, window(Fraction(1, k), -Fraction(k - 1, k), 0))
        else:
            found[axis] = (to, None)
    return found


def _permuted(call: Call) -> Moves:
    """Run it on a tensor without numbers whose sizes say which axis is which."""
    labels = torch.empty([i + 2 for i in range(len(call.given))], device="meta")
    function = call.step.function
    if not callable(function):
        return {}
    args, kwargs = rebuilt((call.step.args, dict(call.step.kwargs)), lambda _: labels, Ref)
    with torch._C.DisableTorchFunction():
        out = function(*args, **kwargs)
    return {size - 2: (axis, _SAME) for axis, size in enumerate(out.shape)}


def _reduced(call: Call) -> Moves:
    rank = len(call.given)
    dims = call.arg(1, "dim")
    dims = range(rank) if dims is None else dims if isinstance(dims, tuple | list) else [dims]
    gone = {d % rank for d in dims}
    if len(call.made) == rank:
        return {axis: (axis, None if axis in gone else _SAME) for axis in range(rank)}
    return _dropped(rank, gone)


def _dropped(rank: int, gone: set[int]) -> Moves:
    left = [axis for axis in range(rank) if axis not in gone]
    moves: Moves = {axis: (to, _SAME) for to, axis in enumerate(left)}
    moves.update((axis, _NOWHERE) for axis in gone)
    return moves


def _mixed_last(count: int) -> Callable[[Call], Moves]:
    def rule(call: Call) -> Moves:
        rank = len(call.given)
        return {axis: (axis, None if axis >= rank - count else _SAME) for axis in range(rank)}

    return rule


def _normalized(call: Call) -> Moves:
    return _mixed_last(len(call.arg(1, "normalized_shape", (0,))))(call)


def _along(place: int, default: int | None, drops: bool = False) -> Callable[[Call], Moves]:
    """Operations along one axis, given at `place`: mixed (or dropped) there, untouched elsewhere."""

    def rule(call: Call) -> Moves:
        rank, dim = len(call.given), call.arg(place, "dim", default)
        if not isinstance(dim, int):
            return dict.fromkeys(range(rank), _NOWHERE)
        if drops:
            return _dropped(rank, {dim % rank})
        return {axis: (axis, None if axis == dim % rank else _SAME) for axis in range(rank)}

    return rule


def _indexed(call: Call) -> Moves:
    """x[...]: numbers, slices, None and ... ; an index that is a tensor or a list mixes everything."""
    index = call.step.args[1]
    index = list(index) if isinstance(index, tuple) else [index]
    if any(not (i is None or i is Ellipsis or type(i) in (int, slice)) for i in index):
        return dict.fromkeys(range(len(call.given)), _NOWHERE)
    taken = sum(i is not None and i is not Ellipsis for i in index)
    at = index.index(Ellipsis) if Ellipsis in index else len(index)
    index[at : at + 1] = [slice(None)] * (len(call.given) - taken)
    found: Moves = {}
    axis = to = 0
    for i in index:
        if i is not None:
            found[axis] = (to, _sliced(i, call.given[axis]))
            axis += 1
        to += not isinstance(i, int)
    return found


def _sliced(index: Any, size: int) -> Window | None:
    if not isinstance(index, slice) or any(isinstance(v, Ref) for v in (index.start, index.stop, index.step)):
        return None
    start, _, step = index.indices(size)
    return window(step, start, start)


_REDUCTIONS = (
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "prod",
    "var",
    "std",
    "norm",
    "logsumexp",
    "any",
    "all",
    "argmax",
    "argmin",
)
_RULES: Mapping[str, Callable[[Call], Moves]] = (
    dict.fromkeys(
        ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "_unsafe_view"),
        _reshaped,
    )
    | dict.fromkeys(("permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "T", "mT", "t"), _permuted)
    | dict.fromkeys(_REDUCTIONS, _reduced)
    | {
        "linear": _mixed_last(1),
        "matmul": _mixed_last(1),
        "layer_norm": _normalized,
        "rms_norm": _normalized,
        "getitem": _indexed,
    }
    | dict.fromkeys(("softmax", "log_softmax", "cumsum", "topk", "sort"), _along(1, None))
    | {
        "chunk": _along(2, 0),
        "split": _along(2, 0),
        "split_with_sizes": _along(2, 0),
        "tensor_split": _along(2, 0),
        "unsafe_chunk": _along(2, 0),
    }
    | {"unbind": _along(1, 0, drops=True), "select": _along(1, 0, drops=True)}
)
