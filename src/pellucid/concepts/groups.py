r"""Groups of channels that work together on a picture, what each adds to the answer, and where.

The activations at a site, a row of channels for every place, are factorized into a few non-negative groups: a map over
places and a vector over channels each.  To first order a channel at a place adds $a \cdot \partial f / \partial a$ to
the score; summed by place, by channel and by group that is three views of one answer.  (Olah, Satyanarayan, Johnson,
Carter, Schubert, Ye, Mordvintsev 2018, doi:10.23915/distill.00010.)

Good for: hundreds of channels as six that a person can look at.
Not for:  effects that are not linear: `gap` says how far the sum misses what zeros at the site would do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pellucid.concepts.pictures import colors, gathered
from pellucid.concepts.sites import by_place, exact, positive_map
from pellucid.concepts.work import work_on
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.origin import Origin
from pellucid.core.samples import Samples
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.target import Target
from pellucid.probes.factors import factorized


@dataclass(frozen=True, slots=True)
class Groups(Shown):
    """Groups of channels, those that add most to the score first.

    `vectors`: the channels of each, of length 1; `maps` how much of each group is where; `contributions` what that adds
    to the score, to first order.  `by_channel` and `by_place` are the same sums for single channels and places, and
    hold what no group does, too.  `scores`: as they are, and with zeros at the site.  `missed`: the size of what the
    groups leave out of the activations, as a share.
    """

    vectors: Float[Tensor, "groups channels"]
    maps: Float[Tensor, "pictures groups rows columns"] = field(repr=False)
    contributions: Float[Tensor, "pictures groups rows columns"] = field(repr=False)
    by_channel: Float[Tensor, "pictures channels"] = field(repr=False)
    by_place: Float[Tensor, "pictures rows columns"] = field(repr=False)
    scores: Float[Tensor, "pictures 2"]
    missed: float
    pictures: UInt8[Tensor, "pictures 3 height width"] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    origin: Origin

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def gap(self) -> Float[Tensor, " pictures"]:
        """How far the sum of all contributions misses the change of the score to zeros at the site, relative to it."""
        change = self.scores[:, 0] - self.scores[:, 1]
        missed = (change - self.by_channel.sum(1)).abs()
        return missed / torch.where(change == 0, float("nan"), change.abs())

    @property
    def ungrouped(self) -> Float[Tensor, " pictures"]:
        """What the activations that no group holds add to the score, to first order."""
        return self.by_channel.sum(1) - self.contributions.flatten(1).sum(1)

    def strongest(self, group: int, most: int = 5) -> list[int]:
        """The channels that a group is made of most."""
        found: list[int] = self.vectors[group].argsort(descending=True, stable=True)[:most].tolist()
        return found


def groups(
    net: Network | nn.Module,
    data: Samples,
    target: Target | int | str,
    at: Site | str | None = None,
    *,
    count: Annotated[int, Range(1, 64), "how many groups"] = 6,
) -> Groups:
    """The groups of channels at a site on one picture or on several of one size, and what each adds to the score.

    `at` is a site that holds a map without negative values; by default the last module that does.  Costs three forward
    passes and a backward pass a picture.  Raises `BadInput` when the site does not fit, with the names of some that do.

    >>> import pellucid as pl
    >>> net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2))
    >>> found = pl.concepts.groups(net, torch.rand(1, 3, 6, 6), 1, count=2)
    >>> found.maps.shape, bool(found.gap.max() < 1e-4)
    (torch.Size([1, 2, 4, 4]), True)
    """
    options: dict[str, Any] = {"count": count}
    checked(options_of(groups, among=options), options, "groups")
    with work_on(net, target) as work:
        x = gathered(work.f, data)
        site = positive_map(work.f, x.x, at)
        seen = work.f.watch(x.x, site)[site]
        value, slope = exact(seen.value), exact(seen.grad)
        g, given = work.f.at(site, x.x)
        nothing = g({k: torch.zeros_like(v) for k, v in given.items()})
        factors = factorized(by_place(value), count)
        shape = (len(x), *value.shape[2:], count)
        maps = factors.weights.view(shape).movedim(-1, 1)
        added = value * slope
        each = maps * torch.einsum("bchw,kc->bkhw", slope, factors.parts)
        order = each.sum((2, 3)).mean(0).argsort(descending=True, stable=True)
        return Groups(
            vectors=factors.parts[order].cpu(),
            maps=maps[:, order].contiguous().cpu(),
            contributions=each[:, order].cpu(),
            by_channel=added.sum((2, 3)).cpu(),
            by_place=added.sum(1).cpu(),
            scores=exact(torch.stack((work.f(x.x), nothing), 1)).cpu(),
            missed=factors.error,
            pictures=colors(work.f.net, x.pixels),
            names=x.names,
            origin=work.origin(str(site), options, x.notes),
        )
