r"""Feature ablation: remove a part, see how far the score falls.

$$A_i = f(x) - f(x_{\setminus i})$$

where $x_{\setminus i}$ is the input with player $i$ (a block, a superpixel, a word, a column) replaced by the fill.

Good for: parts that mean something, in any model, also one without gradients; the answer is an experiment that anybody
          can repeat.
Not for:  evidence that is in several parts at once: removing one of two equal cues changes nothing.  The Shapley values
          ask in every company.
"""

from __future__ import annotations

import torch

from pellucid.core.incremental.edits import under_edits
from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors
from pellucid.probes.coalitions import Absent, Baseline, laid_back, parts, without_each
from pellucid.probes.fills import Fill
from pellucid.probes.segments import By, Cells, Mask


@method(
    title="Feature ablation",
    family="coalition",
    paper="Covert, Lundberg, Lee 2021, arXiv:2011.14878",
    promises=Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT | Promise.SYMMETRIC | Promise.SCALE_INVARIANT,
    cost="1 forward pass a player",
)
def feature_ablation(
    f: Score,
    x: Tensors,
    *,
    by: By = "grid",
    cells: Cells = None,
    mask: Mask = None,
    fill: Absent = None,
    baseline: Baseline = None,
) -> Finding:
    """How much the score falls when each part alone is removed, `[batch, 1, ...]`; each place shows its part's fall.

    The unit is the score's.  On convolutional networks only what a part can change is computed, where that is exact and
    cheaper: `facts["computed"]` says how.  A stopped run shows 0 for parts that it did not come to.  Raises `BadOption`
    when the mask does not fit, `Missing` when superpixels are wanted without scikit-image.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(3, 1)
    >>> torch.allclose(pl.methods.feature_ablation(net, torch.ones(1, 3), 0).values, net.weight)
    True
    """
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline)
    base = f(x)
    edited = under_edits(f, x, without_each(game), base)
    falls = torch.zeros(len(game.counts), max(game.counts), dtype=torch.double)
    for player, score in edited.scores:
        falls[:, player] = (base.double() - score.double()).cpu()
    return laid_back(game, [v[:n] for v, n in zip(falls, game.counts, strict=True)], **edited.facts)


def reference(
    f: Score,
    x: Tensors,
    *,
    by: str = "grid",
    cells: int | None = None,
    mask: Mask = None,
    fill: Fill | None = None,
    baseline: float | None = None,
) -> Tensors:
    """The definition: one player of one sample after another."""
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline)
    base = f(x)
    maps = {k: torch.zeros_like(v, dtype=base.dtype) for k, v in game.players.labels.items()}
    for player in range(max(game.counts)):
        there = {k: v == player for k, v in game.players.labels.items()}
        others = torch.arange(max(game.counts)).expand(len(base), -1) != player
        fall = base - f(game.only(others))
        maps = {k: m + there[k] * fall.view(-1, *[1] * (m.ndim - 1)) for k, m in maps.items()}
    return maps
