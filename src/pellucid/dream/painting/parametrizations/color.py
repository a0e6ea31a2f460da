"""From unbounded numbers to colors in 0..1, along the axes in which photographs vary, or each channel by itself."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.photographs import photographs


def bounded(u: Float[Tensor, "n channels *size"], canvas: Canvas, decorrelated: bool) -> Tensor:
    """Values in 0..1: `sigmoid(mean + mix @ u)` for a color picture, `sigmoid(u)` for anything else."""
    if not (decorrelated and canvas.colors):
        return u.sigmoid()
    known = photographs()
    mix, mean = (v.to(dtype=u.dtype, device=u.device) for v in (known.mix, known.mean))
    mixed = (mix @ u.flatten(2) + mean[:, None]).sigmoid()
    return mixed.view_as(u)


def unbounded(drawn: Float[Tensor, "n channels *size"], canvas: Canvas, decorrelated: bool) -> Tensor:
    """The numbers that `bounded` makes this picture of; pure black and white are taken for .02 and .98."""
    z = drawn.clamp(0.02, 0.98).logit()
    if not (decorrelated and canvas.colors):
        return z
    known = photographs()
    mix, mean = (v.to(dtype=z.dtype, device=z.device) for v in (known.mix, known.mean))
    return (mix.inverse() @ (z.flatten(2) - mean[:, None])).view_as(z)
