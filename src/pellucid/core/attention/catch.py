"""Attention weights, caught while a model runs: whatever attention it uses, and however that is written.

`F.scaled_dot_product_attention` never shows its weights, so for the length of a pass it is written out.  Torch's own
multi-head attention is run by its Python code, which calls that or a softmax; its fused kernels step aside by
themselves when somebody listens.  In attention written by hand, the weights are a softmax over the last axis whose
result is then multiplied with something, by matmul, bmm or einsum, along that very axis; a softmax that ends in
anything else (class probabilities) is none.  No flag is set and nothing is replaced: the interception is a
`TorchFunctionMode`, local to the thread.  What it cannot see: scripted code, and kernels that a package brings along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from pellucid.core.names import operation_name
from pellucid.core.opened import opened
from pellucid.core.operations.of_many import named
from pellucid.core.site import Site
from pellucid.core.structure import leaves

Keep: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Attention:
    """One attention operation of a pass, by the site of its operation.

    `weights` (`[batch, heads, queries, keys]`, each row adding up to 1) are those that the values were averaged with,
    before any dropout; of an operation whose gradient was not asked for, what `keep` left of them.  Attention within
    windows has `windows` times as many heads.  `raw` are the weights as the model shaped them, part of the graph;
    `grad`, shaped like `weights`, is the score's gradient on them, None where it does not depend on them.
    """

    site: Site
    weights: Float[Tensor, "batch heads queries keys"]
    windows: int
    raw: Tensor | None = None
    grad: Float[Tensor, "batch heads queries keys"] | None = None

    def in_heads(self, like_raw: Tensor) -> Float[Tensor, "batch heads queries keys"]:
        """Something shaped like the raw weights (their gradient), with the axes of `weights`."""
        return like_raw.reshape(len(self.weights), -1, *like_raw.shape[-2:])


def attended(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    *, weighed: Callable[[Tensor], Tensor] = lambda weights: weights,
) -> Tensor:  # fmt: skip
    """`F.scaled_dot_product_attention`, written out; `weighed` sees the weights and says what the values meet.

    As in torch, a query that may look at nothing gets zeros, and half precision is computed in single.
    """
    kind = query.dtype
    if kind in (torch.float16, torch.bfloat16):
        query, key, value = query.float(), key.float(), value.float()
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    scores = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    if attn_mask is not None:
        nothing = (scores == float("-inf")).all(-1, keepdim=True)
        weights = weighed(scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0))
    else:
        weights = weighed(scores.softmax(-1))
    weights = F.dropout(weights, dropout_p) if dropout_p else weights
    return (weights @ value).to(kind)


@dataclass(frozen=True, slots=True)
class _Softmax:
    """A softmax that may turn out to be attention, and which axis of a tensor made of it are the keys."""

    site: Site
    weights: Tensor
    axis: int


_SOFTMAX = named("softmax", "_safe_softmax")
_PRODUCTS = frozenset({"matmul", "rmatmul", "bmm", "baddbmm", "einsum"})
_TURNS = frozenset({"transpose", "swapaxes", "swapdims", "mT"})
# after these an axis as long as the keys need not be the keys
_REDUCES = frozenset({"sum", "mean", "amax", "amin", "max", "min", "argmax", "argmin", "norm", "topk", "sort"})
_LEAST_AXES = 3  # samples, queries, keys


class Attending(TorchFunctionMode):
    """Catches the attention of one pass of `samples` samples, in the order of running: `found`.

    From operation number `since` on (None: never) the weights can be differentiated at: those that nothing
    differentiable precedes become leaves, so that no graph is built before them.  Of the others `keep` is kept.
    `inside` are the module runs that the pass is inside of, as `answer.follow` keeps them.
    """

    def __init__(
        self, inside: list[Site], samples: int, since: int | None = None, keep: Keep = lambda weights: weights
    ) -> None:
        super().__init__()
        self.inside, self.samples, self.since, self.keep = inside, samples, since, keep
        self.found: list[Attention] = []
        self.lengths = set[int]()  # how many there are of what any result holds a vector of, for each sample
        self.done: dict[tuple[Site, str], int] = {}
        self.within: Site | None = None  # the operation of the model's whose own code is being run
        self.carried = WeakIdKeyDictionary()  # tensor -> the softmax that it is made of
        self.settled = WeakIdKeyDictionary()  # the softmaxes that were found to be attention

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, and look at what it says about attention."""
        kwargs = kwargs or {}
        if isinstance(func, OpOverload):
            return func(*args, **kwargs)
        name = operation_name(func)
        site = self.within or self._number(name)
        if func is F.multi_head_attention_forward and self.within is None:
            return self._opened(site, func, args, kwargs)
        if func is F.scaled_dot_product_attention and _can_be_written_out(args, kwargs):
            return attended(*args, **kwargs, weighed=lambda weights: self._caught(site, self._leaf(weights)))
        out = func(*args, **kwargs)
        if isinstance(out, Tensor) and out.ndim == 3:
            self.lengths |= {n for n, samples in (out.shape[1::-1], out.shape[:2]) if samples == self.samples}
        if func in _SOFTMAX:
            return self._suspected(site, args, kwargs, out)
        if len(self.carried):
            self._followed(name, args, kwargs, out)
        return out

    def _number(self, name: str) -> Site:
        here = self.inside[-1]
        number = self.done.get((here, name), 0)
        self.done[here, name] = number + 1
        return Site(here.path, here.call, f"{name}.{number}")

    def _opened(self, site: Site, func: Any, args: Any, kwargs: Any) -> Any:
        self.within = site
        try:
            with self:
                return opened(func)(*args, **kwargs)
        finally:
            self.within = None

    def _leaf(self, weights: Tensor) -> Tensor:
        # those that wait to be settled may come first
        wanted = self.since is not None and len(self.found) + len(self.carried) >= self.since
        return weights if weights.requires_grad or not wanted else weights.detach().requires_grad_()

    def _caught(self, site: Site, weights: Tensor) -> Tensor:
        if weights.ndim < _LEAST_AXES or len(weights) % self.samples:
            return weights
        windows = len(weights) // self.samples if weights.ndim > _LEAST_AXES else 1
        in_heads = weights.detach().reshape(self.samples, -1, *weights.shape[-2:])
        wanted = self.since is not None and len(self.found) >= self.since
        kept = in_heads if wanted else self.keep(in_heads)
        self.found.append(Attention(site, kept, windows, weights if wanted else None))
        return weights

    def _suspected(self, site: Site, args: Any, kwargs: Mapping[str, Any], out: Any) -> Any:
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        if not isinstance(out, Tensor) or out.ndim < _LEAST_AXES or dim not in (-1, out.ndim - 1):
            return out
        if len(out) % self.samples:
            return out
        weights = self._leaf(out)
        handed_on = weights.clone()  # what is written into it later must not rewrite what was caught
        self.carried[handed_on] = _Softmax(site, weights, -1)
        return handed_on

    def _followed(self, name: str, args: Any, kwargs: Mapping[str, Any], out: Any) -> None:
        """Is an operation the one that makes a softmax attention, or else is its result still those weights?"""
        given = [v for v in leaves((args, dict(kwargs))) if v in self.carried]
        if not given:
            return
        source, soft = given[0], self.carried[given[0]]
        if name in _PRODUCTS:
            operands = leaves((args, dict(kwargs)))
            if soft.weights not in self.settled and _averages(name, args, operands, source, soft.axis):
                self.settled[soft.weights] = True
                self._caught(soft.site, soft.weights)
        elif isinstance(out, Tensor) and out is not source and name not in _REDUCES:
            axis = _axis_after(name, args, kwargs, source, soft.axis, out)
            if axis is not None:
                self.carried[out] = _Softmax(soft.site, soft.weights, axis)


def _can_be_written_out(args: Any, kwargs: Mapping[str, Any]) -> bool:
    """Is it a call that torch itself accepts, of plain tensors?"""
    mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
    causal = args[5] if len(args) > 5 else kwargs.get("is_causal")
    return not (mask is not None and causal) and not any(v.is_nested for v in leaves((args, dict(kwargs))))


def _averages(name: str, args: Any, operands: list[Tensor], source: Tensor, axis: int) -> bool:
    """Does a product add up over the keys, of something that differs from sample to sample?"""
    if name == "einsum":
        return _einsum_averages(args, operands, source, axis)
    first, second = operands[-2:]
    if name == "rmatmul":
        first, second = second, first
    if first.ndim < _LEAST_AXES or second.ndim < _LEAST_AXES:
        return False
    return axis == -1 if source is first else axis == -2


def _einsum_averages(args: Any, operands: list[Tensor], source: Tensor, axis: int) -> bool:
    if not isinstance(args[0], str):
        return False
    inputs, _, output = args[0].replace(" ", "").partition("->")
    labels = inputs.split(",")
    if len(labels) != len(operands):
        return False
    at = next(i for i, v in enumerate(operands) if v is source)
    own = labels[at].rpartition("...")[2]
    if -axis > len(own):
        return False
    others = [(label, v) for i, (label, v) in enumerate(zip(labels, operands, strict=True)) if i != at]
    return own[axis] not in output and any(own[axis] in label and v.ndim >= _LEAST_AXES for label, v in others)


def _axis_after(name: str, args: Any, kwargs: Mapping[str, Any], source: Tensor, axis: int, out: Tensor) -> int | None:
    """Where the keys are in the result of an operation, counted from the end; None when they cannot be told."""
    n = source.ndim
    if name in _TURNS:
        first, second = (-2, -1) if name == "mT" else ([*leaves((args[1:], dict(kwargs)), int), 0, 0][:2])
        first, second = first % n - n, second % n - n
        return second if axis == first else first if axis == second else axis
    if name == "permute":
        order = [d % n for d in leaves((args[1:], dict(kwargs)), int)]
        return order.index(axis % n) - n
    keys = source.shape[axis]
    if -axis <= out.ndim == n and out.shape[axis] == keys:
        return axis
    return -1 if axis == -1 and out.ndim and out.shape[-1] == keys else None
