"""How far a map in two dimensions can be trusted: what of the neighborhoods in the full space is left on it.

Two dimensions cannot keep what hundreds hold, so every such map invents neighbors and tears others apart.
Trustworthiness and continuity after Venna and Kaski (2001), the share of nearest neighbors that are kept (the
"co-ranking" overlap, Lee and Verleysen 2009), and how far a second map from another start agrees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.run import current
from pellucid.dream.maps.neighbors import distances, nearest

_ROWS = 2000  # points whose neighborhoods are looked at; more would change the numbers by less than a percent


@dataclass(frozen=True, slots=True)
class MapTrust:
    """What of the neighborhoods is left on a map; every share is in 0..1, and NaN where it does not exist.

    `kept`: of each point's `neighbors` nearest, the share that are among its nearest on the map; `chance`: what a map
    that knows nothing would keep.  `trustworthiness` falls where points are neighbors on the map only, `continuity`
    where neighbors were torn apart; both weigh by how far.  `explained`: the share of the variance that both axes
    show (PCA only).  `agreement`: the share of neighbors that a second map from another random start has too.
    """

    points: int
    neighbors: int
    kept: float
    chance: float
    trustworthiness: float
    continuity: float
    explained: float = float("nan")
    agreement: float = float("nan")

    @property
    def word(self) -> str:
        """How far to believe what lies near what: "mostly", "partly" or "hardly"."""
        return "mostly" if self.kept >= 0.5 else "partly" if self.kept >= 0.2 else "hardly"


def map_trust(
    features: Float[Tensor, "n width"],
    places: Float[Tensor, "n 2"],
    neighbors: int = 10,
    metric: str = "cosine",
    again: Float[Tensor, "n 2"] | None = None,
) -> MapTrust:
    """How far a map can be trusted: `places` of points whose full coordinates are `features`; `again`: a second map.

    Of more than 2000 points, 2000 drawn at random are looked at, each against all.  Raises `BadInput` unless there are
    more than twice as many points as neighbors (the measures have no scale otherwise).  Venna and Kaski (2001).

    >>> x = torch.tensor([[0.0, 0], [1, 0], [3, 0], [6, 0], [10, 0]])
    >>> found = map_trust(x, x, 2, "euclidean")
    >>> found.kept, found.trustworthiness, found.continuity, found.word
    (1.0, 1.0, 1.0, 'mostly')
    """
    n, k = len(features), neighbors
    if len(places) != n or not 1 <= k < n / 2:
        raise BadInput(f"{len(places)} places of {n} points cannot be judged by {k} neighbors.", "Take fewer of them.")
    rows = torch.arange(n)
    if n > _ROWS:
        rows = torch.randperm(n, generator=current().generator("map trust", n))[:_ROWS].sort().values
    kept = invented = torn = 0.0
    for true, flat in zip(_ranks(features, metric, rows), _ranks(places, "euclidean", rows), strict=True):
        here, there = flat <= k, true <= k
        kept += float((here & there).sum())
        invented += float((true - k)[here & ~there].sum())
        torn += float((flat - k)[there & ~here].sum())
    scale = 2 / (len(rows) * k * (2 * n - 3 * k - 1))
    trust = MapTrust(n, k, kept / (len(rows) * k), k / (n - 1), 1 - scale * invented, 1 - scale * torn)
    return trust if again is None else replace(trust, agreement=agreement(places, again, k))


def agreement(first: Float[Tensor, "n 2"], second: Float[Tensor, "n 2"], neighbors: int) -> float:
    """The share of each point's nearest neighbors on one map that are its nearest on the other too, in 0..1."""
    (_, a), (_, b) = nearest(first, neighbors, "euclidean"), nearest(second, neighbors, "euclidean")
    return float((a[:, :, None] == b[:, None, :]).any(2).double().mean())


def _ranks(points: Tensor, metric: str, rows: Tensor) -> Iterator[Tensor]:
    """How manieth neighbor every point is of each of the rows, by blocks: 1 is the nearest, a point itself the last."""
    for start, d in distances(points, metric, points[rows]):
        d[torch.arange(len(d)), rows[start : start + len(d)]] = torch.inf
        order = d.argsort(dim=1, stable=True)
        yield torch.empty_like(order).scatter_(1, order, torch.arange(1, d.shape[1] + 1).expand_as(order))
