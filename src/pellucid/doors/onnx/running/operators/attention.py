"""Attention in its several forms, rotary positions, and what goes with them in language models."""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import dtype

_NEVER = -float("inf")


def heads(x: Tensor, count: int) -> Tensor:
    """`[batch, length, heads * size]` as `[batch, heads, length, size]`."""
    return x.reshape(*x.shape[:-1], count, -1).transpose(1, 2)


@operator("Attention", since=23)
def attention(
    node: Node,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Scaled dot-product attention (Vaswani et al., 2017) with caches, windows and groups of heads.

    `lengths` says how many keys of each sample are no padding.  A query that may see nothing gets zeros.
    """
    flat = query.dim() == 3
    if flat:
        query = heads(query, node.get("q_num_heads"))
        key, value = (heads(x, node.get("kv_num_heads")) for x in (key, value))
    before = 0
    if past_key is not None and past_value is not None:
        before = past_key.shape[2]
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
    present = (key, value)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    bias = _bias(node, query, key, mask, before, lengths)
    out, seen = _attended(node, query, key, value, bias)
    out = out.transpose(1, 2).flatten(2) if flat else out
    return (out, *present, seen)[: node.count]


def _bias(
    node: Node, query: Tensor, key: Tensor, mask: Tensor | None, before: int, lengths: Tensor | None
) -> Tensor | None:
    """What is added to the scores: 0 or the mask's number where a key may be seen, minus infinity elsewhere."""
    rows, columns = query.shape[2], key.shape[2]
    bias = None
    if mask is not None:
        short = columns - mask.shape[-1]
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, _NEVER)
        bias = F.pad(mask, [0, short], value=_NEVER) if short > 0 else mask
    hidden = _hidden(node, rows, columns, before, lengths, query.device)
    if hidden is not None:
        base = torch.zeros((), dtype=query.dtype, device=query.device) if bias is None else bias
        bias = torch.where(hidden, torch.tensor(_NEVER, dtype=query.dtype, device=query.device), base)
    return bias


def _hidden(
    node: Node, rows: int, columns: int, before: int, lengths: Tensor | None, place: torch.device
) -> Tensor | None:
    """Which keys a query may not see, because they are later, too far away, or padding."""
    left, right = node.get("left_window_size", -1), node.get("right_window_size", -1)
    ahead = torch.arange(columns, device=place) - torch.arange(rows, device=place)[:, None] - before
    if lengths is not None:
        ahead = ahead - (lengths.reshape(-1, 1, 1, 1) - rows)
    hidden = None
    if node.get("is_causal", 0):
        hidden = ahead > 0
    if left >= 0:
        hidden = (ahead < -left) if hidden is None else hidden | (ahead < -left)
    if right >= 0:
        hidden = (ahead > right) if hidden is None else hidden | (ahead > right)
    if lengths is not None:
        padding = torch.arange(columns, device=place) >= lengths.reshape(-1, 1, 1, 1)
        hidden = padding if hidden is None else hidden | padding
    return hidden


def _attended(node: Node, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    softcap, precision = node.get("softcap", 0.0), node.get("softmax_precision")
    scale = node.get("scale") or 1 / sqrt(query.shape[-1])
    if not softcap and not node.wants(3) and precision is None:
        return F.scaled_dot_product_attention(query, key, value, bias, scale=scale), query
    scores = raw = torch.matmul(query * sqrt(scale), (key * sqrt(scale)).transpose(-1, -2))
    if softcap:
        scores = torch.tanh(scores / softcap) * softcap
    biased = scores if bias is None else scores + bias
    shares = torch.softmax(biased if precision is None else biased.to(dtype(precision)), -1)
    if bias is not None:
        blind = bias.amax(-1, keepdim=True) == _NEVER
        shares = torch.where(blind, torch.zeros_like(shares), shares)
    shares = shares.to(query.dtype)
    seen = (raw, scores, biased, shares)[node.get("qk_matmul_output_mode", 0)]
    return torch.matmul(shares, value), seen.to(query.dtype)


@operator("RotaryEmbedding", since=23)
def rotary_embedding(node: Node, x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None) -> Tensor:
    """Pairs of features turned by an angle that grows with the position (Su et al., 2021)."""
    flat = x.dim() == 3
    x = heads(x, node.get("num_heads")) if flat else x
    if positions is not None:
        cos, sin = F.embedding(positions.long(), cos), F.embedding(positions.long(), sin)
    out = rotated(x, cos.unsqueeze(1), sin.unsqueeze(1), bool(node.get("interleaved", 0)))
    return out.transpose(1, 2).flatten(2) if flat else out


def rotated(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    """Turn the first features of each head, as many as there are angles for; the rest stay as they are."""
    turned = 2 * cos.shape[-1]
    part, rest = x[..., :turned], x[..., turned:]
    a, b = part.reshape(*part.shape[:-1], -1, 2).unbind(-1) if interleaved else part.chunk(2, -1)
    real, imaginary = cos * a - sin * b, sin * a + cos * b
    both = torch.stack([real, imaginary], -1).flatten(-2) if interleaved else torch.cat([real, imaginary], -1)
    return torch.cat([both, rest], -1) if rest.shape[-1] else both


@operator("LinearAttention", since=27)
def linear_attention(
    node: Node,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past: Tensor | None = None,
    decay: Tensor | None = None,
    beta: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention without softmax, as a state that forgets and is corrected (Yang et al., 2024: gated delta rule)."""
    many, few = node.get("q_num_heads"), node.get("kv_num_heads")
    q, k, v = (heads(x, n).float() for x, n in ((query, many), (key, few), (value, few)))
    state = q.new_zeros(q.shape[0], few, k.shape[-1], v.shape[-1]) if past is None else past.float()
    forget = None if decay is None else heads(decay, few).float().exp()
    strength = None if beta is None else heads(beta, beta.shape[-1]).float()
    outputs = []
    for t in range(q.shape[2]):
        new = v[:, :, t]
        if forget is not None:
            state = state * forget[:, :, t, :, None]
        if strength is not None:
            new = strength[:, :, t] * (new - torch.einsum("bhdm,bhd->bhm", state, k[:, :, t]))
        state = state + k[:, :, t, :, None] * new[:, :, None]
        read = state if many == few else state.repeat_interleave(many // few, 1)
        outputs.append(torch.einsum("bhd,bhdm->bhm", q[:, :, t], read))
    out = torch.stack(outputs, 2) * (node.get("scale") or 1 / sqrt(k.shape[-1]))
    return out.transpose(1, 2).flatten(2).to(query.dtype), state.to(query.dtype if past is None else past.dtype)


@operator("CausalConvWithState", since=27)
def causal_convolution(
    node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None, past: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A convolution of each channel that looks back only; what it will need next time is put out too."""
    reach = weight.shape[-1] - 1
    padded = F.pad(x, [reach, 0]) if past is None else torch.cat([past, x], -1)
    out = F.conv1d(padded, weight, bias, groups=x.shape[1])
    out = out if node.get("activation", "none") == "none" else F.silu(out)
    return out, padded[..., padded.shape[-1] - reach :]


@operator("FlexAttention", domain="ai.onnx.preview")
def flex_attention(node: Node, query: Tensor, key: Tensor, value: Tensor, *around: Tensor) -> Tensor:
    """Attention whose scores and shares subgraphs change."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    scale = node.get("scale") or 1 / sqrt(query.shape[-1])
    scores = torch.matmul(query * sqrt(scale), (key * sqrt(scale)).transpose(-1, -2))
    code = node.get("softmax_precision")
    scores = scores.to(torch.promote_types(query.dtype, torch.float32) if code is None else dtype(code))
    if "score_mod" in node._modules:
        scores = node.subgraph("score_mod")(scores, *around)
    shares = torch.softmax(scores, -1)
    if "prob_mod" in node._modules:
        shares = node.subgraph("prob_mod")(shares, *around)
    return torch.matmul(shares, value.to(shares.dtype)).to(value.dtype)
