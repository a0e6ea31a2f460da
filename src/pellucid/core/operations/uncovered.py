"""What a rule left out: the operations between the input and a score that ran under the plain gradient.

They are found in the gradient graph, so that scripted code, custom functions and the inside of fused layers count too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pellucid.core.rule import Rule

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
# ... that weigh values against each other, which matters to a rule that shares out
_MIXING_NODES = """
    AdaptiveAvgPool1D AdaptiveAvgPool2D AdaptiveAvgPool3D Add Addbmm Addmm AvgPool1D AvgPool2D AvgPool3D Bmm Convolution
    ConvolutionOverrideable CudnnBatchNorm CudnnConvolution Cumsum Div Dot Einsum Linear Matmul Mean MkldnnConvolution
    Mm Mul Mv NativeBatchNorm Neg Rsub SlowConv2D SlowConv3D Sub Sum UpsampleBicubic2D UpsampleBilinear2D
    UpsampleLinear1D UpsampleTrilinear3D
"""
_MIXING = frozenset(re.findall(r"\w+", _MIXING_NODES))
_FAMILIES = (
    (r"(Adaptive)?MaxPool.*|FractionalMaxPool.*", "max_pool"),
    (r"ScaledDotProduct.*|.*Attention.*", "attention"),
    (r".*(Rnn|Lstm|Gru).*", "recurrent"),
    (r"Native(Layer|Group|Batch)Norm.*|.*RmsNorm.*|CudnnBatchNorm", "normalization"),
)


def operations_without_rule(score: Tensor, rules: Iterable[Rule]) -> set[str]:
    """The nonlinear operations between the input and a score that ran under the plain gradient."""
    rules = tuple(rules)
    fine = {name for rule in rules for name in rule.keeps}
    linear = _LINEAR - _MIXING if any(rule.shares for rule in rules) else _LINEAR
    found, todo, met = set[str](), [score.grad_fn], set[Any]()
    while todo:
        node = todo.pop()
        if node is None or node in met:
            continue
        met.add(node)
        todo.extend(parent for parent, _ in node.next_functions)
        found.add(_needs_rule(node, linear))
    return found - fine - {""}


def _needs_rule(node: Any, linear: frozenset[str]) -> str:
    """The operation behind a node of the gradient graph, or '' when it needs no rule."""
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        return "" if type(node).__name__ == "_RewiredBackward" else type(node).__name__.removesuffix("Backward")
    name = re.sub(r"Backward\d*$", "", node.name().rsplit("::", 1)[-1])
    if name in _BILINEAR and sum(parent is not None for parent, _ in node.next_functions) > 1:
        return name.lower()
    if name in linear and not getattr(node, "_saved_training", False):  # a norm by the values' own statistics bends
        return ""
    family = next((family for pattern, family in _FAMILIES if re.fullmatch(pattern, name)), None)
    return family or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
