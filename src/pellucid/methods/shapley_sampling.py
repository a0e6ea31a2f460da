r"""Shapley sampling: parts come in one after another in random orders; each is paid what it adds on its arrival.

$$\phi_i = \mathbb{E}_{\pi}\,\bigl(v(S_i^{\pi}\cup i) - v(S_i^{\pi})\bigr)$$

where $S_i^{\pi}$ are those before $i$ in the order $\pi$.  Each order comes with its reverse (antithetic pairs,
Mitchell et al. 2022): who came first then comes last, which cancels interactions of two players.

Good for: values with plain standard errors: independent averages, no fit; any model, also one without gradients.
Not for:  the smallest error at a given price, which `kernel_shap` has.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors
from pellucid.probes.coalitions import Absent, Baseline, batched, everything, laid_back, parts, scores
from pellucid.probes.fills import Fill
from pellucid.probes.segments import By, Cells, Mask


@method(
    title="Shapley sampling",
    family="coalition",
    paper="Castro, Gomez, Tejada 2009, Computers & Oper. Res. 36; pairs: Mitchell et al. 2022, arXiv:2104.12199",
    promises=Promise.COMPLETE | Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT,
    cost="2 `pairs` (n - 1) forward passes for n players",
)
def shapley_sampling(
    f: Score,
    x: Tensors,
    *,
    pairs: Annotated[int, Range(2, 2**16), "orders, each with its reverse"] = 8,
    by: By = "grid",
    cells: Cells = None,
    mask: Mask = None,
    fill: Absent = None,
    baseline: Baseline = None,
) -> Finding:
    """Each part's fair share of the change of the score from nothing but fill to the input, `[batch, 1, ...]`, sampled.

    Each place shows its player's value; the players' values, each counted once, add up to the change.  `facts` hold
    them with the standard error of each.  A stopped run averages the pairs that it finished, from two on.  Raises
    `BadOption` when the mask does not fit, `Missing` when superpixels are wanted without scikit-image.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(20, 1)
    >>> torch.allclose(pl.methods.shapley_sampling(net, torch.ones(1, 20), 0).values, net.weight, atol=1e-5)
    True
    """
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline)
    orders = [_orders(n, key, pairs) for n, key in zip(game.counts, everything(x), strict=True)]
    most = max(game.counts)
    start = f(game.nobody()).double().cpu()
    change = f(x).double().cpu() - start
    if most == 1:
        alone = list(change[:, None])
        return laid_back(game, alone, change, [torch.zeros_like(v) for v in alone])
    # a coalition of each size between none and all, on the way through each order
    present = batched([_arrived(o)[:, :-1].flatten(0, 1) if o.shape[1] > 1 else _arrived(o)[0] for o in orders])
    worth = scores(f, game.coalitions(present))
    values, errors, done = [], [], []
    for n, order, w, a, d in zip(game.counts, orders, worth, start, change, strict=True):
        finished = len(w) // (2 * (n - 1)) if n > 1 else pairs
        if min(finished, pairs) < 2:
            raise Stopped(f"Stopped after {len(w)} coalitions; two pairs of orders take {4 * (n - 1)}.")
        gains = _gains(order[: 2 * finished], w, a, a + d)
        paired = (gains[::2] + gains[1::2]) / 2
        values.append(paired.mean(0))
        errors.append(paired.std(0) / len(paired) ** 0.5)
        done.append(len(paired))
    return laid_back(game, values, change, errors, **{"pairs of orders": done})


def _orders(n: int, key: str, pairs: int) -> Int[Tensor, "orders players"]:
    """Random orders, each followed by its reverse."""
    generator = current().generator("shapley_sampling", key)
    drawn = torch.stack([torch.randperm(n, generator=generator) for _ in range(pairs)])
    return torch.stack([drawn, drawn.flip(1)], 1).flatten(0, 1)


def _arrived(orders: Int[Tensor, "orders players"]) -> Tensor:
    """`[orders, players, players]`, bool: who is there after each arrival."""
    n = orders.shape[1]
    return (orders.argsort(1)[:, None, :] <= torch.arange(n)[None, :, None]).bool()


def _gains(
    orders: Int[Tensor, "orders players"], worth: Float[Tensor, " coalitions"], start: Tensor, end: Tensor
) -> Float[Tensor, "orders players"]:
    """What each player added in each order."""
    count, n = orders.shape
    ends = [v.reshape(1, 1).expand(count, 1) for v in (start, end)]
    steps = torch.cat([ends[0], worth[: count * (n - 1)].view(count, n - 1), ends[1]], 1).diff(dim=1)
    return torch.zeros(count, n, dtype=worth.dtype).scatter_(1, orders, steps)


def reference(
    f: Score,
    x: Tensors,
    *,
    pairs: int = 8,
    by: str = "grid",
    cells: int | None = None,
    mask: Mask = None,
    fill: Fill | None = None,
    baseline: float | None = None,
) -> Tensors:
    """The definition on the same orders, for samples with equally many players: one arrival after another."""
    game = parts(f, x, by=by, cells=cells, mask=mask, fill=fill, baseline=baseline)
    n, samples = game.counts[0], len(game.counts)
    values = torch.zeros(samples, n, dtype=torch.double)
    for sample, key in enumerate(everything(x)):
        for order in _orders(n, key, pairs).tolist():
            there = torch.zeros(samples, n, dtype=torch.bool)
            before = f(game.only(there))[sample]
            for player in order:
                there[sample, player] = True
                after = f(game.only(there))[sample]
                values[sample, player] += (after - before) / (2 * pairs)
                before = after
    return game.players.laid(values)
