"""Normalizations: of batches, instances, layers, groups and neighborhoods."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import dtype


@operator("BatchNormalization")
def batch_normalization(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor | tuple[Tensor, ...]:
    """By stored statistics; by the batch's own, which are put out too, only when the file says that it trains."""
    epsilon, momentum = node.get("epsilon", 1e-5), node.get("momentum", 0.9)
    if not node.get("training_mode", 0) or node.version < 14:
        center, spread, weight, shift = (v.to(x.dtype) for v in (mean, variance, scale, bias))
        out = F.batch_norm(x, center, spread, weight, shift, False, 0.0, epsilon)
        return out if node.count == 1 else (out, mean, variance, mean, variance)
    axes = [0, *range(2, x.dim())]
    spread, center = torch.var_mean(x, axes, correction=0)
    out = F.batch_norm(x, None, None, scale.to(x.dtype), bias.to(x.dtype), True, 0.0, epsilon)
    running = [old * momentum + new.to(old.dtype) * (1 - momentum) for old, new in ((mean, center), (variance, spread))]
    return (out, *running)[: node.count]


@operator("InstanceNormalization")
def instance_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Each channel of each sample by its own mean and variance."""
    return F.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


@operator("LayerNormalization")
def layer_normalization(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> Tensor | tuple[Tensor, ...]:
    """Over the axes from `axis` on."""
    axis, epsilon = node.get("axis", -1) % x.dim(), node.get("epsilon", 1e-5)
    shape = x.shape[axis:]
    kind = torch.promote_types(x.dtype, dtype(node.get("stash_type", 1)))
    wide = x.to(kind)
    scale = scale.expand(shape) if scale.shape != shape else scale
    bias = bias.expand(shape) if bias is not None and bias.shape != shape else bias
    out = F.layer_norm(wide, shape, scale.to(kind), None if bias is None else bias.to(kind), epsilon).to(x.dtype)
    if node.count == 1:
        return out
    variance, mean = torch.var_mean(wide, list(range(axis, x.dim())), correction=0, keepdim=True)
    return (out, mean, torch.rsqrt(variance + epsilon))[: node.count]


@operator("RMSNormalization")
def rms_normalization(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    """By the root of the mean square over the axes from `axis` on."""
    axis, epsilon = node.get("axis", -1) % x.dim(), node.get("epsilon", 1e-5)
    kind = torch.promote_types(x.dtype, dtype(node.get("stash_type", 1)))
    if scale.shape == x.shape[axis:]:
        return F.rms_norm(x.to(kind), scale.shape, scale.to(kind), epsilon).to(x.dtype)
    return F.rms_norm(x.to(kind), x.shape[axis:], None, epsilon).to(x.dtype) * scale


@operator("GroupNormalization", since=18)
def group_normalization_by_group(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Over groups of channels, with one factor a group."""
    each = x.shape[1] // node.get("num_groups", 1)
    return group_normalization(node, x, scale.repeat_interleave(each), bias.repeat_interleave(each))


@operator("GroupNormalization", since=21)
def group_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Over groups of channels, with one factor a channel."""
    kind = torch.promote_types(x.dtype, dtype(node.get("stash_type", 1)))
    groups, epsilon = node.get("num_groups", 1), node.get("epsilon", 1e-5)
    return F.group_norm(x.to(kind), groups, scale.to(kind), bias.to(kind), epsilon).to(x.dtype)


@operator("LRN")
def local_response_normalization(node: Node, x: Tensor) -> Tensor:
    """By the squares of neighboring channels (Krizhevsky et al., 2012)."""
    size, alpha = int(node.get("size", 1)), float(node.get("alpha", 1e-4))
    beta, k = float(node.get("beta", 0.75)), float(node.get("bias", 1.0))
    if size % 2:
        return F.local_response_norm(x, size, alpha, beta, k)
    squares = (x * x).flatten(2).transpose(1, 2)
    means = F.avg_pool1d(F.pad(squares, ((size - 1) // 2, size // 2)), size, 1)
    return x / (k + alpha * means.transpose(1, 2).reshape(x.shape)) ** beta


@operator("LpNormalization")
def lp_normalization(node: Node, x: Tensor) -> Tensor:
    """By the 1-norm or the 2-norm along an axis; zeros stay zeros."""
    norm = torch.linalg.vector_norm(x, node.get("p", 2), node.get("axis", -1), keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / torch.where(norm == 0, torch.ones_like(norm), norm))
