"""Normalizations as ONNX Runtime fuses them with what stands around them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.microsoft import DOMAIN
from pellucid.doors.onnx.running.operators.normalization import layer_normalization
from pellucid.doors.onnx.running.operators.quantize import restored
from pellucid.doors.onnx.running.registry import operator

operator("LayerNormalization", domain=DOMAIN)(layer_normalization)


@operator("SimplifiedLayerNormalization")
@operator("SimplifiedLayerNormalization", domain=DOMAIN)
def by_length(node: Node, x: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
    """Divided by the root mean square over the last axes (Zhang and Sennrich, 2019), and the inverse of that."""
    axis, epsilon = node.get("axis", -1) % x.dim(), node.get("epsilon", 1e-5)
    out = F.rms_norm(x, x.shape[axis:], scale, epsilon)
    return (out, _inverse(x, axis, epsilon))[: node.count]


def _inverse(x: Tensor, axis: int, epsilon: float) -> Tensor:
    return torch.rsqrt(x.float().square().mean(tuple(range(axis, x.dim())), keepdim=True) + epsilon)


@operator("SkipLayerNormalization", domain=DOMAIN)
def skip_layer(
    node: Node, x: Tensor, skip: Tensor, scale: Tensor, bias: Tensor | None = None, added: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Layer normalization (Ba et al., 2016) of a sum, which is the fourth output."""
    total, epsilon = _sum(x, skip, added), node.get("epsilon", 1e-12)
    out = F.layer_norm(total, total.shape[-1:], scale, bias, epsilon)
    if node.count < 2:
        return (out,)
    mean = total.mean(-1, keepdim=True)
    return (out, mean, _inverse(total - mean, total.dim() - 1, epsilon), total)[: node.count]


@operator("SkipSimplifiedLayerNormalization", domain=DOMAIN)
def skip_by_length(
    node: Node, x: Tensor, skip: Tensor, scale: Tensor, added: Tensor | None = None
) -> tuple[Tensor, ...]:
    """The same without taking the mean off."""
    total, epsilon = _sum(x, skip, added), node.get("epsilon", 1e-12)
    out = F.rms_norm(total, total.shape[-1:], scale, epsilon)
    inverse = _inverse(total, total.dim() - 1, epsilon)
    return (out, inverse, inverse, total)[: node.count]


def _sum(x: Tensor, skip: Tensor, added: Tensor | None) -> Tensor:
    return x + skip if added is None else x + skip + added


@operator("EmbedLayerNormalization", domain=DOMAIN)
def embedded(
    node: Node,
    words: Tensor,
    segments: Tensor | None,
    word_table: Tensor,
    place_table: Tensor,
    segment_table: Tensor | None = None,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    places: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The sum of the embeddings of word, place and segment, normalized; the mask's length; the sum itself."""
    if places is None:
        places = torch.arange(words.shape[1], device=words.device).unsqueeze(0)
    total = F.embedding(words.long(), word_table) + F.embedding(places.long(), place_table)
    if segments is not None and segment_table is not None:
        total = total + F.embedding(segments.long(), segment_table)
    out = F.layer_norm(total, total.shape[-1:], scale, bias, node.get("epsilon", 1e-12))
    counted = words.new_zeros(len(words), dtype=torch.int32) if mask is None else mask.sum(1, dtype=torch.int32)
    return (out, counted, total)[: node.count]


@operator("GroupNorm", "SkipGroupNorm", domain=DOMAIN)
def group_norm(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, skip: Tensor | None = None, added: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Group normalization (Wu and He, 2018), channels last unless said, with SiLU behind it when asked for."""
    if skip is not None:
        x = x + (skip.reshape(len(skip), *[1] * (x.dim() - 2), -1) if skip.dim() == 2 else skip)
        x = x if added is None else x + added
    last = bool(node.get("channels_last", 1))
    inner = x.movedim(-1, 1) if last else x
    out = F.group_norm(inner, node.get("groups", 1), scale.to(x.dtype), bias.to(x.dtype), node.get("epsilon", 1e-5))
    out = F.silu(out) if node.get("activation", 0) else out
    return (out.movedim(1, -1) if last else out, x)[: node.count]


@operator("QEmbedLayerNormalization", domain=DOMAIN)
def embedded_from_levels(
    node: Node, words: Tensor, segments: Tensor | None, *rest: Tensor | None
) -> tuple[Tensor, ...]:
    """The same with quantized tables, scale and bias; their scales come behind the mask, their zero points then."""
    tables, mask, scales, zeros = rest[:5], rest[5], rest[6:11], rest[11:16]
    word, place, segment, scale, bias = (
        None if table is None or step is None else restored(table, step, zero)
        for table, step, zero in zip(tables, scales, zeros, strict=True)
    )
    if word is None or place is None:
        raise BadModel("A quantized embedding has no table.", "Export the model again.")
    return embedded(node, words, segments, word, place, segment, scale, bias, mask)
