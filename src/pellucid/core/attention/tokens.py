"""Which tokens stand for which part of which input: pictures cut into patches, words, steps, columns."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pellucid.core.attention.passes import Attends
from pellucid.core.errors import BadModel
from pellucid.core.last_map import Grid, places
from pellucid.core.replaced import IDS
from pellucid.core.score import Score
from pellucid.core.spatial import enlarged
from pellucid.core.tensors import Tensors

_PREFIX = 16  # tokens before the patches: classes, registers


@dataclass(frozen=True, slots=True)
class Stream:
    """Tokens that attention runs over, told apart from others by how many there are.

    `input` is the input that they stand for ('': none; learned queries, say), `prefix` how many come before those that
    stand for a part of it (classes, registers), and `grid` the patches of a picture.
    """

    tokens: int
    input: str = ""
    prefix: int = 0
    grid: Grid | None = None

    def laid_on(self, values: Float[Tensor, "batch tokens"], like: Tensor) -> Tensor:
        """One value a token as a map of the input; the prefix stands for no part of it."""
        own = values[:, self.prefix :].to(like.dtype)
        if self.grid is not None:
            return enlarged(own.reshape(len(own), 1, *self.grid), like)
        if like.ndim == 2:
            return own
        return own[:, :, None] if like.shape[1] == own.shape[1] else own[:, None, :]


def streams(f: Score, x: Tensors, attends: Sequence[Attends]) -> dict[int, Stream]:
    """The streams of tokens, by their number.

    Raises `BadModel` when two inputs have equally many, or when none can be laid onto an input.
    """
    counts = Counter(n for a in attends for n in (a.queries, a.keys))
    found: dict[int, Stream] = {}
    floating = {k: v for k, v in x.items() if v.is_floating_point()}
    for name, v in floating.items():
        if v.ndim == 3 or (v.ndim == 2 and len(floating) == 1):
            n = next((n for n in v.shape[1 : 2 if f"{name}{IDS}" in x else None] if n in counts), None)
            if n is not None:
                found[n] = _unlike(found, Stream(n, name))
    querying = {a.queries for a in attends}
    for name, v in floating.items():
        if v.ndim == 4:
            fitting = _patches(f, x, name, counts)
            for n in sorted(fitting):
                # of several that fit, the smallest; others may be it with a class token, which only it looks at
                if n == min(fitting) or n not in querying:
                    found[n] = _unlike(found, fitting[n])
    if not found:
        seen = ", ".join(map(str, sorted(counts)))
        shapes = ", ".join(f"{k} {tuple(v.shape[1:])}" for k, v in x.items())
        windows = max(a.windows for a in attends)
        within = f" (within {windows} windows)" if windows > 1 else ""
        raise BadModel(
            f"{f.net.name} attends over {seen} tokens{within}, which are not the parts of an input: {shapes}.",
            "Attention cannot be laid back onto it; use grad_cam, integrated_gradients or occlusion.",
        )
    return {n: found.get(n, Stream(n)) for n in counts}


def _unlike(found: dict[int, Stream], new: Stream) -> Stream:
    other = found.get(new.tokens)
    if other is not None and other.input != new.input:
        raise BadModel(
            f"Inputs {other.input!r} and {new.input!r} are both {new.tokens} tokens, so that it cannot be told which "
            "of them attention looks at.",
            "Make one of them longer or shorter, by padding say.",
        )
    return new


def _patches(f: Score, x: Tensors, name: str, counts: Counter[int]) -> dict[int, Stream]:
    """The streams that may be a picture's patches, behind a few other tokens."""
    try:
        grids = [places(f, x).grid]
    except BadModel:  # patches cut without a convolution
        grids = []
    found = _fitting(name, grids, counts)
    if found:
        return found
    height, width = x[name].shape[-2:]
    sides = [s for s in range(2, min(height, width) + 1) if height % s == 0 and width % s == 0]
    guesses = [(height // s, width // s) for s in sides if height * width // s**2 >= 4]
    best = sorted((min((n - math.prod(g) for n in counts if n >= math.prod(g)), default=99), g) for g in guesses)
    return _fitting(name, [g for _, g in best[:1]], counts)


def _fitting(name: str, grids: Sequence[Grid], counts: Counter[int]) -> dict[int, Stream]:
    return {n: Stream(n, name, n - math.prod(g), g) for g in grids for n in counts if 0 <= n - math.prod(g) <= _PREFIX}
