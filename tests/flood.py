"""Connected parts found one place after the other, as an oracle for finding them all at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor


def neighbors(at: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The places that touch one, along edges and corners, and itself."""
    for step in itertools.product((-1, 0, 1), repeat=len(at)):
        yield tuple(a + s for a, s in zip(at, step, strict=True))


def flooded(mask: Tensor) -> Tensor:
    """The number of the connected part that each place belongs to, from 1 in order; 0 outside."""
    out, number = torch.zeros(mask.shape, dtype=torch.long), 0
    inside = {tuple(at) for at in mask.nonzero().tolist()}
    for start in sorted(inside):
        if out[start]:
            continue
        number += 1
        waiting = [start]
        while waiting:
            at = waiting.pop()
            if at in inside and not out[at]:
                out[at] = number
                waiting.extend(neighbors(at))
    return out
