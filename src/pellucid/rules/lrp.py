r"""Layer-wise relevance propagation: what flows back is a share of the score, and every operation shares it out.

A linear operation $y_j = \sum_i x_i w_{ij} + b_j$ gives its inputs $R_i = \sum_j \frac{z_{ij}}{\sum_{i'} z_{i'j}} R_j$;
the rules differ in what they take for the contribution $z_{ij}$.  What the bias and the stabilizer of the division
stand for is kept back.  (Bach et al. 2015; overview with all the rules: Montavon et al. 2019.)

What transformers need is that of AttnLRP (Achtibat et al. 2024, arXiv:2402.05602): a product halves, softmax is its
Taylor expansion, what normalizes (a divisor, an inverse root) is a constant factor.  With the epsilon rule for layers
all of that is the input times a gradient in which divisors are constants, bends have the slope y / x, and what flows
into the factors of a product is halved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from pellucid.core.operations.kinds import ELEMENTWISE
from pellucid.core.operations.linear import Weighted
from pellucid.core.rule import Backward, Rule, Step
from pellucid.rules.expansions import DIVISORS_HELD

STABILIZER = 1e-6
Preset: TypeAlias = Literal["epsilon", "attention", "epsilon_plus_flat", "epsilon_gamma_box", "alpha2_beta1", "w2"]
Part: TypeAlias = tuple[Tensor, Tensor, Tensor | None]


def over(relevance: Tensor, z: Tensor) -> Tensor:
    """The relevance divided by the sum of contributions, which is moved away from zero a little."""
    return relevance / (z + torch.where(z < 0, -STABILIZER, STABILIZER))


def epsilon(step: Step) -> tuple[Tensor, ...]:
    """z_ij = x_i w_ij: every input by what it contributed, whatever the sign.  For any linear operation."""
    slopes = step.vjp(over(step.up, step.y))
    return tuple(x * slope for x, slope in zip(step.x, slopes, strict=True))


def passed(step: Step) -> tuple[Tensor]:
    """All of it to the one input; of a function that is not 0 at 0, as a sigmoid, its value there counts as a bias."""
    offset = step.operation.plain(torch.zeros_like(step.x[0]))
    y = step.y
    whole = (offset == 0) | ~offset.isfinite()
    return (torch.where(whole, step.up, over(step.up * (y - offset), y)),)


def halved(step: Step) -> tuple[Tensor, ...]:
    """Both factors of a product are worth the same (Achtibat et al. 2024, arXiv:2402.05602)."""
    return tuple(share / 2 for share in epsilon(step))


def taylor(step: Step) -> tuple[Tensor]:
    """Softmax by its expansion where it is: x_i times the slope of what flows back, s_i (R_i/s_i - sum R) there."""
    (x,), dim, s = step.x, step.operation.options["dim"], step.y
    shares = x * (step.up - s * step.up.sum(dim, keepdim=True))
    return (torch.where(s == 0, 0.0, shares),)  # a masked logit is minus infinity


def by_weight(step: Step) -> tuple[Tensor]:
    """Logsumexp: to each logit by its weight in the softmax, which is its slope."""
    return (step.vjp(step.up)[0],)


def less_the_sum(step: Step) -> tuple[Tensor]:
    """Log-softmax, x - logsumexp(x): by what both terms contributed, and the second by weight."""
    (x,), dim = step.x, step.operation.options["dim"]
    slope, total = over(step.up, step.y), x.logsumexp(dim, keepdim=True)
    return (x * slope - x.softmax(dim) * (slope * total).sum(dim, keepdim=True),)


def plus(step: Step) -> tuple[Tensor]:
    """z_ij = max(x_i w_ij, 0): only what spoke for the output (z+)."""
    return shared(step, step.up, _positive(step))


def alpha_beta(step: Step, alpha: float, beta: float) -> tuple[Tensor]:
    """Alpha times what spoke for the output less beta times what spoke against it; alpha - beta = 1."""
    (x,), layer = step.x, layer_of(step)
    w, b = layer.weight, layer.bias
    against = [(x.clamp(min=0), w.clamp(max=0), _least(b)), (x.clamp(max=0), w.clamp(min=0), None)]
    return (alpha * shared(step, step.up, _positive(step))[0] - beta * shared(step, step.up, against)[0],)


def gamma(step: Step, by: float) -> tuple[Tensor]:
    """z_ij = x_i w_ij, and (1 + gamma) times that where it has the sign of the output."""
    (x,), layer = step.x, layer_of(step)
    w, b = layer.weight, layer.bias
    x_up, x_down, w_up, w_down = x.clamp(min=0), x.clamp(max=0), w + by * w.clamp(min=0), w + by * w.clamp(max=0)
    b_up, b_down = (None, None) if b is None else (b + by * b.clamp(min=0), b + by * b.clamp(max=0))
    y = step.y
    of_positive = shared(step, step.up * (y > 0), [(x_up, w_up, b_up), (x_down, w_down, None)])
    of_negative = shared(step, step.up * (y < 0), [(x_up, w_down, b_down), (x_down, w_up, None)])
    return (of_positive[0] + of_negative[0],)


def squared(step: Step) -> tuple[Tensor]:
    """z_ij = w_ij squared, whatever the input (w2); the bias keeps back its square."""
    (x,), layer = step.x, layer_of(step)
    bias = None if layer.bias is None else layer.bias.square()
    return shared(step, step.up, [(torch.ones_like(x), layer.weight.square(), bias)])


def flat(step: Step) -> tuple[Tensor]:
    """z_ij = 1: the same for every input that the output sees."""
    (x,), layer = step.x, layer_of(step)
    return shared(step, step.up, [(torch.ones_like(x), torch.ones_like(layer.weight), None)])


def box(step: Step, low: float | None, high: float | None) -> tuple[Tensor]:
    """z_ij = x_i w_ij - l max(w_ij, 0) - h min(w_ij, 0), for inputs from l to h (zB): never negative."""
    (x,), w = step.x, layer_of(step).weight
    axes = tuple(range(1, x.ndim))
    l = x.amin(axes, keepdim=True).expand_as(x) if low is None else torch.full_like(x, low)  # noqa: E741
    h = x.amax(axes, keepdim=True).expand_as(x) if high is None else torch.full_like(x, high)
    return shared(step, step.up, [(x, w, None), (-l, w.clamp(min=0), None), (-h, w.clamp(max=0), None)])


def _positive(step: Step) -> list[Part]:
    (x,), layer = step.x, layer_of(step)
    w, b = layer.weight, layer.bias
    most = None if b is None else b.clamp(min=0)
    return [(x.clamp(min=0), w.clamp(min=0), most), (x.clamp(max=0), w.clamp(max=0), None)]


def _least(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.clamp(max=0)


def layer_of(step: Step) -> Weighted:
    """The layer with weights that a step went through."""
    layer: Weighted = step.operation.options["layer"]
    return layer


def shared(step: Step, relevance: Tensor, parts: Sequence[Part]) -> tuple[Tensor]:
    """Relevance shared out over inputs in proportion to their contributions, which are those of all parts together."""
    apply = layer_of(step).apply
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x, _, _ in parts]
        z = torch.stack([apply(leaf, w, b) for leaf, (_, w, b) in zip(leaves, parts, strict=True)]).sum(0)
        slopes = torch.autograd.grad(z, leaves, over(relevance, z.detach()))
    return (torch.stack([x * slope for (x, _, _), slope in zip(parts, slopes, strict=True)]).sum(0),)


def lrp_rule(name: str, layers: Mapping[str, Backward]) -> Rule:
    """The rule with those ways for layers with weights: `dense`, `convolution`, and `first` for the first of them."""
    others: dict[str, Backward] = {
        **dict.fromkeys(ELEMENTWISE, passed),
        "mixture": epsilon,
        "shifted": epsilon,
        "scaled": lambda step: (step.up,),
        "product": halved,
        "softmax": taylor,
        "logsumexp": by_weight,
        "log_softmax": less_the_sum,
    }
    return Rule(
        name,
        {**others, **layers},
        keeps=frozenset({"max_pool", "amax", "amin", "max", "min", "maximum", "minimum"}),
        expands=DIVISORS_HELD,
        shares=True,
    )


def preset(name: str, low: float | None, high: float | None) -> Rule:
    """One of the usual mixtures of rules, by name."""
    layers: dict[str, dict[str, Backward]] = {
        "epsilon": {"dense": epsilon, "convolution": epsilon},
        "attention": {"dense": epsilon, "convolution": epsilon},
        "epsilon_plus_flat": {"dense": epsilon, "convolution": plus, "first": flat},
        "epsilon_gamma_box": {
            "dense": epsilon,
            "convolution": partial(gamma, by=0.25),
            "first": partial(box, low=low, high=high),
        },
        "alpha2_beta1": {"dense": epsilon, "convolution": partial(alpha_beta, alpha=2.0, beta=1.0)},
        "w2": {"dense": epsilon, "convolution": plus, "first": squared},
    }
    return lrp_rule(f"lrp {name}", layers[name])
