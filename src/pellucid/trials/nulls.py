"""Maps that know nothing of the network and yet look like a given one: the same values, the same smoothness."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.run import current
from pellucid.trials.agreement import pearson
from pellucid.trials.layout import Layout
from pellucid.trials.probed import ProbeSet

FEW = 50  # With fewer ways to roll and turn a map than this, no p value of .02 can be reached.


def moved(places: Tensor, layout: Layout, generator: torch.Generator) -> Iterator[Tensor]:
    """Random maps without end: this one, flipped or turned at random, then rolled over the border at random.

    Shuffling the places keeps the values only, and then any smooth map looks significant.  Tables, and sequences too
    short for 50 rolls, have their places shuffled instead.

    >>> maps = moved(torch.arange(4.0), Layout("table", "x", (1,), (4,)), torch.Generator().manual_seed(0))
    >>> sorted(next(maps).tolist())
    [0.0, 1.0, 2.0, 3.0]
    """
    turned = _turned(places)
    shuffle = layout.kind == "table" or len(turned) * layout.size < FEW
    while True:
        if shuffle:
            order = torch.randperm(layout.size, generator=generator)
            yield places.flatten()[order].view(places.shape)
            continue
        which = int(torch.randint(len(turned), (), generator=generator))
        shifts = [int(torch.randint(n, (), generator=generator)) for n in layout.shape]
        yield turned[which].roll(shifts, tuple(range(len(shifts))))


def null_scores(places: Float[Tensor, "*shape"], probes: ProbeSet, count: int) -> Float[Tensor, " count"]:
    """The r of `count` random maps: this map, flipped or turned at random, then rolled over the border at random.

    They have its values and its smoothness (`moved`).
    """
    generator = current().generator("faithfulness", probes.key, "null")
    masks = probes.masks.flatten(1).float().T
    away = (places - places.mean()).cpu().float()
    away = away / away.norm()
    maps = itertools.islice(moved(away, probes.layout, generator), count)
    found = []
    while some := list(itertools.islice(maps, 64)):
        found.append(pearson((torch.stack(some).flatten(1) @ masks).double(), probes.drops))
    return torch.cat(found)


def _turned(places: Tensor) -> list[Tensor]:
    """All flips, and for squares the quarter turns too: 8 of a square, 4 of a rectangle, 2 of a line."""
    axes = range(places.ndim)
    flips = [places.flip(list(chosen)) for n in range(places.ndim + 1) for chosen in itertools.combinations(axes, n)]
    square = places.ndim == 2 and places.shape[0] == places.shape[1]
    return flips + [v.T for v in flips] if square else flips
