"""Linear operations, for rules that share out what flows back instead of following slopes.

Layers with weights (`dense`, `convolution`) carry them, so that a rule may run them with others.  What directly follows
such a layer and gives each of its outputs a constant factor or summand is one linear operation with it: batch
normalization, and a bias that is added by itself, as Keras does; the axes may be moved in between.  `mixture` is any
other weighing of values against each other: sums, means, pooling; `scaled` is a constant factor for each value,
`shifted` adds a constant to each as well.  What merely moves values (views, concatenation, padding) is none of these.
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
    """A layer with weights: `apply(x, weight, bias)`; `axis` of the weight counts the outputs, as `at` of y does."""

    apply: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    weight: Tensor
    bias: Tensor | None
    axis: int = 0
    at: int = 1

    def then(self, scale: Tensor, shift: Tensor) -> Weighted:
        """The same layer with every output scaled and shifted."""
        shape = [1] * self.weight.ndim
        shape[self.axis] = -1
        bias = shift if self.bias is None else self.bias * scale + shift
        return replace(self, weight=self.weight * scale.reshape(shape), bias=bias)

    def permuted(self, order: tuple[int, ...]) -> Weighted:
        """The same layer with the axes of its result in another order."""
        at = order.index(self.at % len(order))
        # a tensor of its own: what is but a view may not be written into
        return replace(self, apply=lambda v, w, b: self.apply(v, w, b).permute(order).clone(), at=at)

    def operation(self, name: str, x: Tensor, **more: Any) -> Operation:
        """The layer as it was called."""
        return Operation(name, (x,), lambda v: self.apply(v, self.weight, self.bias), options={"layer": self, **more})


_CONVOLUTIONS: dict[Any, int] = {
    **dict.fromkeys(named("conv1d", "conv2d", "conv3d"), 0),
    **dict.fromkeys(named("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1),
}
LAYERS = frozenset({*_CONVOLUTIONS, F.linear})  # with weights
_PRODUCTS = named("matmul", "__matmul__", "mm")
_IN_PLACE: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((Tensor.add_, Tensor.__iadd__), torch.add),
    **dict.fromkeys((Tensor.sub_, Tensor.__isub__), torch.sub),
    **dict.fromkeys((Tensor.mul_, Tensor.__imul__), torch.mul),
    **dict.fromkeys((Tensor.div_, Tensor.__itruediv__), torch.div),
}
_EACH: dict[Any, str] = {
    **dict.fromkeys(named("add", "__add__"), "add"),
    **dict.fromkeys(named("sub", "subtract", "__sub__"), "sub"),
    **dict.fromkeys(named("mul", "multiply", "__mul__"), "mul"),
    **dict.fromkeys(named("div", "divide", "true_divide", "__truediv__"), "div"),
}
_PERMUTES = named("permute")
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
    plain: Any = _IN_PLACE.get(func, func)
    if last is not None and args and args[0] is last[0]:
        if func is F.batch_norm:
            return _normalized(last[1], args[1:], kwargs)
        joined = _joined(plain, *last, args[1:], kwargs)
        if joined is not None:
            return replace(joined, in_place=func is not plain)
    if func in _SCALES:
        return _scaled(plain, args, kwargs, func is not plain)
    if func in _SUMS:
        found = of_dependent("mixture", plain, args, kwargs, in_place=func is not plain and args[0].requires_grad)
        return _named_alone(found, func, args, kwargs)
    if func in _PRODUCTS and (dense := _dense(args, kwargs)) is not None:
        return dense
    found = of_dependent("mixture", func, args, kwargs) if func in _OF_ONE else None
    found = found if found is not None and len(found.inputs) == 1 else None
    return replace(found, name="shifted") if found is not None and func is F.batch_norm else found


def moved(
    func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], last: tuple[Tensor, Operation] | None
) -> Operation | None:
    """The latest layer with weights with the axes of its result in another order, where a call does just that."""
    if last is None or func not in _PERMUTES or kwargs or not args or args[0] is not last[0]:
        return None
    order = args[1] if len(args) == 2 else args[1:]
    layer: Weighted = last[1].options["layer"]
    return layer.permuted(tuple(d % last[0].ndim for d in order)).operation(last[1].name, last[1].inputs[0])


def _named_alone(
    found: Operation | None, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Operation | None:
    """A sum with a constant, which leaves every value where it is, by its own name."""
    if found is None or len(found.inputs) != 1 or _SUMS[func] in ("lerp", "cumsum"):
        return found
    return replace(found, name="shifted") if _result(args, kwargs) == found.inputs[0].shape else found


def _result(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Size:
    shapes = [v.shape for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
    return torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call, no-any-return]


def _scaled(plain: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], in_place: bool) -> Operation | None:
    """A constant factor or divisor; one that repeats the value makes a mixture.  A varying divisor is not linear."""
    found = of_dependent("scaled", plain, args, kwargs, in_place=in_place)
    if found is None or len(found.inputs) != 1 or (plain not in _FACTORS and found.inputs[0] is not args[0]):
        return None
    return found if _result(args, kwargs) == found.inputs[0].shape else replace(found, name="mixture")


def _layer(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation | None:
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | dict(kwargs)
    x, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    if not x.requires_grad or any(v is not None and v.requires_grad for v in (weight, bias)):
        return None
    rest = args[3:]

    def apply(v: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        out: Tensor = func(v, w, b, *rest, **given)
        return out

    if func is F.linear:
        return Weighted(apply, weight, bias, at=-1).operation("dense", x)
    return Weighted(apply, weight, bias, _CONVOLUTIONS[func]).operation("convolution", x)


def _dense(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation | None:
    """A product with a constant matrix, which is a layer that is written in another way."""
    if kwargs or len(args) != 2 or not all(isinstance(v, Tensor) for v in args):
        return None
    x, w = args
    if not x.requires_grad or w.requires_grad or w.ndim != 2 or x.ndim < 2:
        return None
    return Weighted(F.linear, w.T, None, at=-1).operation("dense", x)


def _joined(
    plain: Any, result: Tensor, before: Operation, rest: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Operation | None:
    """A layer with what then scales or shifts each of its outputs by a constant; None where nothing does just that."""
    name, v = _EACH.get(plain), rest[0] if len(rest) == 1 and not kwargs else None
    if name is None or not isinstance(v, Tensor) or v.requires_grad or not v.is_floating_point():
        return None
    layer: Weighted = before.options["layer"]
    own = [1] * result.ndim
    own[layer.at] = n = result.shape[layer.at]
    row = v.ndim == result.ndim == 2  # it may be a sample's own numbers
    if row or n != layer.weight.shape[layer.axis] or [1] * (result.ndim - v.ndim) + [*v.shape] != own:
        return None
    v = v.reshape(n)
    one, nothing = torch.ones_like(v), torch.zeros_like(v)
    scale = {"mul": v, "div": one / v}.get(name, one)
    shift = {"add": v, "sub": -v}.get(name, nothing)
    return layer.then(scale, shift).operation(before.name, before.inputs[0], joined=True)


def _normalized(before: Operation, rest: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation | None:
    """A layer and the batch normalization right after it as one layer, or None where they cannot be one."""
    names = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = dict(zip(names, rest, strict=False)) | dict(kwargs)
    layer: Weighted = before.options["layer"]
    mean, variance = given.get("running_mean"), given.get("running_var")
    several = layer.weight.shape[layer.axis] != (len(mean) if mean is not None else -1)  # grouped, or of other axes
    if given.get("training") or mean is None or variance is None or several:
        return None
    scale = (variance + given.get("eps", 1e-5)).rsqrt()
    scale = scale if given.get("weight") is None else scale * given["weight"]
    shift = -mean * scale if given.get("bias") is None else given["bias"] - mean * scale
    return layer.then(scale, shift).operation(before.name, before.inputs[0], joined=True)
