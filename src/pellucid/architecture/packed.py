"""Weights that PyTorch keeps packed, out of sight of `parameters()`: those of its own quantized layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pellucid.core.structure import leaves

_SHOWN = 4


def packed(model: nn.Module) -> tuple[str, ...]:
    """A note on the layers whose weights are packed and the numbers that they hold; none where there is no such layer.

    >>> packed(nn.Linear(2, 3))
    ()
    """
    found = {path: count for path, module in model.named_modules() if (count := _numbers(module))}
    if not found:
        return ()
    shown = ", ".join(list(found)[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    layers = "1 quantized layer" if len(found) == 1 else f"{len(found)} quantized layers"
    return (f"The parameters do not count {sum(found.values()):,} numbers that {layers} keep packed: {shown}.",)


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
