"""Nearest neighbors, exactly: every distance is computed, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import BadInput

Metric: TypeAlias = Annotated[
    Literal["cosine", "euclidean"],
    "how far apart two vectors are: one minus the cosine of their angle (length is ignored), or the straight distance",
]
_BLOCK = 2**23  # distances that are held at once: 64 MiB in double precision


def nearest(
    points: Float[Tensor, "n width"],
    count: int,
    metric: str = "cosine",
    queries: Float[Tensor, "rows width"] | None = None,
) -> tuple[Float[Tensor, "rows count"], Int[Tensor, "rows count"]]:
    """The distances and numbers of the `count` points nearest to each query, the nearest first.

    Without `queries` these are the points themselves, and none is its own neighbor.  Worked out in double precision, a
    block of rows at a time, so that memory does not grow with the square of the number.  Raises `BadInput` when there
    are fewer points than that.

    >>> distances, numbers = nearest(torch.tensor([[0.0], [1.0], [3.0]]), 1, "euclidean")
    >>> numbers[:, 0].tolist(), distances[:, 0].tolist()
    ([1, 0, 1], [1.0, 1.0, 2.0])
    """
    most = len(points) - (queries is None)
    if not 1 <= count <= most:
        raise BadInput(f"{count} neighbors were asked for among {most} points.", "Ask for fewer, or give more samples.")
    found = [torch.topk(d, count, largest=False) for _, d in distances(points, metric, queries)]
    return torch.cat([v for v, _ in found]), torch.cat([i for _, i in found])


def distances(
    points: Float[Tensor, "n width"], metric: str, queries: Float[Tensor, "rows width"] | None = None
) -> Iterator[tuple[int, Float[Tensor, "block n"]]]:
    """Blocks of the table of distances, each with the number of its first row; infinite from a point to itself."""
    there = scaled(points.double(), metric)
    middle = there.mean(0) if metric == "euclidean" else torch.zeros_like(there[0])
    there = there - middle  # near the origin, less is lost when squares are subtracted
    here = there if queries is None else scaled(queries.double(), metric) - middle
    size = max(1, _BLOCK // len(there))
    lengths = there.square().sum(1)
    for start in range(0, len(here), size):
        block = here[start : start + size]
        d = (block.square().sum(1)[:, None] + lengths - 2 * block @ there.T).clamp(min=0)
        d = d / 2 if metric == "cosine" else d.sqrt()
        if queries is None:
            rows = torch.arange(len(block))
            d[rows, rows + start] = torch.inf
        yield start, d


def scaled(points: Float[Tensor, "n width"], metric: str) -> Float[Tensor, "n width"]:
    """What straight distances are taken of: for the cosine, vectors of length one (a vector of zeros stays)."""
    return torch.nn.functional.normalize(points, dim=1) if metric == "cosine" else points
