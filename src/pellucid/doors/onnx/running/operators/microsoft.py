"""ONNX Runtime's own operators (domain com.microsoft): activations, fused layers, and the small ones.

What each computes is stated in ONNX Runtime's documentation of contributed operators; measured against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.convolution import conv
from pellucid.doors.onnx.running.operators.index import gather_nd, range_, trilu
from pellucid.doors.onnx.running.operators.math import gemm
from pellucid.doors.onnx.running.operators.padding import pad
from pellucid.doors.onnx.running.operators.pooling import max_pool
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, one

DOMAIN = "com.microsoft"

operator("GatherND", domain=DOMAIN)(gather_nd)
operator("Trilu", domain=DOMAIN, read=(1,))(trilu)
operator("Pad", domain=DOMAIN, read=(1, 2))(pad)


@operator("Range", domain=DOMAIN)
def count_up(node: Node, start: Tensor, limit: Tensor, delta: Tensor | None = None) -> Tensor:
    """Numbers from start to limit; in steps of 1 unless said."""
    return range_(node, start, limit, torch.ones_like(start) if delta is None else delta)


@operator("Gelu", domain=DOMAIN)
@operator("BiasGelu", domain=DOMAIN)
def gelu(node: Node, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """X (with its bias) times the normal distribution's function."""
    return F.gelu(x if bias is None else x + bias)


@operator("FastGelu", domain=DOMAIN)
def fast_gelu(node: Node, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same by tanh."""
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("QuickGelu", domain=DOMAIN)
def quick_gelu(node: Node, x: Tensor) -> Tensor:
    """X times the sigmoid of alpha x."""
    alpha = node.get("alpha", 1.702)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


@operator("BiasSplitGelu", domain=DOMAIN)
def bias_split_gelu(node: Node, x: Tensor, bias: Tensor) -> Tensor:
    """The first half of the features, gated by the other."""
    left, right = (x + bias).chunk(2, -1)
    return left * F.gelu(right)


@operator("BiasAdd", domain=DOMAIN)
def bias_add(node: Node, x: Tensor, bias: Tensor, skip: Tensor) -> Tensor:
    """X with its bias and what went around it."""
    return x + bias + skip


@operator("BiasSoftmax", domain=DOMAIN)
def bias_softmax(node: Node, x: Tensor, bias: Tensor) -> Tensor:
    """Softmax of x and its bias over all axes from `axis` on together; the bias has ones where it is repeated."""
    axis = node.get("axis", 1) % x.dim()
    return F.softmax((x + bias).flatten(axis), -1).reshape(x.shape)


@operator("BiasDropout", domain=DOMAIN)
def bias_dropout(
    node: Node, x: Tensor, bias: Tensor, skip: Tensor | None = None, *training: Tensor | None
) -> tuple[Tensor, ...]:
    """X with its bias and what went around it: nothing is dropped outside of training."""
    out = x + bias if skip is None else x + bias + skip
    return (out, torch.ones_like(out, dtype=torch.bool))[: node.count]


def activated(x: Tensor, name: str, numbers: Sequence[float]) -> Tensor:
    """The activation that a fused layer ends in, with its numbers in order."""
    if name in ("", "Relu"):
        return F.relu(x) if name else x
    first, second = (*numbers, 0.0, 0.0)[:2]
    if name == "Tanh":
        return torch.tanh(x)
    if name == "Sigmoid":
        return torch.sigmoid(x)
    if name == "LeakyRelu":
        return F.leaky_relu(x, first if numbers else 0.01)
    if name == "Clip":
        return F.hardtanh(x, first, second)
    if name == "HardSigmoid":
        return torch.clamp(first * x + second, 0, 1)
    raise BadModel(f"A fused layer ends in {printable(name, 40)!r}.", "Export the model without fusing layers.")


@operator("FusedConv", domain=DOMAIN)
def fused_conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None, more: Tensor | None = None) -> Tensor:
    """A convolution, something added, and an activation."""
    out = conv(node, x, weight, bias)
    out = out if more is None else out + more
    return activated(out, node.get("activation", ""), node.get("activation_params", ()))


@operator("FusedGemm", domain=DOMAIN)
def fused_gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """A product of matrices and an activation."""
    numbers = [node.get(f"activation_{k}") for k in ("alpha", "beta", "gamma")]
    return activated(gemm(node, a, b, c), node.get("activation", ""), [n for n in numbers if n is not None])


@operator("FusedMatMul", "TransposeMatMul", domain=DOMAIN)
def fused_matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A batched product, either side of which may be transposed before."""
    sides = list[Tensor]()
    for x, name in ((a, "A"), (b, "B")):
        if node.get(f"transBatch{name}", 0):  # the first axis goes behind the other batch axes
            x = x.movedim(0, x.dim() - 2)
        sides.append(x.transpose(-1, -2) if node.get(f"trans{name}", 0) and x.dim() > 1 else x)
    alpha, out = node.get("alpha", 1.0), torch.matmul(*sides)
    return out if alpha == 1 else alpha * out


@operator("NhwcConv", domain=DOMAIN)
@operator("NhwcFusedConv", domain=DOMAIN)
def nhwc_conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None, more: Tensor | None = None) -> Tensor:
    """A convolution with channels in the last axis of its input and output."""
    out = conv(node, x.movedim(-1, 1), weight, bias).movedim(1, -1)
    out = out if more is None else out + more
    return activated(out, node.get("activation", ""), node.get("activation_params", ()))


@operator("NhwcMaxPool", domain=DOMAIN)
def nhwc_max_pool(node: Node, x: Tensor) -> Any:
    """The greatest in each window, with channels in the last axis."""
    wide = x if x.is_floating_point() else x.to(torch.float32)
    out = max_pool(node, wide.movedim(-1, 1))
    return (out[0] if isinstance(out, tuple) else out).movedim(1, -1).to(x.dtype)


@operator("Inverse", domain=DOMAIN)
def inverse(node: Node, x: Tensor) -> Tensor:
    """The inverse of each matrix."""
    out: Tensor = torch.linalg.inv(x)
    return out


@operator("ExpandDims", domain=DOMAIN, read=(1,), shapely=True)
def expand_dims(node: Node, x: Tensor, axis: Numbers) -> Tensor:
    """A new axis of length 1."""
    return x.unsqueeze(int(one(axis)))


@operator("Unique", domain=DOMAIN)
def unique(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each value once, in order of first appearance; which one each value is; and how often it comes."""
    values, which, counts = torch.unique(x, return_inverse=True, return_counts=True)
    places = torch.arange(len(x), device=x.device)
    first = torch.full_like(counts, len(x)).scatter_reduce(0, which, places, "amin")
    order = torch.argsort(first)
    return values[order], torch.argsort(order)[which], counts[order]


@operator("CDist", domain=DOMAIN)
def distances(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """The distance of each row of one to each row of the other: Euclidean, or its square."""
    if node.get("metric", "sqeuclidean") == "euclidean":
        return torch.cdist(a, b)
    return (a.unsqueeze(1) - b).square().sum(-1)


@operator("ComplexMul", "ComplexMulConj", domain=DOMAIN)
def complex_product(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """The product of complex numbers, which are pairs on the last axis."""
    left, right = torch.view_as_complex(a.contiguous()), torch.view_as_complex(b.contiguous())
    return torch.view_as_real(left * (right.conj() if node.op.endswith("Conj") else right))
