"""Softplus in the place of every ReLU: a network that bends where the other has kinks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.rule import Rule


def softplus(sharpness: float) -> Rule:
    """The rule that computes log(1 + exp(b x)) / b where the network computes max(x, 0); b is the sharpness.

    ReLU6, hardtanh, leaky ReLU and clamps between numbers are sums of such, and are replaced too, however they are
    spelled.  It changes what goes forward: this is the only rule that explains another network, as near as b is large.
    """

    def above(x: Tensor) -> Tensor:
        return F.softplus(x, sharpness)

    def between(x: Tensor, min: Any = None, max: Any = None) -> Any:
        if any(not isinstance(end, int | float | None) for end in (min, max)) or min is max is None:
            return NotImplemented  # bounds that are tensors
        out = x if min is None else min + above(x - min)
        return out if max is None else (out - above(x - max) if min is not None else max - above(max - x))

    def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Any:
        return between(x, min_val, max_val)

    def relu6(x: Tensor) -> Any:
        return between(x, 0.0, 6.0)

    def leaky(x: Tensor, negative_slope: float = 0.01) -> Tensor:
        return negative_slope * x + (1 - negative_slope) * above(x)

    return Rule("softplus", {}, expands={
        **_spelled(above, F.relu, torch.relu, Tensor.relu, written=(F.relu_, torch.relu_, Tensor.relu_)),
        **_spelled(relu6, F.relu6), **_spelled(hardtanh, F.hardtanh, written=(F.hardtanh_,)),
        **_spelled(leaky, F.leaky_relu, written=(F.leaky_relu_,)),
        **_spelled(between, torch.clamp, Tensor.clamp, torch.clip, Tensor.clip, torch.clamp_min, Tensor.clamp_min,
                   written=(torch.clamp_, Tensor.clamp_, Tensor.clip_, torch.clamp_min_, Tensor.clamp_min_)),
    })  # fmt: skip


def _spelled(smooth: Callable[..., Any], *plain: Any, written: tuple[Any, ...] = ()) -> dict[Any, Any]:
    """A function under all its names; those in `written` write into their argument."""
    return dict.fromkeys(plain, partial(_maybe_in_place, smooth)) | {
        name: partial(_maybe_in_place, smooth, inplace=True) for name in written
    }


def _maybe_in_place(smooth: Callable[..., Any], input: Tensor, *args: Any, inplace: bool = False, **named: Any) -> Any:
    if args and isinstance(args[-1], bool):  # F.relu(x, True)
        *rest, inplace = args
        args = tuple(rest)
    out = smooth(input.clone() if inplace else input, *args, **named)
    return out if out is NotImplemented or not inplace else input.copy_(out)
