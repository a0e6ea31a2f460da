r"""Extremal perturbation: of all smooth masks of a given area, the one that keeps the score highest.

$$m_a = \arg\max_m\; \frac{f(m \odot x + (1 - m) \odot x^0)}{|f(x) - f(x^0)|} - \lambda\,\overline{(m - r_a(m))^2}$$

$r_a(m)$ is 1 for the highest share $a$ of the places of $m$ and 0 for the others, so that the last term pulls the mask
to that area and to yes or no.  A mask is the smooth maximum of round patches, whose heights are climbed by gradient
with momentum; $\lambda$ grows on the way.  Dividing by the whole change of the score makes $\lambda$ a number without
unit.  The map is the mean of the masks for all areas: how early a place is kept when room is scarce.

Good for: one question with one answer: which part alone keeps the answer (or, removed, destroys it)?
Not for:  certainty: the search is local, costs hundreds of gradients, and shows what is enough, not all that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.spatial import image_input
from pellucid.core.tensors import Tensors, per_sample
from pellucid.probes.cells import grid_of, seen
from pellucid.probes.fills import StandIn, stand_in
from pellucid.probes.smooth_mask import Patches, by_rank, patches

_MOMENTUM = 0.9
_FIRST, _LAST = 10.0, 300.0  # lambda at the first step and at the last: ranks are found first, then held to
_RADIUS = 3 / 32  # of a patch's flat top, as a share of the mean side


@method(
    title="Extremal perturbation",
    family="perturbation",
    paper="Fong, Patrick, Vedaldi 2019, arXiv:1910.08485",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="`steps` gradient passes an area, and 2 forward passes, and 1 an area",
    signed=False,
)
def extremal_perturbation(
    f: Score,
    x: Tensors,
    *,
    areas: Annotated[str, "shares of the picture, with commas between them"] = "0.05, 0.1, 0.2",
    kind: Annotated[Literal["preserve", "delete"], "keep the area and the score, or remove both"] = "preserve",
    steps: Annotated[int, Range(1, 10_000), "steps of the search"] = 100,
    rate: Annotated[float, Range(1e-6, 1), "length of a step"] = 0.001,
    cells: Annotated[int, Range(2, 64), "places along each side where a patch may be"] = 21,
    fill: Annotated[StandIn, "what stands where nothing is kept"] = "blur",
    value: Annotated[float, Range(-1e6, 1e6), "the constant, as the network sees it"] = 0.0,
) -> Finding:
    """The smooth masks that keep (or, removed, lower) the score most, averaged over areas: `[batch, 1, height, width]`.

    Values lie in 0..1.  `facts["score"]` has the score under each area's mask, a list a sample; beside it the scores
    of the whole picture and of nothing but fill.  A stopped search returns how far it came.  Raises `BadInput` when no
    input is a picture, `BadOption` for areas outside 0..1, `BadModel` when the score has no gradient.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 1))
    >>> e = pl.methods.extremal_perturbation(net, torch.rand(1, 3, 6, 6), 0, areas="0.3", steps=4)
    >>> e.values.shape, 0 <= float(e.values.min()) <= float(e.values.max()) <= 1
    (torch.Size([1, 1, 6, 6]), True)
    """
    shares = _shares(areas)
    search = _begin(f, x, fill, value, cells, shares, kind)
    done = _climb(f, search, steps, rate)
    masks = search.masks()
    scores = search.scores(f, masks)
    kept = {"area": [float(m.mean()) for m in masks], "areas": list(shares), "steps": done, "score": scores}
    ends = {"whole picture": search.whole.tolist(), "nothing but fill": search.nothing.tolist()}
    return Finding(
        {search.name: torch.stack(masks).mean(0) * search.felt}, resolution=search.patches.grid, facts={**kept, **ends}
    )


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(0 < a < 1 for a in shares):
        raise BadOption(f"areas={text!r}: expected numbers between 0 and 1.", 'For example "0.05, 0.1, 0.2".')
    return shares


@dataclass(slots=True)
class _Search:
    """What is searched: for every area the heights of the patches, and how fast they move."""

    x: Tensors
    name: str
    fill: Tensor
    patches: Patches
    areas: tuple[float, ...]
    sign: float  # 1 to keep the score high, -1 to bring it low
    whole: Tensor
    nothing: Tensor
    heights: list[Float[Tensor, "batch cells"]]
    speed: list[Float[Tensor, "batch cells"]]
    felt: Tensor  # samples whose score has reacted to any mask at all: the masks of the others say nothing

    def masks(self) -> list[Tensor]:
        """Each area's masks."""
        return [self.patches.masks(h).clamp(0, 1) for h in self.heights]

    def shown(self, mask: Tensor) -> Tensors:
        """What the network sees: what is kept, or all but what is removed."""
        return {**self.x, self.name: seen(self.x[self.name], mask if self.sign > 0 else 1 - mask, self.fill)}

    def scores(self, f: Score, masks: list[Tensor]) -> list[list[float]]:
        """A list a sample: the score under each area's mask; nothing when the run was stopped before that."""
        found = list[Tensor]()
        if not current().meter.stopped:
            try:
                found = list(f.scores([self.shown(m) for m in masks]))
            except Stopped:
                current().meter.stopped = "after the search, before its masks were scored"
        lists: list[list[float]] = torch.stack(found, 1).tolist() if len(found) == len(masks) else []
        return lists


def _begin(
    f: Score, x: Tensors, fill: StandIn, value: float, cells: int, areas: tuple[float, ...], kind: str
) -> _Search:
    name = image_input(x)
    v, grid = x[name], grid_of(x[name], cells)
    stands = stand_in(v, (2, 3), fill, value)
    even = [torch.full_like(v.flatten(1)[:, :1], 0.5).expand(-1, grid[0] * grid[1]) for _ in areas]
    still = [torch.zeros_like(h) for h in even]
    ends = f(x), f({**x, name: stands})
    shape = patches(v, grid, _RADIUS)
    deaf = torch.zeros_like(v[:, :1, :1, :1], dtype=torch.bool)
    return _Search(x, name, stands, shape, areas, 1.0 if kind == "preserve" else -1.0, *ends, even, still, deaf)


def _climb(f: Score, search: _Search, steps: int, rate: float) -> int:
    """All areas step together; the number of steps made, which is smaller when somebody pressed stop."""
    for step in range(steps):
        slopes = list[Tensors]()
        try:
            slopes = list(f.grads([search.shown(m) for m in search.masks()]))
        except Stopped:
            if not step:
                raise
            current().meter.stopped = f"after {step} of {steps} steps"
        if current().meter.stopped:
            return step
        pull = _FIRST * (_LAST / _FIRST) ** (step / max(steps - 1, 1))
        for i, (area, slope) in enumerate(zip(search.areas, slopes, strict=True)):
            search.felt |= slope[search.name].flatten(1).any(1).view(-1, 1, 1, 1)
            uphill = _uphill(search, search.heights[i], slope[search.name], area, pull)
            search.speed[i] = _MOMENTUM * search.speed[i] + uphill
            search.heights[i] = (search.heights[i] + rate * search.speed[i]).clamp(0, 1)
    return steps


def _uphill(search: _Search, heights: Tensor, slope: Tensor, area: float, pull: float) -> Tensor:
    """The gradient of the aim with respect to the heights: the network by the chain rule, the mask by autograd.

    It is taken a cell, so that the number of cells changes neither the size of a step nor its stability.  What a place
    of the mask changes in the picture is the picture less the fill there.
    """
    v = search.x[search.name]
    change = (search.whole - search.nothing).abs().clamp(min=1e-6)
    through = (slope * (v - search.fill)).sum(1, keepdim=True) / per_sample(change, v)
    with torch.enable_grad():
        leaf = heights.detach().requires_grad_()
        mask = search.patches.masks(leaf)
        target = by_rank(mask.detach().flatten(1), area).view_as(mask)
        aim = (through * mask).sum() - pull * (mask - target).square().flatten(1).mean(1).sum()
        return leaf.shape[1] * torch.autograd.grad(aim, leaf)[0]


def reference(
    f: Score,
    x: Tensors,
    *,
    areas: str = "0.05, 0.1, 0.2",
    kind: str = "preserve",
    steps: int = 100,
    rate: float = 0.001,
    cells: int = 21,
    fill: StandIn = "blur",
    value: float = 0.0,
) -> Tensors:
    """The definition, area by area, without any gradient: every height is nudged up and down.  For very few cells."""
    maps, nudge = [], 1e-5
    for area in _shares(areas):
        search = _begin(f, x, fill, value, cells, (area,), kind)
        change = (search.whole - search.nothing).abs().clamp(min=1e-6)
        heights, speed = search.heights[0].clone(), torch.zeros_like(search.heights[0])
        for step in range(steps):
            pull = _FIRST * (_LAST / _FIRST) ** (step / max(steps - 1, 1))
            target = by_rank(search.patches.masks(heights).flatten(1), area)
            slope = torch.zeros_like(heights)
            for i in range(heights.shape[1]):
                for way in (nudge, -nudge):
                    moved = heights.clone()
                    moved[:, i] += way
                    mask = search.patches.masks(moved)
                    gain = search.sign * f(search.shown(mask)) / change
                    loss = pull * (mask.flatten(1) - target).square().mean(1)
                    slope[:, i] += (gain - loss) / (2 * way)
            speed = _MOMENTUM * speed + slope * slope.shape[1]
            heights = (heights + rate * speed).clamp(0, 1)
        maps.append(search.patches.masks(heights))
    return {image_input(x): torch.stack(maps).mean(0)}
