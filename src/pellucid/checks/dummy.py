"""Does what the network does not read get nothing?  An axiom: a part that never changes the answer has no share in it.

Cells of the input are replaced by random values, several times.  Those that never changed the answer are what the test
is about; where the network reads everything there is nothing to test.  (Sundararajan and Najmi 2020 call it dummy;
Sundararajan et al. 2017, sensitivity (b).)
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from pellucid.core.check import Check, Verdict
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.sample import LOG_ODDS, Scale, mean_of, samples, summary
from pellucid.trials.touched import Draws, Side, cells_of, read

ALLOWED = 1e-4  # of the map's absolute values: rounding


@measure(
    title="Dummy",
    family="axiom",
    paper="Sundararajan, Taly, Yan 2017, arXiv:1703.01365",
    better="lower",
    cost="`draws` x cells + 1 forward passes a sample",
)
def dummy(explanation: Explanation, *, side: Side = 14, draws: Draws = 5, scale: Scale = LOG_ODDS) -> Check:
    """The share, 0..1, of the map's absolute values that lies on cells which the network does not read.

    HOLDS up to 0.01 % in every sample, FAILS above; UNKNOWN where the network reads every cell.  Reference "unread":
    the share of the places that lie in such cells, which is what a map of noise would have.  Unread places inside of
    cells that are read in part are not found: more cells find more.  Raises `BadInput` when the input has no places,
    `Missing` when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(4, 1)
    >>> net.weight.data[0, 2] = 0.0
    >>> found = dummy(pl.methods.input_x_gradient(net, torch.rand(1, 4), 0))
    >>> found.value, found.verdict.name
    (0.0, 'HOLDS')
    """
    each, areas = [], []
    with samples(explanation, scale) as found:
        for sample in found:
            cells = cells_of(sample.layout, side)
            unread = ~read(sample, cells, draws)[cells]
            sizes = sample.places.abs()
            total, any_unread = float(sizes.sum()), bool(unread.any()) and not bool(unread.all())
            areas.append(float(unread.double().mean()))
            each.append(float(sizes[unread].sum()) / total if any_unread and total > 0 else math.nan)
    area, worst = mean_of(areas), torch.tensor(each).nan_to_num(-1.0).max()

    def say(v: float) -> str:
        begin = f"{area:.0%} of the places were replaced by {draws} random values each without changing the answer: "
        end = "the map gives them nothing, as it should." if worst <= ALLOWED else f"the map gives them {v:.1%} of it."
        return begin + end

    nothing = "The network reads every cell, or none, or the map is zero everywhere: there is nothing to test."
    told = summary("dummy", each, say, nothing, references=(("unread", area),))
    if told.verdict is Verdict.UNKNOWN:
        return told
    return replace(told, verdict=Verdict.HOLDS if worst <= ALLOWED else Verdict.FAILS)
