"""Which input positions an operation looks at along each axis: output o sees inputs o·step + low ... o·step + high."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from pellucid.core.recording.step import Ref, Step


@dataclass(frozen=True, slots=True)
class Window:
    """Output position o reads no input outside [o·step + low, o·step + high]."""

    step: Fraction
    low: Fraction
    high: Fraction


@dataclass(frozen=True, slots=True)
class Call:
    """An operation as recorded: its arguments, the shapes it took and gave, and the shape of its weight."""

    step: Step
    given: tuple[int, ...]
    made: tuple[int, ...]
    weight: tuple[int, ...] = ()

    def arg(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or name; tensors are no numbers."""
        found = self.step.args[place] if place < len(self.step.args) else self.step.kwargs.get(name, default)
        return default if isinstance(found, Ref) else found


Windows: TypeAlias = dict[int, Window | None]


def windows(name: str, call: Call) -> Windows | None:
    """The windows of an operation by axis of its input; None for operations that are not about neighborhoods.

    An axis that is seen entirely has None for a window.

    >>> call = Call(Step(None, (Ref(0), 3, 2, 1), {}, None, ()), (1, 8, 16, 16), (1, 8, 8, 8))
    >>> windows("max_pool2d", call)[2]
    Window(step=Fraction(2, 1), low=Fraction(-1, 1), high=Fraction(1, 1))
    """
    rule = _RULES.get(name.rstrip("_"))
    return None if rule is None else rule(call)


def window(step: float | Fraction, low: float | Fraction, high: float | Fraction) -> Window:
    """A window of exact numbers."""
    return Window(Fraction(step), Fraction(low), Fraction(high))


def _each(value: Any, rank: int) -> list[Any]:
    several = list(value) if isinstance(value, tuple | list) else [value]
    return several * rank if len(several) == 1 else several


def _last(call: Call, rank: int) -> range:
    return range(len(call.given) - rank, len(call.given))


def _convolution(rank: int) -> Callable[[Call], Windows]:
    def rule(call: Call) -> Windows:
        stride, dilation = _each(call.arg(3, "stride", 1), rank), _each(call.arg(5, "dilation", 1), rank)
        padding = call.arg(4, "padding", 0)
        reach = [d * (k - 1) for d, k in zip(dilation, call.weight[-rank:], strict=True)]
        left = [r // 2 for r in reach] if padding == "same" else _each(0 if padding == "valid" else padding, rank)
        seen = zip(_last(call, rank), stride, left, reach, strict=True)
        return {axis: window(s, -p, r - p) for axis, s, p, r in seen}

    return rule


def _transposed(rank: int) -> Callable[[Call], Windows]:
    def rule(call: Call) -> Windows:
        kernel = call.weight[-rank:]
        stride, padding = _each(call.arg(3, "stride", 1), rank), _each(call.arg(4, "padding", 0), rank)
        dilation = _each(call.arg(7, "dilation", 1), rank)
        seen = zip(_last(call, rank), kernel, stride, padding, dilation, strict=True)
        return {a: window(Fraction(1, s), Fraction(p - d * (k - 1), s), Fraction(p, s)) for a, k, s, p, d in seen}

    return rule


def _pool(rank: int, dilated: bool) -> Callable[[Call], Windows]:
    def rule(call: Call) -> Windows:
        kernel = _each(call.arg(1, "kernel_size"), rank)
        stride = _each(call.arg(2, "stride") or kernel, rank)
        padding = _each(call.arg(3, "padding", 0), rank)
        dilation = _each(call.arg(4, "dilation", 1) if dilated else 1, rank)
        seen = zip(_last(call, rank), kernel, stride, padding, dilation, strict=True)
        return {axis: window(s, -p, d * (k - 1) - p) for axis, k, s, p, d in seen}

    return rule


def _adaptive(rank: int) -> Callable[[Call], Windows]:
    def one(given: int, made: int) -> Window | None:
        step = Fraction(given, made)
        slack = Fraction(0) if step.denominator == 1 else Fraction(made - 1, made)
        return None if made == 1 and given > 1 else window(step, -slack, step - 1 + slack)

    return lambda call: {axis: one(call.given[axis], call.made[axis]) for axis in _last(call, rank)}


def _resize(call: Call) -> Windows:
    """Interpolation: nearest takes one position, linear two, cubic four; smoothed shrinking what shrinks to one."""
    rank, mode, scale = len(call.given) - 2, call.arg(3, "mode", "nearest"), call.arg(2, "scale_factor")
    if mode == "area":
        return _adaptive(rank)(call)
    exact = scale is None or call.arg(5, "recompute_scale_factor")
    found: Windows = {}
    for axis, factor in zip(_last(call, rank), _each(scale, rank), strict=True):
        given, made = call.given[axis], call.made[axis]
        step = Fraction(given, made) if exact else 1 / Fraction(factor).limit_denominator(10_000)
        if mode in ("nearest", "nearest-exact"):
            found[axis] = _floored(step, step / 2 if mode == "nearest-exact" else Fraction(0), 0)
            continue
        reach = 2 if mode == "bicubic" else 1
        if call.arg(4, "align_corners"):
            found[axis] = _floored(Fraction(given - 1, max(made - 1, 1)), Fraction(0), reach)
        elif call.arg(6, "antialias"):
            wide = reach * max(step, Fraction(1))
            found[axis] = window(step, (step - 1) / 2 - wide, (step - 1) / 2 + wide)
        else:
            found[axis] = _floored(step, (step - 1) / 2, reach)
    return found


def _floored(step: Fraction, shift: Fraction, reach: int) -> Window:
    """From `reach - 1` positions before the whole part of o·step + shift to `reach` behind it."""
    parts = math.lcm(step.denominator, shift.denominator)
    return window(step, shift - Fraction(parts - 1, parts) - max(reach - 1, 0), shift + reach)


def _shuffle(call: Call) -> Windows:
    k = int(call.arg(1, "upscale_factor", 1))
    return {axis: window(Fraction(1, k), -Fraction(k - 1, k), 0) for axis in _last(call, 2)}


def _unshuffle(call: Call) -> Windows:
    k = int(call.arg(1, "downscale_factor", 1))
    return {axis: window(k, 0, k - 1) for axis in _last(call, 2)}


def _pad(call: Call) -> Windows:
    amounts, mode = list(call.arg(1, "pad")), call.arg(2, "mode", "constant")
    found: Windows = {}
    for i in range(len(amounts) // 2):
        left, right = amounts[2 * i : 2 * i + 2]
        low, high = {"reflect": (-left - 2 * right, left), "replicate": (-left - right, 0)}.get(mode, (-left, -left))
        found[len(call.given) - 1 - i] = None if mode == "circular" else window(1, low, high)
    return found


_RULES: Mapping[str, Callable[[Call], Windows]] = (
    {f"conv{n}d": _convolution(n) for n in (1, 2, 3)}
    | {f"conv_transpose{n}d": _transposed(n) for n in (1, 2, 3)}
    | {f"max_pool{n}d{more}": _pool(n, True) for n in (1, 2, 3) for more in ("", "_with_indices")}
    | {f"{kind}_pool{n}d": _pool(n, False) for n in (1, 2, 3) for kind in ("avg", "lp")}
    | {f"adaptive_{kind}_pool{n}d": _adaptive(n) for n in (1, 2, 3) for kind in ("avg", "max")}
    | {
        "interpolate": _resize,
        "upsample": _resize,
        "pixel_shuffle": _shuffle,
        "pixel_unshuffle": _unshuffle,
        "pad": _pad,
    }
)
