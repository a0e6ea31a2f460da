r"""DeepLIFT's rules: in place of an operation's slope, its change between baseline and input over its input's.

For an operation $y = f(x)$ and the same operation at the baseline, $y^0 = f(x^0)$, the rule names multipliers $m$ with

$$\sum_i m_i\,(x_i - x_i^0) = y - y^0$$

and the chain rule holds for multipliers as it does for slopes (Shrikumar, Greenside, Kundaje 2017, arXiv:1704.02685).
The paper gives them for linear operations (the slope) and for functions of one number; those of maxima, products and
softmax are the ones written below, each exact.

That is the rescale rule.  The reveal-cancel rule looks at what goes into a function of one number more closely: at the
positive and the negative contributions to the linear layer before it, which may have canceled.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pellucid.core.operations.kinds import ELEMENTWISE
from pellucid.core.operations.linear import Weighted
from pellucid.core.rule import Rule, Step
from pellucid.core.tensors import Tensors
from pellucid.rules.expansions import WRITTEN_OUT


def rescale(baseline: Callable[[Tensors], Tensors]) -> Rule:
    """The rule for a baseline that is made of the input."""
    return Rule("rescale", _MULTIPLIERS, expands=WRITTEN_OUT, baseline=baseline)


def reveal_cancel(baseline: Callable[[Tensors], Tensors]) -> Rule:
    """The rule that shares out what a bend does between positive and negative contributions; rescale for the rest."""
    return Rule("reveal-cancel", {**_MULTIPLIERS, "bent": of_bent_layer}, expands=WRITTEN_OUT, baseline=baseline)


def of_bent_layer(step: Step) -> tuple[Tensor]:
    """A layer z = w x + b and a bend y = f(z), with z - z0 = p + n, its positive and its negative contributions.

    p changes y by what it does alone and after n, on average, and n likewise; each is shared out over its own.
    """
    (x,), (x0,) = step.x, step.x0
    layer: Weighted = step.operation.options["layer"]
    bend: Callable[[Tensor], Tensor] = step.operation.options["bend"]
    up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
    z0, change = layer.apply(x0, layer.weight, layer.bias), x - x0
    with torch.enable_grad():
        more, less = (v.detach().requires_grad_() for v in (change.clamp(min=0), change.clamp(max=0)))
        for_, against = (layer.apply(more, a, None) + layer.apply(less, b, None) for a, b in ((up, down), (down, up)))
    p, n = for_.detach(), against.detach()
    none, only_p, only_n, both = (bend(v) for v in (z0, z0 + p, z0 + n, z0 + p + n))
    slope = step.up * _slope(bend, z0 + p + n)
    of_p = _ratio(step.up * ((only_p - none) + (both - only_n)) / 2, p, z0, slope)
    of_n = _ratio(step.up * ((only_n - none) + (both - only_p)) / 2, n, z0, slope)
    risen, fallen = torch.autograd.grad((for_, against), (more, less), (of_p, of_n))
    return (torch.where(change > 0, risen, torch.where(change < 0, fallen, (risen + fallen) / 2)),)


def _slope(bend: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        return torch.autograd.grad(bend(leaf).sum(), leaf)[0]


def _ratio(a: Tensor, change: Tensor, at: Tensor, slope: Tensor) -> Tensor:
    """A over the change, and the slope where the change is no more than rounding."""
    same = change.abs() <= 16 * torch.finfo(change.dtype).eps * at.abs()
    return torch.where(same, slope, _over(a, change))


def of_one_number(step: Step) -> tuple[Tensor]:
    """Change over change, m = (y - y0) / (x - x0), and the slope where that is 0 / 0."""
    (x,), (x0,) = step.x, step.x0
    change = x - x0
    same = change.abs() <= 16 * torch.finfo(x.dtype).eps * torch.maximum(x.abs(), x0.abs())
    return (torch.where(same, step.vjp(step.up)[0], step.up * _over(step.y - step.y0, change)),)


def of_maximum(step: Step) -> tuple[Tensor, ...]:
    """What the maximum gained goes to the place that now holds it, what it lost to the place that held it.

    With t = max(y, y0): t - y0 is shared out at the input's maximum, y - t at the baseline's, each divided by the
    change there, which is never the smaller of the two.  A constant baseline makes every place the maximum at once:
    the one that leads just after the baseline is then taken, lest rounding decides.
    """
    y, y0 = step.y, step.y0
    top = torch.maximum(y, y0)
    after = [x0 + torch.finfo(x0.dtype).eps ** 0.5 * (x - x0) for x, x0 in zip(step.x, step.x0, strict=True)]
    gained, lost = step.vjp(step.up * (top - y0)), step.vjp(step.up * (y - top), at=after)
    slopes = step.vjp(step.up)
    return tuple(
        torch.where(x == x0, slope, _over(g + c, x - x0))
        for x, x0, g, c, slope in zip(step.x, step.x0, gained, lost, slopes, strict=True)
    )


def of_product(step: Step) -> tuple[Tensor, ...]:
    """From ab - a0 b0 = (a - a0) (b + b0)/2 + (b - b0) (a + a0)/2: the slopes halfway between baseline and input."""
    return step.vjp(step.up, at=[(x + x0) / 2 for x, x0 in zip(step.x, step.x0, strict=True)])


def of_softmax(step: Step) -> tuple[Tensor]:
    """The slopes p_i (d_ij - p_j) with the logarithmic mean of both probabilities in place of p, sharing out 1.

    u = log p changes by the change of x less that of logsumexp, and p by L(p, p0) times as much.  Probabilities sum
    to 1, so the change of logsumexp is the mean of the changes of x, weighted with L.
    """
    dim = step.operation.options["dim"]
    mean = _logarithmic_mean(step.y, step.y0, *_logs(step))
    flow = mean * step.up
    return (flow - _weights(mean, dim) * flow.sum(dim, keepdim=True),)


def of_log_softmax(step: Step) -> tuple[Tensor]:
    """As softmax, one step earlier."""
    dim = step.operation.options["dim"]
    mean = _logarithmic_mean(step.y.exp(), step.y0.exp(), step.y, step.y0)
    return (step.up - _weights(mean, dim) * step.up.sum(dim, keepdim=True),)


def of_logsumexp(step: Step) -> tuple[Tensor]:
    """Each x by its weight in the softmax, taken as there."""
    dim, up = step.operation.options["dim"], step.up
    if not step.operation.options["keepdim"]:
        for axis in sorted(a % step.x[0].ndim for a in (dim if isinstance(dim, tuple | list) else (dim,))):
            up = up.unsqueeze(axis)
    u, u0 = _logs(step)
    return (_weights(_logarithmic_mean(u.exp(), u0.exp(), u, u0), dim) * up,)


def _logs(step: Step) -> tuple[Tensor, Tensor]:
    """The logarithms of both softmax probabilities."""
    dim = step.operation.options["dim"]
    return tuple(v - v.logsumexp(dim, keepdim=True) for v in (step.x[0], step.x0[0]))  # type: ignore[return-value]


def _weights(mean: Tensor, dim: int | tuple[int, ...] | list[int]) -> Tensor:
    return mean / mean.sum(dim, keepdim=True)


def _logarithmic_mean(p: Tensor, p0: Tensor, u: Tensor, u0: Tensor) -> Tensor:
    """(p - p0) / (u - u0) for u = log p: between the two numbers; p itself where they are equal, 0 where one is 0."""
    d = u - u0
    small = (p * p0).sqrt() * (1 + d.square() / 24 + d.square().square() / 1920)
    return torch.where(d.abs() < 0.1, small, _over(p - p0, d)).nan_to_num(0.0)


def _over(a: Tensor, b: Tensor) -> Tensor:
    """The quotient, and 0 where `b` is 0."""
    nothing = b == 0
    return torch.where(nothing, 0.0, a / torch.where(nothing, 1.0, b))


_MULTIPLIERS = {
    **dict.fromkeys(ELEMENTWISE, of_one_number),
    "max_pool": of_maximum,
    "product": of_product,
    "softmax": of_softmax,
    "log_softmax": of_log_softmax,
    "logsumexp": of_logsumexp,
}
RULES = {"rescale": rescale, "reveal_cancel": reveal_cancel}
