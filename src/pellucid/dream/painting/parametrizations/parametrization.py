"""What every way of writing a picture has in common: where it starts, and how it is painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas


@dataclass(frozen=True, slots=True)
class Parametrization:
    """`start`: the numbers to move, by name; `paint` makes of them unbounded pictures `[n, channels, *size]`."""

    start: Tensors
    paint: Callable[[Tensors], Tensor]


def noise(canvas: Canvas, shape: Sequence[int], spread: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Normal numbers `[n, *shape]`, each picture's from its own generator, so that it does not depend on the others."""
    drawn = [torch.randn(*shape, generator=g) for g in generators]
    return torch.stack(drawn).mul(spread).to(dtype=canvas.dtype, device=canvas.device)


def spatial(x: Tensor) -> tuple[int, ...]:
    """The axes after batch and channels."""
    return tuple(range(2, x.ndim))
