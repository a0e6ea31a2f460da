r"""Feature permutation: give each sample another one's values of a feature, see how far its score falls.

$$A_i(x_b) = \mathbb{E}_\pi\bigl[f(x_b) - f(x_b\text{ with }x_{\pi(b)}\text{'s part }i)\bigr]$$

over random permutations $\pi$ of the batch.  A permutation hands every sample one donor, and all donors are equally
likely, the sample itself too; so shifting the batch, in a random order, by 1, 2, ... places never asks the same twice,
and all shifts together are the expectation itself.

Good for: tables: an absent value is replaced by values that occur, no baseline has to be chosen; the mean over the
          batch, in `facts`, is the permutation importance of the feature for the network as a whole.
Not for:  single samples, small batches that do not stand for the data, or features that go together: a shuffled one
          makes samples that could not be.
"""

from __future__ import annotations

from itertools import permutations as orders
from typing import Annotated, Any

import torch
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, batch_size
from pellucid.probes.coalitions import Parts, laid_back, scores
from pellucid.probes.segments import Cells, Mask, Segments, segments
from pellucid.probes.variations import Variations


@method(
    title="Feature permutation",
    family="coalition",
    paper="Breiman 2001, Machine Learning 45; Fisher, Rudin, Dominici 2019, arXiv:1801.01489",
    promises=Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT | Promise.SYMMETRIC | Promise.SCALE_INVARIANT,
    cost="`shuffles` forward passes a player, at most one less than the samples",
    together=True,
)
def feature_permutation(
    f: Score,
    x: Tensors,
    *,
    shuffles: Annotated[int, Range(2, 4096), "permutations of the batch; as many as samples less one are all"] = 16,
    whole: Annotated[bool, "shuffle each input as a whole, instead of its columns, tokens or blocks"] = False,
    cells: Cells = None,
    mask: Mask = None,
) -> Finding:
    """How much the score falls on average when a part is another sample's, `[batch, 1, ...]`, in the score's unit.

    Samples are compared with each other: a map depends on its neighbors in the batch.  `facts` hold each player's value
    with its standard error (0 when every sample has met all others) and, as `importance`, the mean over the batch.  A
    stopped run averages the permutations it finished, from two on.  Raises `BadInput` for a single sample, `BadOption`
    for a mask that differs from sample to sample.

    >>> import torch, pellucid as pl
    >>> net, x = torch.nn.Linear(3, 1), torch.randn(5, 3)
    >>> found = pl.methods.feature_permutation(net, x, 0)
    >>> torch.allclose(found.values, net.weight * (x - x.mean(0)), atol=1e-5)
    True
    """
    players = _players(f, x, whole, cells, mask)
    samples, n = batch_size(x), players.counts[0]
    donors = _donors(samples, min(shuffles, samples - 1))
    swaps = Variations(len(donors) * n, lambda i: _swapped(x, players, donors[i // n], i % n))
    base, worth = f(x).double().cpu(), scores(f, swaps)
    finished = worth.shape[1] // n
    if finished < min(2, len(donors)):
        raise Stopped(f"Stopped after {worth.shape[1]} passes; two permutations take {2 * n}.")
    falls = base[:, None, None] - worth[:, : finished * n].view(samples, finished, n)
    others = (samples - 1) / samples  # once in so many times a sample is its own donor, and nothing falls
    values = others * falls.mean(1)
    left = 1 - finished / (samples - 1)
    errors = others * (left / finished) ** 0.5 * falls.std(1) if left else torch.zeros_like(values)
    facts: dict[str, Any] = {"importance": values.mean(0).tolist(), "permutations": finished}
    return laid_back(Parts(x, players, {}), list(values), errors=list(errors), **facts)


def _players(f: Score, x: Tensors, whole: bool, cells: int | None, mask: Tensor | None) -> Segments:
    players = segments(f, x, cells=cells, mask=mask)
    if any(bool((v != v[:1]).any()) for v in players.labels.values()):
        raise BadOption("The mask differs from sample to sample.", "Give one mask: parts are swapped between samples.")
    if not whole:
        return players
    labels = {k: torch.full_like(v, number) for number, (k, v) in enumerate(players.labels.items())}
    return Segments(labels, (len(labels),) * batch_size(x))


def _donors(samples: int, shuffles: int) -> list[Tensor]:
    """Permutations of the batch without fixed points, in which no sample meets another twice."""
    generator = current().generator("feature_permutation", samples)
    order = torch.randperm(samples, generator=generator)
    shifts = 1 + torch.randperm(samples - 1, generator=generator)[:shuffles]
    return [torch.empty_like(order).index_put_((order,), order.roll(int(shift))) for shift in shifts]


def _swapped(x: Tensors, players: Segments, donors: Tensor, player: int) -> Tensors:
    """Every sample with its donor's part of one player."""
    return x | {
        k: torch.where(labels == player, x[k][donors.to(x[k].device)], x[k]) for k, labels in players.labels.items()
    }


def reference(f: Score, x: Tensors, *, whole: bool = False, cells: int | None = None, mask: Mask = None) -> Tensors:
    """The definition: the mean over all permutations of the batch, one part and one permutation after another."""
    players = _players(f, x, whole, cells, mask)
    samples, base = batch_size(x), f(x)
    values = torch.zeros(samples, players.counts[0], dtype=base.dtype)
    all_orders = list(orders(range(samples)))
    for order in all_orders:
        for player in range(players.counts[0]):
            values[:, player] += (base - f(_swapped(x, players, torch.tensor(order), player))) / len(all_orders)
    return players.laid(values)
