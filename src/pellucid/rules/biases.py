r"""What every operation adds of its own: its bias, and the score's gradient on it (Srinivas, Fleuret 2019).

Near its input every operation is $y = J x + b$ with its Jacobian $J$ there.  The bias $b = y - J x$ is that of a layer,
the shift of a normalization, a constant that is added, or what a bend leaves: $y - x\,y'(x)$ for a function of one
number, $-y$ for a product of two signals.  With all of them,

$$f(x) = \sum_i x_i \frac{\partial f}{\partial x_i} + \sum_{\text{operations}} b \cdot \frac{\partial f}{\partial y}$$

No rule is needed for that, only each operation's result and the plain gradient on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from pellucid.core.last_map import Order, order_after
from pellucid.core.names import operation_name
from pellucid.core.operations.kinds import Operation, activation
from pellucid.core.operations.of_many import named
from pellucid.core.run import current
from pellucid.core.structure import leaves, rebuilt
from pellucid.rules.affine import Affine, Step, step_by_numbers
from pellucid.rules.expansions import BLOCKS

_CONVOLUTIONS = named("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What has no bias is named only to save time: whatever is not named is asked.
_CUTS = _words("relu6 hardtanh clamp")  # the same number within limits
_STRAIGHT = _words("relu leaky_relu prelu abs")
_MOVES = _words(
    """view view_as reshape flatten unflatten transpose permute swapaxes movedim moveaxis squeeze unsqueeze expand
    expand_as repeat contiguous clone detach to float double getitem narrow select chunk split unbind roll flip T mT
    pad neg mean sum dropout dropout1d dropout2d dropout3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d interpolate amax pixel_shuffle pixel_unshuffle gather index_select"""
)
_FACTORS = _words("mul mul_ rmul multiply div div_ truediv divide true_divide matmul rmatmul mm bmm mv")
_SUMS = _words("add add_ radd sub sub_ rsub cat concat stack maximum")
_NOISE = 32  # roundings of the result, which are no bias


@dataclass(frozen=True, slots=True)
class Term:
    """Bias times gradient of one operation, shaped like its result; `order` says what its axes are, where known."""

    name: str
    value: Tensor
    order: Order | None


class Biases(TorchFunctionMode):
    """Watches a pass of one sample; when its score is differentiated, `tell` is told what each operation added.

    A layer's bias counts as one with what directly follows it: batch normalization, also one that is spelled out, and
    whatever else adds numbers or multiplies by them.
    """

    def __init__(self, tell: Callable[[Term], None]) -> None:
        super().__init__()
        self.tell = tell
        self.axes = WeakIdKeyDictionary()  # tensor -> what its axes are
        self.affine = WeakIdKeyDictionary()  # the result of a layer and of steps behind it -> its `Affine`

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, and listen for the gradient on its result where it has a bias."""
        kwargs = kwargs or {}
        varying = [v for v in leaves((args, kwargs)) if v.requires_grad]
        if not varying:
            return func(*args, **kwargs)
        if func in BLOCKS:
            with self:
                out = BLOCKS[func](*args, **kwargs)
            if out is not NotImplemented:
                return out
        name, layer = operation_name(func), func in _CONVOLUTIONS or func is F.linear
        step = step_by_numbers(name, args, kwargs)
        before = None if step is None else self.affine_of(step.x)
        if func is F.batch_norm:
            args, kwargs, biases = self.normalization(args, kwargs)
        elif layer:
            biases = _of_layer(func, args, kwargs)
        elif step is not None:
            biases = _of_step(step, before)
        else:
            biases = _biases(func, name, args, kwargs)
        out = func(*args, **kwargs)
        self.follow(name, (*args, *kwargs.values()), out)
        for y, bias in zip(_results(out), biases(out), strict=False):
            if bias is not None:
                here = Affine(bias, y._version)
                known: Order | None = self.axes.get(y, None)  # type: ignore[no-untyped-call]  # torch's own
                hear = partial(self.hear, name, known, here, None if before is None or step is None else (before, step))
                y.register_hook(hear)  # type: ignore[no-untyped-call]  # torch does not type it
                if layer or step is not None or func is F.batch_norm:
                    self.affine[y] = here
        return out

    def affine_of(self, x: Tensor) -> Affine | None:
        """What is known of a tensor that a layer or a step put out, unless something wrote into it since."""
        found: Affine | None = self.affine.get(x, None)  # type: ignore[no-untyped-call]  # torch's own
        return found if found is not None and found.version == x._version else None

    def hear(
        self, name: str, order: Order | None, here: Affine, behind: tuple[Affine, Step] | None, up: Tensor | None
    ) -> None:
        """Tell what a bias adds to the score, less what steps further on have taken; tell the step before the same."""
        if up is None:  # quantized operations look differentiable and are not
            return
        if behind is not None:
            before, step = behind
            before.taken.append(step.back(up.detach()))
        taken = torch.stack(here.taken).sum(0) if len(here.taken) > 1 else next(iter(here.taken), None)
        here.taken.clear()
        if taken is None or not torch.equal(up, taken):
            self.tell(Term(name, ((up if taken is None else up - taken) * here.bias).detach(), order))

    def follow(self, name: str, args: tuple[Any, ...], out: Any) -> None:
        """Note what the axes of a result are."""
        if not isinstance(out, Tensor):
            return
        if out.ndim == 4:
            order = order_after(name, args, out, self.axes)
        elif name in _ORDERED:
            order = tuple(range(out.ndim))
        else:
            order = next((self.axes[v] for v in leaves(args) if v in self.axes and v.shape == out.shape), None)
        if order is not None:
            self.axes[out] = order

    def normalization(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any, Later]:
        """Batch normalization by what it has learned: one layer with the one before it."""
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        if given.get("training") or given.get("running_mean") is None:
            return (), given, _biases(F.batch_norm, "batch_norm", (), given)
        x, shape = given["input"], (-1, *[1] * (given["input"].ndim - 2))
        scale = (given["running_var"] + given.get("eps", 1e-5)).rsqrt()
        scale = scale if given.get("weight") is None else scale * given["weight"]
        shift = -given["running_mean"] * scale + (0.0 if given.get("bias") is None else given["bias"])
        bias = shift.detach().reshape(shape)
        before = self.affine_of(x)
        if before is not None:
            bias = bias + before.bias * scale.detach().reshape(shape)
            # a tensor of its own, so that what comes back this way is told apart (torch 2.13's `view` does not do: the
            # gradient through it and a normalization is wrong where channels lie last)
            given["input"] = torch.ops.aten.alias(x)
            given["input"].register_hook(before.taken.append)
            if x in self.axes:
                self.axes[given["input"]] = self.axes[x]
        return (), given, lambda _: [bias]


_ORDERED = frozenset(_CONVOLUTIONS.values())
Later: TypeAlias = Callable[[Any], list[Tensor | None]]


def _of_layer(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Later:
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | dict(kwargs)
    if any(v is not None and v.requires_grad for v in (given["weight"], given.get("bias"))):
        return _biases(func, operation_name(func), args, kwargs)
    bias: Tensor | None = given.get("bias")
    if bias is not None:
        bias = bias.detach() if func is F.linear else bias.detach().reshape(-1, *[1] * (given["weight"].ndim - 2))
    return lambda _: [bias]


def _of_step(step: Step, before: Affine | None) -> Later:
    if before is None and not step.is_sum:
        return lambda _: []
    bias = step.run(step.x.new_zeros(()) if before is None else before.bias).detach()
    return lambda _: [bias]


def _biases(func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Later:
    """The biases of an operation's results.  It is asked before it runs, since it may write into what it is given."""
    curve = activation(func, args, kwargs)
    if curve is not None:
        bias = None if curve.name in _STRAIGHT else _of_curve(curve)
        return lambda _: [bias]
    given = leaves((args, kwargs))
    varying = [v.requires_grad for v in given]
    numbers = leaves((args[1:], kwargs), float) + leaves((args[1:], kwargs), int)
    fills = name == "pad" and kwargs.get("value", args[3] if len(args) > 3 else None)
    if (name in _MOVES and not fills) or (name in _FACTORS and sum(varying) == 1 and varying[0]):
        return lambda _: []
    if name in _SUMS and all(varying) and (name in ("cat", "concat", "stack") or not numbers):
        return lambda _: []
    if name in _FACTORS and sum(varying) == 2:
        of_quotient = "div" in name
        return lambda out: [out.detach().clone() if of_quotient else -out.detach()]
    inputs = rebuilt((args, kwargs), lambda v: v.detach().clone()) if name.endswith("_") else (args, kwargs)
    return lambda out: _of_any(func, inputs, varying) if _results(out) else []


def _of_curve(curve: Operation) -> Tensor | None:
    """The bias y - x dy/dx of a function of one number."""
    x = curve.inputs[0].detach()
    if curve.name in _CUTS:
        if curve.name == "relu6":
            return F.threshold(x, 6, 0).clamp_(max=6) if float(x.amax()) > 6 else None
        y = curve.plain(x)
        return y.mul_(y != x)
    with torch.enable_grad():
        leaf = x.requires_grad_()
        y = curve.plain(leaf)
        (slope,) = torch.autograd.grad(y.sum(), leaf)
    return _but_for_rounding(y.detach() - leaf.detach() * slope, y)


def _of_any(func: Any, inputs: Any, varying: list[bool]) -> list[Tensor | None]:
    """The bias y - J x of whatever can be differentiated twice: J x is the slope, by v, of what J sends back for v."""
    found, marks = list[Tensor](), iter(varying)

    def leaf(v: Tensor) -> Tensor:
        if not next(marks):
            return v
        found.append(v.detach().requires_grad_())
        return found[-1].clone()

    with torch.enable_grad():
        args, kwargs = rebuilt(inputs, leaf)
        ys = _results(func(*args, **kwargs))
        vs = [torch.zeros_like(y, requires_grad=True) for y in ys]
        try:
            back = torch.autograd.grad(ys, found, vs, create_graph=True, allow_unused=True)
            sent: list[Tensor | None] = list(back)  # None where nothing depends on it, whatever torch's types say
            pairs = [(g, x) for g, x in zip(sent, found, strict=True) if g is not None]
            if not pairs:
                return [y.detach() for y in ys]
            along = torch.stack([(g * x.detach().nan_to_num(0.0, 0.0, 0.0)).sum() for g, x in pairs]).sum()
            into: tuple[Tensor | None, ...] = torch.autograd.grad(along, vs, allow_unused=True)
        except RuntimeError:  # no second derivative
            current().meter.without_rule.add(operation_name(func))
            return []
    return [_but_for_rounding(y.detach() - (0 if j is None else j), y) for y, j in zip(ys, into, strict=True)]


def _but_for_rounding(bias: Tensor, y: Tensor) -> Tensor | None:
    """The bias; None when it is nothing but rounding.  Where it is infinite it hides something: nothing comes back."""
    bias, size = (v.detach().nan_to_num(0.0, 0.0, 0.0) for v in (bias, y))
    noise = _NOISE * torch.finfo(y.dtype).eps * size.abs().amax() if size.numel() else 0
    return bias if bias.numel() and bool(bias.abs().amax() > noise) else None


def _results(out: Any) -> list[Tensor]:
    """The tensors among what an operation puts out on which the score may depend."""
    return [v for v in leaves(out) if v.requires_grad and v.is_floating_point()]
