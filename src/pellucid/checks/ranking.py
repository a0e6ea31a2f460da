"""Which of several maps is the most faithful, and which of them cannot be told apart: ranks with intervals.

All maps are held against the same probes, so they are compared probe by probe: two maps whose figures go up and down
together are told apart by fewer probes than two that do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.checks.faithfulness import map_sums
from pellucid.core.run import current
from pellucid.trials.agreement import interval, pearson, resamples
from pellucid.trials.probed import ProbeSet

BOOTSTRAPS = 1000


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one map stands: its faithfulness `r` (mean over samples) with a 95 % interval, and its ranks.

    `first` is one more than the number of maps that are surely better, `last` is how many are not surely worse: a map
    that stands from 1 to 3 may be the best or the third.  "Surely" means that the 95 % interval of the difference,
    redrawn over the probes, leaves out zero.  NaN, and the last ranks, for a map that is the same everywhere.
    """

    r: float
    low: float
    high: float
    first: int
    last: int


def ranking(maps: Sequence[Sequence[Float[Tensor, "*shape"]]], probes: Sequence[ProbeSet]) -> tuple[Standing, ...]:
    """How several maps, each given sample by sample, stand on the probes of each sample, in the given order.

    >>> import torch, pellucid as pl
    >>> from pellucid.trials.probed import probe_set
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)
    >>> probes = probe_set(why.score, why.x)
    >>> [s.first for s in ranking([[why.values[0]], [-why.values[0]]], probes)]
    [1, 2]
    """
    pairs = (_on(sample, p) for sample, p in zip(zip(*maps, strict=True), probes, strict=True))
    found, redone = zip(*pairs, strict=True)
    r, draws = torch.stack(found).mean(0), torch.stack(redone).mean(0)
    return tuple(_standing(i, r, draws) for i in range(len(maps)))


def _on(maps: Sequence[Tensor], probes: ProbeSet) -> tuple[Tensor, Tensor]:
    """Each map's r on one sample's probes, `[maps]`, and on redrawn probes, `[maps, draws]`."""
    sums = map_sums(maps, probes)
    pick = resamples(BOOTSTRAPS, len(probes.drops), current().generator("ranking", probes.key))
    return pearson(sums, probes.drops), pearson(sums[:, pick], probes.drops[pick])


def _standing(i: int, r: Tensor, draws: Tensor) -> Standing:
    if not bool(r[i].isfinite()):
        return Standing(math.nan, math.nan, math.nan, int(r.isfinite().sum()) + 1, len(r))
    gaps = [interval(draws[i] - draws[j]) for j in range(len(r))]
    better = sum(high < 0 for _, high in gaps)
    worse = sum(low > 0 or not bool(r[j].isfinite()) for j, (low, _) in enumerate(gaps))
    return Standing(float(r[i]), *interval(draws[i]), better + 1, len(r) - worse)
