r"""Concept relevance propagation: which channels at a site an answer came through, and where in the picture they look.

The score is shared out backwards by rules (LRP).  What arrives at the site is each channel's relevance.  Let through
the site only what belongs to one channel, and what arrives at the input is that channel's map:
$R(x \mid c) = R(x)$ with all other channels' relevance at the site set to zero.  The maps of all channels add up to the
whole one.  (Achtibat, Dreyer, Eisenbraun, Bosse, Wiegand, Samek, Lapuschkin 2023, arXiv:2206.03208.)

Good for: taking one answer apart into what its channels saw.
Not for:  a channel's meaning: that takes `references`.  The relevance is that of the rules, which are a choice, and
          LRP is said to be patented: see `pellucid.methods.lrp`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pellucid.concepts.pictures import colors
from pellucid.concepts.sets import channel_axis, over_places
from pellucid.concepts.sites import exact
from pellucid.concepts.work import Work, work_on
from pellucid.core.errors import BadInput
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.origin import Origin
from pellucid.core.run import current
from pellucid.core.score import Score, Seen
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.spatial import image_input
from pellucid.core.target import Target
from pellucid.core.tensors import Inputs, Tensors, as_tensors, batch_size, per_sample
from pellucid.rules.lrp import Preset
from pellucid.rules.lrp import preset as rules_of


@dataclass(frozen=True, slots=True)
class Relevance(Shown):
    """One input's answer, taken apart at a site.

    `channels`: the relevance of every channel there, in the score's unit.  `chosen`: those with a map, the most
    relevant first (by size), `maps` theirs, `whole` the map of all channels together; summed over color channels.
    `score`, and `arrived`, the part of it that arrived at the site: biases and stabilizers keep the rest.
    """

    channels: Float[Tensor, " channels"]
    chosen: tuple[int, ...]
    maps: Float[Tensor, "chosen height width"] = field(repr=False)
    whole: Float[Tensor, "height width"] = field(repr=False)
    score: float
    picture: UInt8[Tensor, "3 height width"] = field(repr=False)
    origin: Origin

    @property
    def arrived(self) -> float:
        """The sum over channels, as a share of the score; NaN where the score is zero."""
        return float(self.channels.sum()) / self.score if self.score else float("nan")

    @property
    def shown(self) -> float:
        """How much of the whole map, by size, the chosen channels' maps together are."""
        left = float((self.whole - self.maps.sum(0)).abs().sum())
        whole = float(self.whole.abs().sum())
        return 1 - left / whole if whole else float("nan")


def relevance(
    net: Network | nn.Module,
    x: Inputs,
    target: Target | int | str,
    at: Site | str,
    channels: Sequence[int] | None = None,
    *,
    most: Annotated[int, Range(1, 256), "channels with a map, when none are named"] = 6,
    preset: Annotated[Preset, "which rule for which layer, as for pl.methods.lrp"] = "epsilon_plus_flat",
) -> Relevance:
    """The relevance of every channel at a site for one picture, and the maps of some (`channels`, or the `most`).

    Costs a forward and a backward pass, and both again for each map.  Raises `BadInput` for several samples, for no
    picture, and for channels that the site has not.

    >>> import pellucid as pl
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    >>> found = pl.concepts.relevance(net, torch.rand(1, 3, 6, 6), 1, "1", most=2)
    >>> found.maps.shape, len(found.channels)
    (torch.Size([2, 6, 6]), 4)
    """
    options: dict[str, Any] = {"most": most, "preset": preset}
    checked(options_of(relevance, among=options), options, "relevance")
    site = at if isinstance(at, Site) else Site.parse(at)
    with work_on(net, target) as work:
        assert work.f.model is not None  # noqa: S101 (bound)
        given = like_the_model(as_tensors(x, work.f.net.inputs), work.f.model)
        if batch_size(given) != 1:
            raise BadInput(f"{batch_size(given)} pictures were given; one is taken apart at a time.", "Use x[:1].")
        return _apart(work, given, image_input(given), site, channels, options)


def _apart(
    work: Work, x: Tensors, name: str, site: Site, channels: Sequence[int] | None, options: dict[str, Any]
) -> Relevance:
    shared = work.f.under(rules_of(options["preset"], None, None))
    score = work.f(x)
    every = channel_relevance(shared, x, site)[0] * score
    order = every.abs().argsort(descending=True, stable=True)[: options["most"]].tolist()
    chosen = order if channels is None else list(channels)
    wrong = next((c for c in chosen if not 0 <= c < len(every)), None)
    if wrong is not None:
        raise BadInput(f"Channel {wrong} was asked for; {site} has 0 to {len(every) - 1}.")
    whole = (shared.grad(x)[name] * per_sample(score, x[name]))[0].sum(0)
    maps: list[Tensor] = []
    for c in chosen:
        if current().stopping() and maps:
            break
        maps.append((let_through(shared, site, [c]).grad(x)[name] * per_sample(score, x[name]))[0].sum(0))
    return Relevance(
        channels=every.cpu(),
        chosen=tuple(chosen[: len(maps)]),
        maps=exact(torch.stack(maps)).cpu() if maps else torch.empty(0, *whole.shape),
        whole=exact(whole).cpu(),
        score=float(score),
        picture=colors(work.f.net, x[name])[0],
        origin=work.origin(str(site), options),
    )


def channel_relevance(shared: Score, x: Tensors, site: Site) -> Float[Tensor, "batch channels"]:
    """The share of each sample's score that flows through each channel: summed over places."""
    return over_places(shared.net, through(shared, x, site).grad, site, sum_up=True)


def through(shared: Score, x: Tensors, site: Site) -> Seen:
    """The value at a site and the share of the score at every unit of it.

    The input is to be differentiated too: a pass that begins at the site would take the layer behind it for the first.
    """
    leaves = {k: v.detach().requires_grad_() if v.is_floating_point() else v for k, v in x.items()}
    return shared.watch(leaves, site)[site]


def let_through(shared: Score, site: Site, channels: Iterable[int]) -> Score:
    """The score whose relevance passes the site through these channels only; forward nothing changes."""
    return shared.do({site: partial(_gated, shared.net, tuple(channels))})


def _gated(net: Network, channels: tuple[int, ...], value: Tensor) -> Tensor:
    if value.requires_grad:
        axis = channel_axis(net, value.ndim)
        keep = torch.zeros(value.shape[axis], dtype=value.dtype, device=value.device)
        keep[list(channels)] = 1
        shape = [1] * value.ndim
        shape[axis] = -1
        value = value.clone()
        value.register_hook(lambda g: g * keep.view(shape))  # type: ignore[no-untyped-call]  # torch does not type it
    return value
