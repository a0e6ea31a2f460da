"""What one sample costs in memory, measured while the first pass does its work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

# The largest block of memory, in bytes, that a process on Linux is sure to keep for itself.  Larger ones tend to go
# back to the system after every use, which fills them with zeros, page by page, before the next.  Measured: forward
# passes of EfficientNet-Lite0 in batches of 4 (18 MiB) to 7 cost 1.3 to 1.7 times as much as in batches of 2.
_KEPT = 13 * 2**20


@dataclass(slots=True)
class Footprint:
    """What one sample's pass needs, in bytes: activations together, and the largest alone.  `measuring` fills it in."""

    bytes: int = 0
    largest: int = 0

    def samples(self, memory: int, device: torch.device) -> int:
        """How many samples fit into a pass, at least one."""
        fit = memory // max(1, self.bytes)
        return max(1, min(fit, _KEPT // max(1, self.largest)) if device.type == "cpu" else fit)


@contextmanager
def measuring(model: nn.Module, *, backward: bool) -> Iterator[Footprint]:
    """Measure the pass that runs inside the block.

    With a backward pass to come, memory is what autograd keeps, and the gradients of the two largest values beside it.
    Without, it is the largest operation's result and its inputs.
    """
    footprint = Footprint()
    if not backward:
        with _Largest() as largest:
            yield footprint
        footprint.largest = largest.bytes
        footprint.bytes = 3 * footprint.largest
        return
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        if t.layout == torch.strided and t.untyped_storage().data_ptr() not in weights:
            kept[t.data_ptr()] = t.numel() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield footprint
    footprint.largest = max(kept.values(), default=0)
    footprint.bytes = sum(kept.values()) + 2 * footprint.largest


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its modes
    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch loads its whole compiler (80 MB, a second) in order to keep it away from here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and remember the size of its results, unless they are views (a turned weight is one)."""
        out = func(*args, **(kwargs or {}))
        if isinstance(func, HigherOrderOperator):
            return out
        results = out if isinstance(out, tuple | list) else (out,)
        for v, returned in zip(results, func._schema.returns, strict=False):
            if isinstance(v, Tensor) and returned.alias_info is None:
                self.bytes = max(self.bytes, v.numel() * v.element_size())
        return out
