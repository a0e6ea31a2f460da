"""What scales and shifts the channels of a layer after it, and what only moves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch._ops import OpOverload

from pellucid.core.recording.step import Ref, Step
from pellucid.core.recording.tape import Operation, Tape

_BATCH = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_KERNEL = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")  # as aten has it
FACTORS = {"add": "add", "sub": "sub", "subtract": "sub", "mul": "mul", "multiply": "mul", "div": "div"}
FACTORS |= {"true_divide": "div", "divide": "div"}
MOVES = frozenset({"permute", "transpose", "movedim", "moveaxis", "swapaxes", "contiguous", "to", "clone"})
BATCHES = frozenset({"batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training"})


@dataclass(frozen=True, slots=True)
class Constants:
    """Values that scale and shift channels after a layer, by `how`: a product, a sum, or "batch_norm" of the four."""

    how: str
    values: tuple[int | None, ...]
    eps: float = 0.0


def batch(tape: Tape, op: Operation) -> Constants | None:
    """A batch normalization by constants."""
    given = of_batch(tape, op)
    values = tuple(constant(tape, given.get(key)) for key in ("running_mean", "running_var", "weight", "bias"))
    if given.get("training") is True or values[0] is None or values[1] is None:
        return None
    return Constants("batch_norm", values, float(given.get("eps", 1e-5)))


def of_batch(tape: Tape, op: Operation) -> Mapping[str, Any]:
    """The arguments of a batch normalization by name, whichever function or kernel ran it."""
    step = tape.steps[op.index]
    if op.name.endswith("no_training"):
        return given_to(step, tuple(name for name in _KERNEL if name != "training"))
    kernel = op.name.startswith("aten.") or isinstance(step.function, OpOverload) or len(step.args) > len(_BATCH)
    return given_to(step, _KERNEL if kernel else _BATCH)


def axis_after(tape: Tape, op: Operation, name: str, axis: int, ndim: int) -> int | None:
    """Where an axis is after a move; None where that is not known."""
    args = tape.steps[op.index].args[1:]
    if tape.steps[op.index].kwargs and name not in ("contiguous", "to", "clone"):
        return None
    if name in ("contiguous", "to", "clone"):
        return axis
    flat = [n for a in args for n in (a if isinstance(a, tuple | list) else (a,))]
    if not all(isinstance(n, int) for n in flat):
        return None
    axes = [n % ndim for n in flat]
    if name == "permute":
        return axes.index(axis) if axis in axes else None
    if len(axes) != 2:
        return None
    order = list(range(ndim))
    if name in ("transpose", "swapaxes"):
        order[axes[0]], order[axes[1]] = order[axes[1]], order[axes[0]]
    else:
        order.insert(axes[1], order.pop(axes[0]))
    return order.index(axis)


def constant(tape: Tape, argument: Any) -> int | None:
    """The value that an argument is, if it holds fractions that do not depend on the input."""
    v = id_of(argument)
    return None if v is None or tape.values[v].varies or "float" not in tape.values[v].dtype else v


def id_of(argument: Any) -> int | None:
    """The value that an argument is."""
    return argument.id if isinstance(argument, Ref) else None


def given_to(step: Step, names: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of an operation by name."""
    return dict(zip(names, step.args, strict=False)) | dict(step.kwargs)
