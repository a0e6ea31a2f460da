r"""What a layer kept of a picture: pictures that it takes for the same, and what it makes most of.

`invert` minimizes $\lVert a(x) - a(x_0)\rVert^2 / \lVert a(x_0)\rVert^2$ from a random start (Mahendran, Vedaldi 2015):
what differs between the result and the picture is what the layer forgot.  `caricature` goes as far as it can in the
direction of the picture's own values (Olah et al. 2018): what the layer finds in it, exaggerated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pellucid.core.counts import count, were_given
from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.readings import gram_of
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import Target, direction, likeness, logit, texture
from pellucid.core.tensors import Inputs, Tensors, as_tensors, batch_size
from pellucid.dream.dream import Dream
from pellucid.dream.painting.canvas import canvas_under
from pellucid.dream.painting.dreaming import dreamed, wish
from pellucid.dream.recipe import Recipe, cooked

# Places matter to a layer's values, so that the network looks at the picture as it is.
STILL = Recipe(jitter=0, shrink=1, zoom=1, rotate=0, early=1, noise=0.03, contrast=0, rate=0.3)
LOUD = STILL.but(contrast=1, rate=0.2)  # without a limit a caricature would be black and white


def invert(net: Network | nn.Module, x: Inputs, at: str | Site, *, recipe: Recipe | None = None, **knobs: Any) -> Dream:
    """A picture with the same values at a site as each of `x`, from a random start.

    `scores` are minus the squared distance, as a share of the values' own square: 0 is equal.  `seen_with` are the
    pictures themselves.  Raises `BadInput` for an input that is no picture, signal or volume, or no such site.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> found = pl.dream.invert(net, torch.rand(1, 3, 16, 16), "1", steps=4)
    >>> found.what, found.scores[0] < 0
    ('invert', True)
    """
    network, given, values = _values(net, x, [at])
    targets = [likeness(at, v) for v in values[0]]
    return _dreamed("invert", network, targets, given, cooked(recipe, knobs, STILL))


def caricature(
    net: Network | nn.Module,
    x: Inputs,
    at: str | Site,
    *,
    power: float = 1.0,
    recipe: Recipe | None = None,
    **knobs: Any,
) -> Dream:
    """Each picture of `x` exaggerated in what a layer finds in it.

    `power` of the cosine: 0 goes for size alone, higher keeps closer to the picture's own mixture.
    """
    network, given, values = _values(net, x, [at])
    targets = [direction(at, v, power) for v in values[0]]
    return _dreamed("caricature", network, targets, given, cooked(recipe, knobs, LOUD))


def style(
    net: Network | nn.Module,
    x: Inputs,
    at: str | Site | Sequence[str | Site],
    *,
    content: Inputs | None = None,
    content_at: str | Site | None = None,
    weight: float = 1.0,
    recipe: Recipe | None = None,
    **knobs: Any,
) -> Dream:
    """The texture of each picture of `x`: which channels go together, averaged over space (Gatys et al. 2015).

    With `content`, a picture or one for each of `x`, its values at `content_at` are kept too, with that weight, and the
    dream begins at it, in its size: style transfer (Gatys et al. 2016).
    """
    sites = [at] if isinstance(at, str | Site) else list(at)
    if not sites:
        raise BadInput("No site was given at which the style is read.", "at=[SITE, ...]")
    network, given, values = _values(net, x, sites)
    targets = [
        _sum([texture(site, gram_of(v[i : i + 1])[0]) for site, v in zip(sites, values, strict=True)])
        for i in range(batch_size(given))
    ]
    made = cooked(recipe, knobs, STILL)
    if content is None:
        return _dreamed("style", network, targets, given, made)
    if content_at is None:
        raise BadInput("Content was given, but not the site at which it is kept.", "content_at=SITE")
    _, held, (kept,) = _values(network, content, [content_at])
    if len(kept) not in (1, len(targets)):
        raise BadInput(
            f"{were_given(len(kept), 'content')} for {count(len(targets), 'style')}.", "Give one, or one for each."
        )
    targets = [t + weight * likeness(content_at, kept[i % len(kept)]) for i, t in enumerate(targets)]
    canvas, on = canvas_under(network, given), canvas_under(network, held)
    shown, begins = canvas.drawn(given[canvas.input]), on.drawn(held[on.input])
    return dreamed(wish("style", network, targets, made, canvas=on, begins=begins, seen_with=shown))


def nudge(
    net: Network | nn.Module,
    x: Inputs,
    target: Target | int | str,
    *,
    stay: float = 20.0,
    recipe: Recipe | None = None,
    **knobs: Any,
) -> Dream:
    """Each picture of `x` changed a little, in ways that can be seen, until the target rises: what would it take?

    The picture is written by its frequencies, so that what changes are shapes and not single pixels, and the network
    looks through small moves, as in `maximize`.  `stay` is the price of squared distance from the picture.  This is not
    the smallest change that turns the answer: that one cannot be seen (`fool`).
    """
    network, given, _ = _values(net, x, [])
    of = target if isinstance(target, Target) else logit(target)
    usual = Recipe(contrast=1, jitter=0.05, shrink=0.95, zoom=1.1, rotate=5, early=1, noise=0.05, rate=0.05)
    made = cooked(recipe, {"stay": stay, **knobs}, usual)
    return _dreamed("nudge", network, [of] * batch_size(given), given, made, at_them=True)


def _values(net: Network | nn.Module, x: Inputs, at: Sequence[str | Site]) -> tuple[Network, Tensors, list[Tensor]]:
    network = net if isinstance(net, Network) else Network(net)
    given = as_tensors(x, network.inputs)
    sites = [s if isinstance(s, Site) else Site.parse(s) for s in at]
    if not sites:
        return network, given, []
    found = Score(network, logit(0)).values(given, *sites)
    return network, given, [found[s] for s in sites]


def _dreamed(
    what: str, net: Network, targets: Sequence[Target], given: Tensors, recipe: Recipe, *, at_them: bool = False
) -> Dream:
    """A dream with a real picture beside each; `at_them`: begun at them."""
    canvas = canvas_under(net, given)
    shown = canvas.drawn(given[canvas.input])
    begins = shown if at_them else None
    return dreamed(wish(what, net, targets, recipe, canvas=canvas, begins=begins, seen_with=shown))


def _sum(targets: Sequence[Target]) -> Target:
    total = targets[0]
    for one in targets[1:]:
        total = total + one
    return (1 / len(targets)) * total
