"""Linear operations, for rules that share out what flows back instead of following slopes.

Layers with weights (`dense`, `convolution`) carry them, so that a rule may run them with others; batch normalization
that directly follows such a layer is one linear operation with it.  `mixture` is any other weighing of values against
each other: sums, means, pooling; `scaled` is a constant factor for each value.  What merely moves values (views,
concatenation, padding) is none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.operations.kinds import Operation
from pellucid.core.operations.of_many import named, of_dependent


@dataclass(frozen=True, slots=True)
class Weighted:
    """A layer with weights: `apply(x, weight, bias)`; `axis` of the weight counts the outputs, of y the channels."""

    apply: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    weight: Tensor
    bias: Tensor | None
    axis: int = 0

    def then(self, scale: Tensor, shift: Tensor) -> Weighted:
        """The same layer with every output scaled and shifted."""
        shape = [1] * self.weight.ndim
        shape[self.axis] = -1
        bias = shift if self.bias is None else self.bias * scale + shift
        return Weighted(self.apply, self.weight * scale.reshape(shape), bias, self.axis)

    def operation(self, name: str, x: Tensor) -> Operation:
        """The layer as it was called."""
        return Operation(name, (x,), lambda v: self.apply(v, self.weight, self.bias), options={"layer": self})


_CONVOLUTIONS: dict[Any, int] = {
    **dict.fromkeys(named("conv1d", "conv2d", "conv3d"), 0),
    **dict.fromkeys(named("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1),
}
LAYERS = frozenset({*_CONVOLUTIONS, F.linear})  # with weights
_IN_PLACE: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((Tensor.add_, Tensor.__iadd__), torch.add),
    **dict.fromkeys((Tensor.sub_, Tensor.__isub__), torch.sub),
    **dict.fromkeys((Tensor.mul_, Tensor.__imul__), torch.mul),
    **dict.fromkeys((Tensor.div_, Tensor.__itruediv__), torch.div),
}
_FACTORS = named("mul", "multiply", "__mul__", "__rmul__")
_SUMS = named(
    "add",
    "add_",
    "__iadd__",
    "sub_",
    "__isub__",
    "__add__",
    "__radd__",
    "sub",
    "subtract",
    "__sub__",
    "__rsub__",
    "rsub",
    "lerp",
    "cumsum",
)
_SCALES = named(
    "mul", "multiply", "__mul__", "__rmul__", "div", "divide", "true_divide", "__truediv__", "neg", "__neg__",
    "negative", "mul_", "__imul__", "div_", "__itruediv__",
)  # fmt: skip
_OF_ONE = named(
    "mean", "sum", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "batch_norm", "interpolate", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv",
    "dot", "einsum", "addmm", "baddbmm", "conv1d", "conv2d", "conv3d",
)  # fmt: skip


def linear_operation(
    func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], last: tuple[Tensor, Operation] | None
) -> Operation | None:
    """The linear operation that a call computes, or None.  `last` is the latest weighted layer and its result."""
    if func in LAYERS:
        return _layer(func, args, kwargs)
    if func is F.batch_norm and last is not None and args and args[0] is last[0]:
        return _normalized(last[1], args[1:], kwargs)
    plain: Any = _IN_PLACE.get(func, func)
    if func in _SCALES:
        return _scaled(plain, args, kwargs, func is not plain)
    if func in _SUMS:
        return of_dependent("mixture", plain, args, kwargs, in_place=func is not plain and args[0].requires_grad)
    found = of_dependent("mixture", func, args, kwargs) if func in _OF_ONE else None
    return found if found is not None and len(found.inputs) == 1 else None


def _scaled(plain: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], in_place: bool) -> Operation | None:
    """A constant factor or divisor; one that repeats the value makes a mixture.  A varying divisor is not linear."""
    found = of_dependent("scaled", plain, args, kwargs, in_place=in_place)
    if found is None or len(found.inputs) != 1 or (plain not in _FACTORS and found.inputs[0] is not args[0]):
        return None
    shapes = [v.shape for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
    result = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
    return found if result == found.inputs[0].shape else replace(found, name="mixture")


def _layer(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation | None:
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | dict(kwargs)
    x, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    if not x.requires_grad or any(v is not None and v.requires_grad for v in (weight, bias)):
        return None
    rest = args[3:]

    def apply(v: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        out: Tensor = func(v, w, b, *rest, **given)
        return out

    axis = _CONVOLUTIONS.get(func, 0)
    return Weighted(apply, weight, bias, axis).operation("dense" if func is F.linear else "convolution", x)


def _normalized(before: Operation, rest: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation | None:
    """A layer and the batch normalization right after it as one layer, or None where they cannot be one."""
    names = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = dict(zip(names, rest, strict=False)) | dict(kwargs)
    layer: Weighted = before.options["layer"]
    mean, variance = given.get("running_mean"), given.get("running_var")
    several = layer.axis == 1 and layer.weight.shape[1] != (len(mean) if mean is not None else -1)  # grouped
    if given.get("training") or mean is None or variance is None or several:
        return None
    scale = (variance + given.get("eps", 1e-5)).rsqrt()
    scale = scale if given.get("weight") is None else scale * given["weight"]
    shift = -mean * scale if given.get("bias") is None else given["bias"] - mean * scale
    return layer.then(scale, shift).operation(before.name, before.inputs[0])
