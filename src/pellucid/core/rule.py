"""Other ways to go backwards.  A rule keeps an operation's value and changes what flows back through it.

Rules act on operations, not on modules, so it does not matter how a model spells them, whether it works in place, or
how often it reuses a module.  The interception is a `TorchFunctionMode`: local to the thread, editing nothing.  What
it cannot see (scripted code, custom autograd functions, the inside of fused layers) is found afterwards in the
gradient graph, and reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pellucid.core.names import operation_name
from pellucid.core.operations import Plain, activation

Vjp: TypeAlias = Callable[[Tensor], Tensor]
Backward: TypeAlias = Callable[[Tensor, Tensor, Tensor, Vjp], Tensor]


@dataclass(frozen=True, slots=True)
class Rule:
    """`backward(x, y, upstream, vjp)` gives what flows back through each of `operations`; `vjp` is the plain gradient.

    `keeps` are nonlinear operations whose plain gradient already is what the rule wants.
    """

    name: str
    operations: frozenset[str]
    backward: Backward
    keeps: frozenset[str] = frozenset()


_COMPARISONS = frozenset({"gt", "ge", "lt", "le", "sign", "sgn", "heaviside", "isclose", "signbit"})


class Rewire(TorchFunctionMode):
    """Runs a model with rules in place of the plain gradients of the operations that they speak of."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        super().__init__()
        self.by_operation = {operation: rule for rule in rules for operation in rule.operations}
        self.gates = set[str]()  # comparisons that may switch values on and off; autograd does not see them

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, rewired when a rule speaks of it."""
        call = activation(func, args, kwargs or {})
        rule = self.by_operation.get(call.name) if call is not None else None
        if call is None or rule is None or not call.x.requires_grad:
            if operation_name(func) in _COMPARISONS and any(isinstance(a, Tensor) and a.requires_grad for a in args):
                self.gates.add(operation_name(func))
            return func(*args, **(kwargs or {}))
        if not call.in_place:
            return _rewired(call.x, call.plain, rule.backward)
        # what follows may read the tensor that was written into, so it gets the value, with the rule in its history
        return call.x.copy_(_rewired(call.x.clone(), call.plain, rule.backward))


def _rewired(x: Tensor, plain: Plain, backward: Backward) -> Tensor:
    y: Tensor = _Rewired.apply(x, plain, backward)  # type: ignore[no-untyped-call]  # torch does not type it
    return y


class _Rewired(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, plain: Plain, backward: Backward) -> Tensor:
        y = plain(x)
        ctx.save_for_backward(x, y)
        ctx.plain, ctx.rule = plain, backward
        return y

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        x, y = ctx.saved_tensors

        def vjp(up: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                down: Tensor = torch.autograd.grad(ctx.plain(leaf), leaf, up)[0]
            return down

        down: Tensor = ctx.rule(x, y, upstream[0], vjp)
        return down, None, None


# Gradient-graph nodes that pass a gradient on linearly: they need no rule.
_LINEAR_NODES = """
    AccumulateGrad AdaptiveAvgPool1D AdaptiveAvgPool2D AdaptiveAvgPool3D Add Addbmm Addmm Alias AsStrided AvgPool1D
    AvgPool2D AvgPool3D Bmm Cat Clone Col2Im ConstantPadNd Contiguous ConvTbc Convolution
    ConvolutionBackwardOverrideable ConvolutionOverrideable Copy CopyBackwards CopySlices Cudnn CudnnBatchNorm
    CudnnConvolution Cumsum Detach Diagonal Div Dot Dropout Einsum Embedding Expand Flip Gather Im2Col Index IndexAdd
    IndexPut IndexSelect Linear MaskedFill MaskedScatter Matmul Mean MiopenBatchNorm MkldnnConvolution Mm Movedim Mul
    Mv Narrow NativeBatchNorm Neg Permute PixelShuffle PixelUnshuffle ReflectionPad1D ReflectionPad2D ReflectionPad3D
    Repeat ReplicationPad1D ReplicationPad2D ReplicationPad3D ReshapeAlias Roll Rsub SafeSplit Scatter Select Slice
    SlowConv2D SlowConv3D Split SplitWithSizes Squeeze Stack Sub Sum T ThnnConv2D To ToCopy Trace Transpose Unbind
    Unfold UnsafeSplit UnsafeView Unsqueeze UpsampleBicubic2D UpsampleBicubic2DAa UpsampleBilinear2D
    UpsampleBilinear2DAa UpsampleLinear1D UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D UpsampleTrilinear3D
    View ViewAs Where
"""
_LINEAR = frozenset(re.findall(r"\w+", _LINEAR_NODES))
# ... linear in each operand alone, so only when one of them does not depend on the input
_BILINEAR = frozenset(
    ("Mul", "Div", "Mm", "Bmm", "Matmul", "Addmm", "Baddbmm", "Addbmm", "Dot", "Mv", "Einsum", "Convolution")
)
_FAMILIES = (
    (r"(Adaptive)?MaxPool.*|FractionalMaxPool.*", "max_pool"),
    (r"ScaledDotProduct.*|.*Attention.*", "attention"),
    (r".*(Rnn|Lstm|Gru).*", "recurrent"),
    (r"Native(Layer|Group)Norm.*|.*RmsNorm.*", "normalization"),
)


def operations_without_rule(score: Tensor, rules: Iterable[Rule]) -> set[str]:
    """The nonlinear operations between the input and a score that ran under the plain gradient."""
    fine = {name for rule in rules for name in rule.keeps}
    found, todo, met = set[str](), [score.grad_fn], set[Any]()
    while todo:
        node = todo.pop()
        if node is None or node in met:
            continue
        met.add(node)
        todo.extend(parent for parent, _ in node.next_functions)
        found.add(_needs_rule(node))
    return found - fine - {""}


def _needs_rule(node: Any) -> str:
    """The operation behind a node of the gradient graph, or '' when it needs no rule."""
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        return "" if type(node).__name__ == "_RewiredBackward" else type(node).__name__.removesuffix("Backward")
    name = re.sub(r"Backward\d*$", "", node.name().rsplit("::", 1)[-1])
    if name in _BILINEAR and sum(parent is not None for parent, _ in node.next_functions) > 1:
        return name.lower()
    if name in _LINEAR:
        return ""
    family = next((family for pattern, family in _FAMILIES if re.fullmatch(pattern, name)), None)
    return family or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
