r"""Integrated Hessians: how much of the score's change two parts make together, and how much each alone.

$$\Gamma_{ab} = \int_0^1\!\!\int_0^1 \alpha\beta\; d_a^\top H\bigl(x^0 + \alpha\beta\,(x - x^0)\bigr)\, d_b\;
d\alpha\,d\beta,\qquad \Gamma_{aa} \mathrel{+}= \int_0^1\!\!\int_0^1 d_a^\top \nabla f\; d\alpha\,d\beta$$

with $d_a$ the part of $x - x^0$ that lies in player $a$ (a block, a superpixel, a word, a column) and $H$ the Hessian.
It is integrated gradients, applied to the integrated gradients: row $a$ adds up to player $a$'s, which is the map, and
all together to $f(x) - f(x^0)$.  The product of two uniform numbers has the density $-\log u$, so one integral does for
two; only Hessians times directions are computed, one for each player and point.

Good for: telling parts that work together from parts that work alone, among few players.
Not for:  networks of ReLUs, which do not bend: their interactions are all zero.  `softplus` explains a smooth
          neighbor of the network in their place, as the paper does.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.curvature import ALONG, curvatures
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, each
from pellucid.probes.baselines import Constant, mean_change
from pellucid.probes.coalitions import Parts, laid_back
from pellucid.probes.path import between, constant, gauss_legendre, whole
from pellucid.probes.segments import By, Cells, Mask, Segments, segments
from pellucid.probes.variations import Variations
from pellucid.rules.softplus import softplus as smoothly

_USUAL = 16  # players, when nothing is said: each costs two passes at every point


@method(
    title="Integrated Hessians",
    family="gradient",
    paper="Janizek, Sturmfels, Lee 2021, arXiv:2002.04138",
    promises=Promise.COMPLETE | Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT | Promise.SCALE_INVARIANT,
    cost="`steps` second-order passes a player",
)
def integrated_hessians(
    f: Score,
    x: Tensors,
    *,
    steps: Annotated[int, Range(2, 1024), "points on the path"] = 16,
    by: By = "grid",
    cells: Cells = None,
    mask: Mask = None,
    baseline: Constant = 0.0,
    softplus: Annotated[
        float | None, Range(0.1, 1000), "sharpness of the softplus that stands in for ReLUs; none: the network as it is"
    ] = None,
) -> Finding:
    """Each part's share of the change of the score, `[batch, 1, ...]`, and in the facts what pairs of parts share.

    `facts["interactions"]` holds a matrix a sample: what two players do together stands in both of its halves, what
    one does alone on the diagonal.  The unit is the score's.  Raises `BadModel` when an operation has no second
    derivative, `BadOption` when the mask does not fit.

    >>> import torch, pellucid as pl
    >>> class Product(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x[:, :1] * x[:, 1:]
    >>> e = pl.methods.integrated_hessians(Product(), torch.tensor([[2.0, 3.0]]), 0, steps=64)
    >>> [[round(v, 3) for v in row] for row in e.facts["interactions"][0]]  # 6, half of it from either side
    [[1.5, 1.5], [1.5, 1.5]]
    """
    players = segments(f, x, by=by, cells=cells, mask=mask, most=_USUAL)
    start = constant(x, baseline)
    change = mean_change(f, x, [start]).double().cpu()
    g = f if softplus is None else f.under(smoothly(softplus))
    table, bent = _integrated(g, start, x, players, steps)
    rows = [t[:n, :n] for t, n in zip(table, players.counts, strict=True)]
    found = laid_back(
        Parts(x, players, start),
        [t.sum(1) for t in rows],
        change,
        interactions=[t.tolist() for t in rows],
        points=steps,
    )
    if bent:
        return found
    flat = "The score does not bend anywhere on the path (ReLUs have no curvature), so no interaction can be found."
    return Finding(
        found.maps, resolution=found.resolution, gap=found.gap, facts=found.facts,
        notes=(*found.notes, flat + ("" if softplus else " softplus=10 explains a smooth neighbor of the network.")),
    )  # fmt: skip


def _integrated(
    f: Score, start: Tensors, x: Tensors, players: Segments, steps: int
) -> tuple[Float[Tensor, "batch players players"], bool]:
    """The interactions of all players, and whether the score bends at all."""
    n, away = max(players.counts), each(torch.sub, x, start)
    points = [(s * s, -4 * w * s * math.log(s)) for s, w in zip(*gauss_legendre(steps), strict=True)]  # u = s squared
    directions = [{k: v * (players.labels[k] == a) for k, v in away.items()} for a in range(n)]
    path = Variations(
        steps * n,
        lambda i: between(start, x, points[i // n][0]) | {k + ALONG: v for k, v in directions[i % n].items()},
    )
    table = torch.zeros(len(players.counts), n, n, dtype=torch.double)
    reached, bent = 0, False
    for i, (slope, bend) in enumerate(curvatures(f, path)):
        (at, weight), a = points[i // n], i % n
        table[:, a] += weight * at * _by_player(each(torch.mul, bend, away), players, n)
        bent = bent or any(bool(v.any()) for v in bend.values())
        if a == 0:  # the gradient is the same for every direction
            table += torch.diag_embed(weight * _by_player(each(torch.mul, slope, away), players, n))
        reached += 1
    whole(reached, len(path))
    return table, bent


def _by_player(values: Tensors, players: Segments, n: int) -> Float[Tensor, "batch players"]:
    """The sum over each player's places."""
    sums = torch.zeros(len(players.counts), n, dtype=torch.double)
    for k, v in values.items():
        label = players.labels[k].expand_as(v).flatten(1).cpu()
        sums.scatter_add_(1, label, v.flatten(1).double().cpu())
    return sums


def reference(
    f: Score,
    x: Tensors,
    *,
    by: str = "grid",
    cells: int | None = None,
    mask: Tensor | None = None,
    baseline: float = 0.0,
    points: int = 14,
) -> Tensors:
    """The definition, slowly: the double integral, and Hessians by differences of gradients."""
    players, start = segments(f, x, by=by, cells=cells, mask=mask, most=_USUAL), constant(x, baseline)
    table = interactions(f, start, x, players, points)
    return players.laid(table.sum(2).to(next(iter(x.values())).dtype))


def interactions(
    f: Score, start: Tensors, x: Tensors, players: Segments, points: int
) -> Float[Tensor, "batch players players"]:
    """All interactions by the definition."""
    n, away, step = max(players.counts), each(torch.sub, x, start), 1e-4
    nodes = list(zip(*gauss_legendre(points), strict=True))
    pairs = [(alpha * beta, wa * wb) for alpha, wa in nodes for beta, wb in nodes]
    nudges = [{k: step * v * (players.labels[k] == a) for k, v in away.items()} for a in range(n)]

    def at(i: int) -> Tensors:  # at each pair the point itself, then its neighbors up and down, player by player
        here, which = between(start, x, pairs[i // (2 * n + 1)][0]), i % (2 * n + 1)
        if which == 0:
            return here
        return here | each(torch.add if which % 2 else torch.sub, here, nudges[(which - 1) // 2])

    slopes = iter(f.grads(Variations(len(pairs) * (2 * n + 1), at)))
    table = torch.zeros(len(players.counts), n, n, dtype=torch.double)
    for product, weight in pairs:
        table += weight * torch.diag_embed(_by_player(each(torch.mul, next(slopes), away), players, n))
        for a in range(n):
            bend = each(lambda p, q, d: (p - q) / (2 * step) * d, next(slopes), next(slopes), away)
            table[:, a] += weight * product * _by_player(bend, players, n)
    return table
