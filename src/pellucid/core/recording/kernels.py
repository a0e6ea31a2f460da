"""What is known about torch's functions and kernels: which only ask, write, read, compute, or mix positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from pellucid.core.recording.flops import counts, flops

_aten = torch.ops.aten
# asking for these is no operation; other functions that neither make, write nor read a tensor join them as they run
METADATA = frozenset(
    {"shape", "size", "dim", "ndim", "ndimension", "stride", "numel", "nelement", "len", "dtype", "device",
     "layout", "type", "names", "hash", "repr", "format", "is_tensor", "requires_grad", "requires_grad_", "grad",
     "grad_fn", "is_leaf", "retain_grad", "register_hook", "_version", "is_cuda", "is_cpu", "is_meta",
     "is_sparse", "is_nested", "is_quantized", "is_contiguous", "is_complex", "is_floating_point", "is_signed",
     "is_inference", "is_conj", "is_neg", "is_same_size", "get_device", "element_size", "itemsize", "nbytes",
     "storage", "untyped_storage", "storage_offset", "data_ptr"}
)  # fmt: skip
# numbers leave torch here
READERS = frozenset(
    {"item", "bool", "int", "float", "complex", "index", "tolist", "numpy", "array", "dlpack"}
)  # fmt: skip
# what these put out depends on the shapes of their arguments, not on the numbers in them
FROM_SHAPE = frozenset(
    {"zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones",
     "new_empty", "new_full", "new_tensor", "zero_", "fill_"}
)  # fmt: skip
# position by position, though torch gives them no such tag
_POINTWISE = {
    overload.default
    for overload in (_aten._to_copy, _aten.clone, _aten.detach, _aten.alias, _aten.lift_fresh, _aten.copy_,
                     _aten.hardtanh, _aten.hardtanh_, _aten.hardswish, _aten.hardswish_, _aten.dropout)
}  # fmt: skip
_READS = {_aten._local_scalar_dense.default, _aten.equal.default, _aten.item.default, _aten.is_nonzero.default}


@dataclass(frozen=True, slots=True)
class Facts:
    """One kernel's: positions and names of the arguments it writes into, and the rest as said above."""

    kernel: Any
    written_at: tuple[int, ...]
    written_as: tuple[str, ...]
    pointwise: bool
    reads: bool
    counted: bool

    def written(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments that this call writes into."""
        if not self.written_at:
            return []
        return [args[i] for i in self.written_at if i < len(args)] + [kwargs[n] for n in self.written_as if n in kwargs]

    def flops(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
        """The arithmetic of this call."""
        return flops(self.kernel, args, kwargs, out) if self.counted else 0


@cache
def facts(kernel: Any) -> Facts:
    """What is known about a kernel.

    >>> facts(torch.ops.aten.add_.Tensor).written_at, facts(torch.ops.aten.mm.default).pointwise
    ((0,), False)
    """
    schema = getattr(kernel, "_schema", None)
    written = [(i, a.name) for i, a in enumerate(schema.arguments) if a.is_write] if schema else []
    pointwise = kernel in _POINTWISE or torch.Tag.pointwise in getattr(kernel, "tags", ())
    places, names = tuple(i for i, _ in written), tuple(n for _, n in written)
    return Facts(kernel, places, names, pointwise, kernel in _READS, counts(kernel))
