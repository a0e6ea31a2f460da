"""How much arithmetic a kernel does.

Counted are the products that dominate a network: convolutions, matrix products, attention and fused recurrent
layers, two operations a multiply-add (one product, one sum).  Elementwise work, normalization, pooling and copying
count as zero, as in torch's own counter, whose formulas are used wherever it has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Scores and mixing: 2 Q K E + 2 Q K V a head."""
    *lead, length, width = query.shape
    return 2 * math.prod(lead) * length * key.shape[-2] * (width + value.shape[-1])


def _recurrent_layer(x: Tensor, into: Tensor, state: Tensor, *_: Any, **__: Any) -> int:
    """One direction of an LSTM, GRU or RNN over all steps: every step multiplies the input and the state."""
    return 2 * (x.numel() // x.shape[-1]) * (into.numel() + state.numel())


def _matrix_vector(matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _added_matrix_vector(_bias: Tensor, matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _added_batches(_bias: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    return 2 * a.numel() * b.shape[-1]


def _each_by_one(a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    """Rows that each multiply with the matrix of their group: of an expert."""
    groups = len(a) if a.dim() > b.dim() else 1
    return 2 * a.numel() * b.shape[-1] // groups


# kernels that torch 2.13's counter passes over
_ALSO: dict[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_fused_attention_overrideable: _attention,
    _aten.mkldnn_rnn_layer: _recurrent_layer,
    _aten.mv: _matrix_vector,
    _aten.dot: _matrix_vector,
    _aten.addmv: _added_matrix_vector,
    _aten.addbmm: _added_batches,
} | ({_aten._grouped_mm: _each_by_one} if hasattr(_aten, "_grouped_mm") else {})


def flops(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Floating-point operations of one kernel call; 0 for kernels that are not counted.

    >>> a, b = torch.zeros(2, 3), torch.zeros(3, 4)
    >>> flops(torch.ops.aten.mm.default, (a, b), {}, a @ b)
    48
    """
    packet = getattr(kernel, "overloadpacket", None)
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=out))
    if packet in _ALSO:
        return _ALSO[packet](*args, **kwargs)
    return 0


def counts(kernel: Any) -> bool:
    """Is there a formula for this kernel?"""
    packet = getattr(kernel, "overloadpacket", None)
    return packet in flop_registry or packet in _ALSO
