"""Attention as ONNX Runtime fuses it: with its projections, its caches, groups of heads and rotary positions."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.operators.attention import heads, rotated
from pellucid.doors.onnx.running.operators.microsoft import DOMAIN
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, one


@dataclass(frozen=True, slots=True)
class Heads:
    """Queries, keys and values, `[batch, heads, length, size]`."""

    query: Tensor
    key: Tensor
    value: Tensor

    def attended(self, node: Node, bias: Tensor | None, sink: Tensor | None = None) -> Tensor:
        """What each query gathers: `[batch, length, heads * size]`."""
        scale, softcap = node.get("scale") or 1 / sqrt(self.query.shape[-1]), node.get("softcap", 0.0)
        if not softcap and sink is None:
            out = F.scaled_dot_product_attention(self.query, self.key, self.value, bias, scale=scale)
            return out.transpose(1, 2).flatten(2)
        scores = torch.matmul(self.query, self.key.transpose(-1, -2)) * scale
        scores = softcap * torch.tanh(scores / softcap) if softcap else scores
        scores = scores if bias is None else scores + bias
        if sink is None:
            shares = torch.softmax(scores, -1)
        else:  # one more place to look at, where nothing is
            nothing = sink.to(scores.dtype).reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
            shares = torch.softmax(torch.cat([scores, nothing], -1), -1)[..., :-1]
        return torch.matmul(shares, self.value).transpose(1, 2).flatten(2)


def _visible(mask: Tensor, batch: int, rows: int, columns: int) -> Tensor:
    """Which keys count, from lengths `[batch]`, ends and starts `[2 batch]`, or a mask of two to four axes."""
    places = torch.arange(columns, device=mask.device)
    if mask.dim() == 1:
        if len(mask) not in (batch, 2 * batch):
            raise BadModel(f"An attention mask of {len(mask)} numbers was given.", "Export it with a mask of two axes.")
        seen = places < mask[:batch, None]
        seen = seen & (places >= mask[batch:, None]) if len(mask) == 2 * batch else seen
        return seen[:, None, None]
    if mask.dim() == 2:
        return (mask != 0)[:, None, None]
    if mask.dim() == 3:
        return (mask != 0)[:, None]
    return (mask != 0)[:, :, columns - rows : columns, :columns]


def _bias(node: Node, found: Heads, mask: Tensor | None, added: Tensor | None) -> Tensor | None:
    """What is added to the scores."""
    query, rows, columns = found.query, found.query.shape[2], found.key.shape[2]
    bias = added
    if mask is not None:
        low = torch.zeros((), dtype=query.dtype, device=query.device).fill_(node.get("mask_filter_value", -10000.0))
        hidden = torch.where(_visible(mask, len(query), rows, columns), torch.zeros_like(low), low)
        bias = hidden if bias is None else bias + hidden
    if node.get("unidirectional", 0):
        ahead = torch.ones(rows, columns, dtype=torch.bool, device=query.device).triu(columns - rows + 1)
        later = torch.zeros(rows, columns, dtype=query.dtype, device=query.device).masked_fill(ahead, float("-inf"))
        bias = later if bias is None else bias + later
    return bias


@operator("Attention", domain=DOMAIN)
def attention(
    node: Node,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    past: Tensor | None = None,
    added: Tensor | None = None,
    past_length: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Self-attention (Vaswani et al., 2017) with the projection before it."""
    if node.get("do_rotary", 0) or past_length is not None:
        raise BadModel("A fused attention turns its positions or shares its cache.", "Export the model unfused.")
    count = node.get("num_heads")
    sizes = node.get("qkv_hidden_sizes") or [weight.shape[1] // 3] * 3
    parts = F.linear(x, weight.t(), bias).split(list(sizes), -1)  # type: ignore[no-untyped-call]
    found = Heads(*(heads(part, count) for part in parts))
    if past is not None:
        key, value = torch.cat([past[0], found.key], 2), torch.cat([past[1], found.value], 2)
        found = Heads(found.query, key, value)
    out = found.attended(node, _bias(node, found, mask, added))
    return (out, torch.stack([found.key, found.value]))[: node.count] if node.wants(1) else (out,)


@operator("MultiHeadAttention", domain=DOMAIN)
def multi_head(
    node: Node,
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    added: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    past_length: Tensor | None = None,
    *others: Tensor,
) -> tuple[Tensor, ...]:
    """Attention (Vaswani et al., 2017) after its projections, whose biases may come apart."""
    if past_length is not None or others:
        raise BadModel("A fused attention shares its cache.", "Export the model for evaluation without caches.")
    found = _three(node, query, key, value, bias)
    if past_key is not None and past_value is not None:
        joined = torch.cat([past_key, found.key], 2), torch.cat([past_value, found.value], 2)
        found = Heads(found.query, *joined)
    out = found.attended(node, _bias(node, found, mask, added))
    return (out, found.key, found.value)[: node.count]


def _three(node: Node, query: Tensor, key: Tensor | None, value: Tensor | None, bias: Tensor | None) -> Heads:
    """Taken apart, when they are packed `[batch, length, heads, 3 or 2, size]`, with their biases."""
    count = node.get("num_heads")
    if query.dim() == 5:
        query, key, value = (part.flatten(2) for part in query.unbind(3))
    elif key is not None and key.dim() == 5:
        key, value = (part.flatten(2) for part in key.unbind(3))
    if key is None or value is None:
        raise BadModel("A fused attention has a query and no key.", "Export the model again.")
    if key.dim() == 4:  # a cache of another sequence; it has its biases already
        if bias is not None:
            query = query + bias[: query.shape[-1]]
        return Heads(heads(query, count), key, value)
    if bias is not None:
        parts = bias.split([query.shape[-1], key.shape[-1], value.shape[-1]])  # type: ignore[no-untyped-call]
        query, key, value = (x + b for x, b in zip((query, key, value), parts, strict=True))
    return Heads(heads(query, count), heads(key, count), heads(value, count))


@operator("RotaryEmbedding", domain=DOMAIN)
def rotary(node: Node, x: Tensor, positions: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs of features turned by an angle that grows with the position (Su et al., 2021)."""
    flat, size = x.dim() == 3, node.get("rotary_embedding_dim", 0)
    count = node.get("num_heads", 0) or (x.shape[-1] // (size or 2 * cos.shape[-1]) if flat else 0)
    split = heads(x, count) if flat else x
    if positions.dim() == 1:
        positions = positions + torch.arange(split.shape[2], device=x.device)
        positions = positions.unsqueeze(0)
    out = _turned(node, split, positions, cos, sin, "interleaved")
    return out.transpose(1, 2).flatten(2) if flat else out


def _turned(node: Node, x: Tensor, positions: Tensor, cos: Tensor, sin: Tensor, attribute: str) -> Tensor:
    a, b = (F.embedding(positions.long(), table).unsqueeze(1) for table in (cos, sin))
    return rotated(x, a, b, bool(node.get(attribute, 0)))


@operator("GroupQueryAttention", domain=DOMAIN, read=(6,))
def grouped(
    node: Node,
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    past_key: Tensor | None,
    past_value: Tensor | None,
    last: Tensor,
    total: Numbers,
    cos: Tensor | None = None,
    sin: Tensor | None = None,
    positions: Tensor | None = None,
    added: Tensor | None = None,
    sink: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Causal attention with fewer heads of keys than of queries (Ainslie et al., 2023), with its cache.

    `last` is the place of each sample's last key; a cache may be longer than what is in it.
    """
    many, few, length = node.get("num_heads"), node.get("kv_num_heads"), query.shape[1]
    if key is None or value is None:
        size = query.shape[-1] // (many + 2 * few)
        query, key, value = query.split([many * size, few * size, few * size], -1)  # type: ignore[no-untyped-call]
    q, k, v = heads(query, many), heads(key, few), heads(value, few)
    whole = int(one(total))
    first = whole == length
    start = torch.zeros_like(last.reshape(-1, 1)) if first else last.reshape(-1, 1) + 1 - length
    place = start.to(torch.int64) + torch.arange(length, device=query.device)
    if node.get("do_rotary", 0) and cos is not None and sin is not None:
        at = place if positions is None else positions
        q, k = (_turned(node, x, at, cos, sin, "rotary_interleaved") for x in (q, k))
    keys, values = (_kept(x, past, place, whole) for x, past in ((k, past_key), (v, past_value)))
    bias = _causal(node, place, keys.shape[2], q.dtype)
    if added is not None:
        bias = bias + F.pad(added, (0, keys.shape[2] - added.shape[-1]))
    groups = many // few
    repeated = Heads(q, keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1))
    if sink is None and node.get("smooth_softmax", 0) > 0:
        sink = q.new_zeros(many)
    return (repeated.attended(node, bias, sink), keys, values)[: node.count]


def _kept(x: Tensor, past: Tensor | None, place: Tensor, whole: int) -> Tensor:
    """The cache with the new keys or values at their places."""
    if past is None:
        return x
    longer = F.pad(past, (0, 0, 0, max(whole - past.shape[2], 0)))
    return longer.scatter(2, place[:, None, :, None].expand_as(x), x)


def _causal(node: Node, place: Tensor, columns: int, kind: torch.dtype) -> Tensor:
    """0 where a query may look, else minus infinity: not ahead, not further back than the window."""
    window = node.get("local_window_size", -1)
    back = place.unsqueeze(-1) - torch.arange(columns, device=place.device)
    hidden = (back < 0) | (back >= window) if window > 0 else back < 0
    return torch.zeros(hidden.shape, dtype=kind, device=place.device).masked_fill(hidden, float("-inf")).unsqueeze(1)
