"""Maps that know nothing of the network and yet look like a given one: the same values, the same smoothness."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from pellucid.trials.layout import Layout

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


def _turned(places: Tensor) -> list[Tensor]:
    """All flips, and for squares the quarter turns too: 8 of a square, 4 of a rectangle, 2 of a line."""
    axes = range(places.ndim)
    flips = [places.flip(list(chosen)) for n in range(places.ndim + 1) for chosen in itertools.combinations(axes, n)]
    square = places.ndim == 2 and places.shape[0] == places.shape[1]
    return flips + [v.T for v in flips] if square else flips
