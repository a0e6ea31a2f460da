r"""Activation maximization: a picture that a target likes as much as possible.

$$x^* = \arg\max_x\; \mathbb{E}_\tau\, f(\tau(x)) - \lambda R(x)$$

over small moves $\tau$, with the picture written so that what photographs have much of is easy to draw.

Good for: what a channel, a neuron, a class or a direction responds to, without any data.
Not for:  what it responds to *usually*: a dream is the far end of what excites it.  Look at real patches beside it,
          and at the card: whether another network sees the same, and whether it holds under fresh moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.core.target import Target
from pellucid.core.tensors import Inputs
from pellucid.dream.dream import Dream
from pellucid.dream.painting.dreaming import dreamed, gone_on, watched, wish
from pellucid.dream.recipe import Recipe, cooked


def maximize(
    net: Network | nn.Module,
    targets: Target | Sequence[Target],
    *,
    like: Inputs | None = None,
    size: int | None = None,
    begins: Tensor | None = None,
    recipe: Recipe | None = None,
    **knobs: Any,
) -> Dream:
    """Dream of what each target likes best, one picture a target, all in one batch (Erhan et al. 2009).

    `like`: an example input, for networks that state no preparation; it gives shape and range.  `size`: the picture's
    side in pixels, by default the network's.  `begins`: pictures `[n or 1, channels, *size]` in 0..1 to start from, of
    which the dream then shows what the target makes more of (feature accentuation; Hamblin et al. 2024).  `knobs`
    change the recipe: `steps=256`, `parametrization="phase"`; see `Recipe`.  Each picture depends on its target and the
    seed alone, not on the others beside it.  Raises the package's errors, before any step, for targets, sites and knobs
    that there are not.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> pl.dream.maximize(net, pl.channel("1", 2), like=torch.rand(1, 3, 16, 16), steps=4).pictures.shape
    torch.Size([1, 3, 16, 16])
    """
    return dreamed(wish("maximize", net, targets, cooked(recipe, knobs), like=like, size=size, begins=begins))


def watch(
    net: Network | nn.Module,
    targets: Target | Sequence[Target],
    *,
    like: Inputs | None = None,
    size: int | None = None,
    begins: Tensor | None = None,
    recipe: Recipe | None = None,
    **knobs: Any,
) -> Iterator[Dream]:
    """The dream after every step, as `maximize` would make it; leave the loop to stop."""
    return watched(wish("maximize", net, targets, cooked(recipe, knobs), like=like, size=size, begins=begins))


def resume(dream: Dream, net: Network | nn.Module | None = None, *, steps: int = 96) -> Dream:
    """Go on with a dream, of this session or from a file, for so many more steps.

    The seed is the dream's own, so that a dream that was stopped ends as if it had not been.  Raises `BadModel` when
    the network's weights are not those that were dreamed of, `BadInput` when a dream from a file
    is given without its network, `BadOption` for no steps.
    """
    return dreamed(*gone_on(dream, net, steps))


def between(one: Target, other: Target, count: int = 5) -> tuple[Target, ...]:
    """Targets on the way from one to another, both ends included: with `shared=1` the pictures change smoothly.

    >>> import pellucid as pl
    >>> [str(t) for t in between(pl.logit(1), pl.logit(2), 3)][1]
    '0.5*logit(1) + 0.5*logit(2)'
    """
    shares = [i / max(count - 1, 1) for i in range(count)]
    return tuple(one if s == 0 else other if s == 1 else (1 - s) * one + s * other for s in shares)
