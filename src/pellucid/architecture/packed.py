"""What PyTorch keeps out of sight: packed weights of its quantized layers, convolutions of optimized scripts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.counts import count
from pellucid.core.structure import leaves

_SHOWN = 4


def packed(model: nn.Module) -> tuple[str, ...]:
    """Notes on layers whose weights are packed, with the numbers that they hold, and on convolutions that nobody sees.

    >>> packed(nn.Linear(2, 3))
    ()
    """
    notes = []
    found = {path: held for path, module in model.named_modules() if (held := _numbers(module))}
    if found:
        shown = ", ".join(list(found)[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        layers = count(len(found), "quantized layer")
        notes.append(f"The parameters do not count {sum(found.values()):,} numbers that {layers} keep packed: {shown}.")
    if unseen := sum(_unseen(module) for module in model.modules()):
        what = count(unseen, "convolution")
        notes.append(f"The script was optimized: {what} of it run out of sight, without box, parameters or FLOPs here.")
    return tuple(notes)


def _unseen(module: nn.Module) -> int:
    """How many convolutions of a script run in oneDNN's layout, past torch's dispatcher."""
    graph = getattr(module, "graph", None) if isinstance(module, torch.jit.ScriptModule) else None
    return str(graph).count("prim::mkldnn_convolution(")


def _numbers(module: Any) -> int:
    if not type(module).__module__.startswith("torch.ao.nn.") or type(module).__name__ == "LinearPackedParams":
        return 0
    if hasattr(module, "_weight_bias"):
        held: Any = module._weight_bias()
    elif hasattr(module, "get_weight"):  # recurrent ones
        held = (module.get_weight(), module.get_bias())
    else:
        return 0
    return sum(v.numel() for v in leaves(held, Tensor))
