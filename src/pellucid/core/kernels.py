"""What torch says about its kernels: what they write, read into Python, compute, and whether positions mix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from pellucid.core.flops import counts, flops

_aten = torch.ops.aten
# position by position, though torch gives them no such tag
_POINTWISE = {_aten._to_copy.default, _aten.clone.default, _aten.detach.default, _aten.alias.default, _aten.lift_fresh.default,
              _aten.copy_.default, _aten.hardtanh.default, _aten.hardtanh_.default, _aten.dropout.default}  # fmt: skip
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
