"""What one sample costs in memory, measured while the first pass does its work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class Footprint:
    """Bytes of activations that a pass needs; filled in by `measuring`."""

    def __init__(self) -> None:
        self.bytes = 0


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
        footprint.bytes = 3 * largest.bytes
        return
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        if t.layout == torch.strided and t.untyped_storage().data_ptr() not in weights:
            kept[t.data_ptr()] = t.numel() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield footprint
    footprint.bytes = sum(kept.values()) + 2 * max(kept.values(), default=0)


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its modes
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch loads its whole compiler (80 MB, a second) in order to keep it away from here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and remember the size of its results, unless they are views (a turned weight is one)."""
        out = func(*args, **(kwargs or {}))
        results = out if isinstance(out, tuple | list) else (out,)
        for v, returned in zip(results, func._schema.returns, strict=False):
            if isinstance(v, Tensor) and returned.alias_info is None:
                self.bytes = max(self.bytes, v.numel() * v.element_size())
        return out
