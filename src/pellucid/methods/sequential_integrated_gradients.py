r"""Sequential integrated gradients: integrated gradients for one part after another, all the others kept.

$$A_i(x) = (x_i - x^0_i)\int_0^1\frac{\partial f}{\partial x_i}\bigl(x^{a} + t\,(x - x^{a})\bigr)\,dt$$

where $x^{a}$ is the input with the part $a$ that holds $i$ (a word, a step in time, a column, a block of a picture) at
the baseline and everything else as it is.  On its path a sentence stays a sentence but for one word, while plain
integrated gradients go through mixtures of all words with nothing.  The values of each part add up to
$f(x) - f(x^{a})$, exactly what feature ablation measures: here they are shared out within the part.

Good for: texts, where a word means something among its neighbors only; with `token` the way begins at a real token.
Not for:  evidence that is in several parts at once, which no part alone removes; and values that add up over all parts.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, add_to, each
from pellucid.probes.baselines import Constant, Token, of_token
from pellucid.probes.path import constant, gauss_legendre, straight, whole
from pellucid.probes.segments import By, Cells, Mask, Segments, segments
from pellucid.probes.variations import Variations

_USUAL = 16  # parts, when nothing is said: each costs a path of its own
_ALLOWED = 0.05  # gap above which a note says so


@method(
    title="Sequential integrated gradients",
    family="gradient",
    paper="Enguehard 2023, arXiv:2305.15853",
    promises=Promise.LINEAR
    | Promise.DUMMY
    | Promise.IMPLEMENTATION_INVARIANT
    | Promise.SYMMETRIC
    | Promise.SCALE_INVARIANT,
    cost="`steps` gradient passes and 1 forward pass a part",
)
def sequential_integrated_gradients(
    f: Score,
    x: Tensors,
    *,
    steps: Annotated[int, Range(1, 1024), "points on the path of each part"] = 32,
    by: By = "grid",
    cells: Cells = None,
    mask: Mask = None,
    baseline: Constant = 0.0,
    token: Token = None,
) -> Finding:
    """What each part adds to the score in the company of all others, shared out over the values within it.

    Every token of a text is a part, every column of a table, blocks of pictures, series and volumes; a mask says it
    freely.  Shapes follow the input; the unit is the score's.  `facts` hold for each sample what the values of every
    part add up to, by how much the score falls without it, and the largest difference of the two, relative to the
    largest fall.  Raises `BadOption` when the mask does not fit or there is no such token, `BadModel` when the score
    does not depend differentiably on the input.

    >>> import torch, pellucid as pl
    >>> class Product(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x[:, :1] * x[:, 1:]
    >>> e = pl.methods.sequential_integrated_gradients(Product(), torch.tensor([[2.0, 3.0]]), 0)
    >>> [round(v, 3) for v in e.values[0].tolist()]  # without either nothing is left
    [6.0, 6.0]
    """
    players = segments(f, x, by=by, cells=cells, mask=mask, most=_USUAL)
    start = constant(x, baseline) if token is None else of_token(f, x, token)
    n, (nodes, weights) = max(players.counts), gauss_legendre(steps)
    known = list(f.scores(Variations(n + 1, lambda i: _toward(start, x, players, i, 0.0) if i < n else x)))
    whole(len(known), n + 1)
    path = Variations(steps * n, lambda i: _toward(start, x, players, i % n, nodes[i // n]))
    maps, away, reached = each(torch.zeros_like, x), each(torch.sub, x, start), 0
    for i, gradient in enumerate(f.grads(path)):
        here = {k: v * away[k] * (players.labels[k] == i % n) for k, v in gradient.items()}
        add_to(maps, here, weights[i // n])
        reached += 1
    whole(reached, len(path))
    falls = (known[-1][:, None] - torch.stack(known[:-1], 1)).double().cpu()
    return _finding(maps, players, falls, steps)


def _toward(start: Tensors, x: Tensors, players: Segments, player: int, at: float) -> Tensors:
    """The input with one player a fraction `at` of the way from the baseline, the others at their place."""
    return x | {k: torch.where(v == player, start[k] + at * (x[k] - start[k]), x[k]) for k, v in players.labels.items()}


def _finding(maps: Tensors, players: Segments, falls: Float[Tensor, "batch players"], steps: int) -> Finding:
    """What each part's values add up to, and how far that is from what the score loses without it."""
    sums = torch.zeros_like(falls)
    for k, v in maps.items():
        sums.scatter_add_(1, players.labels[k].expand_as(v).flatten(1).cpu(), v.flatten(1).double().cpu())
    gap = (sums - falls).abs().amax(1) / falls.abs().amax(1).clamp(min=1e-6)
    facts = {
        "points": steps,
        "player values": [row[:n].tolist() for row, n in zip(sums, players.counts, strict=True)],
        "falls": [row[:n].tolist() for row, n in zip(falls, players.counts, strict=True)],
        "largest gap of a part": gap.tolist(),
    }
    missed = f"The values of a part miss what the score loses without it by up to {float(gap.max()):.0%} of the largest"
    notes = (f"{missed} loss after {steps} points; ask for more.",) if float(gap.max()) > _ALLOWED else ()
    return Finding(maps, facts=facts, notes=notes)


def reference(
    f: Score,
    x: Tensors,
    *,
    by: str = "grid",
    cells: int | None = None,
    mask: Tensor | None = None,
    baseline: float = 0.0,
    token: int | None = None,
    points: int = 2000,
) -> Tensors:
    """The definition: integrated gradients by midpoints from the input without one part, once for every part."""
    players, nodes = (
        segments(f, x, by=by, cells=cells, mask=mask, most=_USUAL),
        [(i + 0.5) / points for i in range(points)],
    )
    beginning = constant(x, baseline) if token is None else of_token(f, x, token)
    maps = each(torch.zeros_like, x)
    for player in range(max(players.counts)):
        without = x | {k: torch.where(v == player, beginning[k], x[k]) for k, v in players.labels.items()}
        for gradient in f.grads(straight(without, x, nodes)):
            add_to(maps, each(lambda g, a, b: g * (b - a), gradient, without, x), 1 / points)
    return maps
