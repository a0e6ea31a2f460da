r"""LIME: near the input, an additive function of which parts are there, fitted to the score.

$$\min_{\beta}\sum_{S}\exp\Bigl(-\frac{d(S)^2}{2\,\text{width}^2}\Bigr)\Bigl(f(x_S)-\beta_0-\sum_{i\in S}\beta_i\Bigr)^2
+ \text{ridge}\sum_i\beta_i^2,\qquad d(S) = 1-\sqrt{|S|/n}$$

In each coalition $S$ a player is there with probability one half; $d$ is the cosine distance to all of them.  The fit's
R2 says how much of the score's variation the additive function explains: when it is low, the coefficients mean little.

Coalitions come in blocks of an orthogonal array (Sylvester's Hadamard matrix, its columns chosen and turned around by
chance: Owen 1992) and each with its complement (the fold-over of Box and Wilson 1951).  Each coalition alone is as
probable as by coins, so the fit tends to the same; but within a block every three players are seen in all their eight
combinations equally often, so that players are not mistaken for one another, nor interactions of two for a player.

Good for: a local surrogate whose quality is itself a number.
Not for:  values that add up (the Shapley methods), or telling apart more parts than the samples can.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors
from pellucid.probes.coalitions import Absent, Baseline, batched, everything, laid_back, parts, scores
from pellucid.probes.fills import Fill
from pellucid.probes.segments import By, Cells, Mask
from pellucid.probes.surrogate import Fit, fitted

_LEAST = 4  # coalitions a player: two pairs, so that the standard errors have something to go by
_COUNTING = 2  # as many must be near enough to have a say


@method(
    title="LIME",
    family="coalition",
    paper="Ribeiro, Singh, Guestrin 2016, arXiv:1602.04938",
    promises=Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT,
    cost="`samples` forward passes",
)
def lime(
    f: Score,
    x: Tensors,
    *,
    samples: Annotated[
        int | None, Range(4, 2**20), "coalitions, in pairs of complements; none: 10 for each player, at least 512"
    ] = None,
    width: Annotated[
        float, Range(1e-3, 1e3), "width of the kernel: how near counts as near, in cosine distance"
    ] = 0.25,
    ridge: Annotated[float, Range(0, 1e6), "penalty on the squares of the coefficients"] = 0.0,
    by: By = "grid",
    cells: Cells = None,
    mask: Mask = None,
    fill: Absent = None,
    baseline: Baseline = None,
) -> Finding:
    """What each part's presence adds to the score in a linear surrogate around the input, `[batch, 1, ...]`.

    Each place shows its player's coefficient; the unit is the score's.  `facts` hold the coefficients with the standard
    error of each, and the fit's `R2`.  A stopped run fits what it has, once that is enough for every player.  Raises
    `BadOption` for fewer samples than four times the players, `Missing` when superpixels are wanted without
    scikit-image.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(20, 1)
    >>> found = pl.methods.lime(net, torch.ones(1, 20), 0)
    >>> torch.allclose(found.values, net.weight, atol=1e-5), round(found.facts["R2"][0], 4)
    (True, 1.0)
    """
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline)
    wanted = [max(512, 10 * n) if samples is None else samples for n in game.counts]
    short = next((n for n, m in zip(game.counts, wanted, strict=True) if m < _LEAST * n), None)
    if short is not None:
        least = _LEAST * short
        raise BadOption(f"samples={samples} for {short} players: expected at least {least}.", "Or make fewer players.")
    drawn = [_drawn(n, key, m) for n, key, m in zip(game.counts, everything(x), wanted, strict=True)]
    worth = scores(f, game.coalitions(batched(drawn)))
    known, most = worth.shape[1], max(game.counts)
    if known < _LEAST * most:
        raise Stopped(f"Stopped after {known} coalitions; {most} players need more.")
    fits = [_fit(d[:known], w[: len(d)], width, ridge) for d, w in zip(drawn, worth, strict=True)]
    facts: dict[str, Any] = {
        "R2": [fit.r2 for fit in fits],
        "intercept": [float(fit.coefficients[0]) for fit in fits],
        "coalitions": [min(known, m) for m in wanted],
    }
    values, errors = [fit.coefficients[1:] for fit in fits], [fit.errors[1:] for fit in fits]
    found = laid_back(game, values, errors=errors, **facts)
    counting = [float(w.sum() ** 2 / w.square().sum()) for w in (_near(d[:known], width) for d in drawn)]
    narrow = sum(c < _COUNTING * n for c, n in zip(counting, game.counts, strict=True))
    why = f"The kernel is narrow: no more than {min(counting):.0f} coalitions count, too few for the players."
    return replace(found, notes=(*found.notes, why)) if narrow else found


def _drawn(n: int, key: str, samples: int) -> Bool[Tensor, "coalitions players"]:
    """Blocks of an orthogonal array, each row followed by its complement."""
    generator = current().generator("lime", key)
    pairs, blocks = (samples + 1) // 2, list[Tensor]()
    while (missing := pairs - sum(len(block) for block in blocks)) > 0:
        blocks.append(_block(n, missing, generator))
    there = torch.cat(blocks)
    return torch.stack([there, ~there], 1).flatten(0, 1)[:samples]


def _block(n: int, most: int, generator: torch.Generator) -> Bool[Tensor, "rows players"]:
    """Rows of a Hadamard matrix in random order: columns that are orthogonal, each turned around by a coin.

    Whether i and j share an odd number of bits is the matrix's entry at row i and column j; column 0 is the constant.
    """
    bits = n.bit_length()
    rows = torch.randperm(2**bits, generator=generator)[:most]
    columns = torch.randperm(2**bits - 1, generator=generator)[:n] + 1
    of_rows, of_columns = (v[:, None] >> torch.arange(bits) & 1 for v in (rows, columns))
    odd = (of_rows.float() @ of_columns.float().T) % 2 == 1
    return odd ^ (torch.rand(n, generator=generator) < 0.5)


def _near(there: Tensor, width: float) -> Float[Tensor, " coalitions"]:
    return torch.exp(-((1 - there.double().mean(1).sqrt()) ** 2) / (2 * width**2))


def _fit(
    there: Bool[Tensor, "coalitions players"], worth: Float[Tensor, " coalitions"], width: float, ridge: float
) -> Fit:
    z = there.double()
    near = _near(there, width)
    rows = torch.cat([torch.ones(len(z), 1, dtype=torch.double), z], 1)
    penalty = ridge**0.5 * torch.eye(z.shape[1] + 1, dtype=torch.double)[1:]
    # measured from one coalition's score: where nothing changes, the coefficients are 0 exactly
    found = fitted(rows, worth - worth[0], near, toward_zero=penalty if ridge else None, together=2)
    return replace(found, coefficients=found.coefficients + torch.eye(len(rows[0]), dtype=torch.double)[0] * worth[0])


def reference(
    f: Score,
    x: Tensors,
    *,
    samples: int = 512,
    width: float = 0.25,
    ridge: float = 0.0,
    by: str = "grid",
    cells: int | None = None,
    mask: Mask = None,
    fill: Fill | None = None,
    baseline: float | None = None,
) -> Tensors:
    """The definition on the same coalitions, for samples with equally many players: the normal equations, term by term.

    One coalition and one sample after another.
    """
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline)
    n, values = game.counts[0], []
    for sample, key in enumerate(everything(x)):
        system = torch.zeros(n + 1, n + 1, dtype=torch.double)
        right = torch.zeros(n + 1, dtype=torch.double)
        for row in _drawn(n, key, samples):
            alone = game.coalitions(row.expand(len(game.counts), 1, n)).at(0)
            distance = 1 - (float(row.sum()) / n) ** 0.5
            weight = torch.exp(torch.tensor(-(distance**2) / (2 * width**2), dtype=torch.double))
            terms = torch.cat([torch.ones(1), row]).double()
            system += weight * terms[:, None] * terms
            right += weight * terms * f(alone)[sample]
        system[1:, 1:] += ridge * torch.eye(n, dtype=torch.double)
        values.append(torch.linalg.solve(system, right)[1:])
    return game.players.laid(torch.stack(values))
