r"""How one site is made of another: what each channel and each place there adds to a channel here.

To first order channel i at a place p of the first site adds $a_{ip} \cdot \partial b_j / \partial a_{ip}$ to channel j
of the second (its mean over places).  The sums over places are a matrix between channels, those over channels a map.
(Olah, Satyanarayan, Johnson, Carter, Schubert, Ye, Mordvintsev 2018, doi:10.23915/distill.00010.)

Good for: neighboring sites, between which little bends.
Not for:  far ones: `gap` compares the sum with what zeros at the first site would really do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pellucid.concepts.pictures import colors
from pellucid.concepts.sets import over_places
from pellucid.concepts.work import Work, work_on
from pellucid.core.errors import BadInput
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.origin import Origin
from pellucid.core.run import current
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.spatial import image_input
from pellucid.core.target import Target, channel
from pellucid.core.tensors import Inputs, Tensors, as_tensors, batch_size


@dataclass(frozen=True, slots=True)
class Between(Shown):
    """What a first site adds to channels of a second one, for one picture.

    `channels`: those of the second site, the ones that add most to the target first; `values` their means over places,
    and `nothing` the same with zeros at the first site.  `matrix`: what each channel of the first site adds; `maps`
    what each place adds.  `worth`: what each of `channels` adds to the target, to first order.
    """

    first: str
    channels: tuple[int, ...]
    values: Float[Tensor, " chosen"]
    nothing: Float[Tensor, " chosen"]
    matrix: Float[Tensor, "chosen channels"] = field(repr=False)
    maps: Float[Tensor, "chosen rows columns"] = field(repr=False)
    worth: Float[Tensor, " chosen"]
    picture: UInt8[Tensor, "3 height width"] = field(repr=False)
    origin: Origin

    @property
    def gap(self) -> Float[Tensor, " chosen"]:
        """How far the sum over the first site misses the change of each channel to zeros there, relative to it."""
        change = self.values - self.nothing
        return (change - self.matrix.sum(1)).abs() / torch.where(change == 0, float("nan"), change.abs())

    def strongest(self, row: int, most: int = 5) -> list[int]:
        """The channels of the first site that add most to a channel, or take most from it."""
        found: list[int] = self.matrix[row].abs().argsort(descending=True, stable=True)[:most].tolist()
        return found


def between(
    net: Network | nn.Module,
    x: Inputs,
    target: Target | int | str,
    first: Site | str,
    second: Site | str,
    channels: Sequence[int] | None = None,
    *,
    most: Annotated[int, Range(1, 64), "channels of the second site, when none are named"] = 6,
) -> Between:
    """What the channels and places of a first site add to channels of a second, for one picture.

    Without `channels`, those that add most to the target.  Costs a forward and a backward pass for each of them.
    Raises `BadInput` for several samples, for sites without maps, and for channels that the second site has not;
    `BadModel` when the second site does not depend on the first.

    >>> import pellucid as pl
    >>> layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, bias=False), nn.Flatten(), nn.Linear(20, 2)
    >>> found = pl.concepts.between(nn.Sequential(*layers), torch.rand(1, 3, 6, 6), 1, "1", "2", most=2)
    >>> found.matrix.shape, bool(found.gap.max() < 1e-4)
    (torch.Size([2, 4]), True)
    """
    options: dict[str, Any] = {"most": most}
    checked(options_of(between, among=options), options, "between")
    start, end = (s if isinstance(s, Site) else Site.parse(s) for s in (first, second))
    with work_on(net, target) as work:
        assert work.f.model is not None  # noqa: S101 (bound)
        given = like_the_model(as_tensors(x, work.f.net.inputs), work.f.model)
        if batch_size(given) != 1:
            raise BadInput(f"{batch_size(given)} pictures were given; one is looked at at a time.", "Use x[:1].")
        seen = work.f.watch(given, end)[end]
        worth = over_places(work.f.net, seen.value * seen.grad, end, sum_up=True)[0]
        chosen = worth.argsort(descending=True, stable=True)[:most].tolist() if channels is None else list(channels)
        wrong = next((c for c in chosen if not 0 <= c < len(worth)), None)
        if wrong is not None:
            raise BadInput(f"Channel {wrong} was asked for; {end} has 0 to {len(worth) - 1}.")
        return _made_of(work, given, start, end, chosen, worth, options)


def _made_of(
    work: Work, x: Tensors, start: Site, end: Site, chosen: list[int], worth: Tensor, options: dict[str, Any]
) -> Between:
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for c in chosen:
        if current().stopping() and found:
            break
        g, given = replace(work.f, target=channel(end, c)).at(start, x)
        value = given[str(start)]
        if value.ndim != 4:
            raise BadInput(
                f"Site {str(start)!r} holds {tuple(value.shape)}; expected [batch, channels, height, width]."
            )
        added = (g.grad(given)[str(start)] * value)[0]
        found.append((g(given)[0], g({k: torch.zeros_like(v) for k, v in given.items()})[0], added))
    kept = chosen[: len(found)]
    name = image_input(x)
    return Between(
        first=str(start),
        channels=tuple(kept),
        values=torch.stack([v for v, _, _ in found]).cpu(),
        nothing=torch.stack([n for _, n, _ in found]).cpu(),
        matrix=torch.stack([a.sum((1, 2)) for _, _, a in found]).cpu(),
        maps=torch.stack([a.sum(0) for _, _, a in found]).cpu(),
        worth=worth[kept].cpu(),
        picture=colors(work.f.net, x[name])[0],
        origin=work.origin(str(end), options),
    )
