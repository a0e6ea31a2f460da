"""Do the places that the map calls nothing do nothing, and do those that it counts do something?

Nguyen and Martinez 2020: the places whose value is zero, against those whose replacement by random values changes
nothing.  Here both are told in one number and apart, over cells, and a negative value counts as a value.
"""

from __future__ import annotations

from typing import Annotated

import torch

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.trials.sample import LOG_ODDS, Scale, mean_of, samples, summary
from pellucid.trials.touched import Draws, Side, cells_of, over_cells, read


@measure(
    title="Non-sensitivity",
    family="axiom",
    paper="Nguyen, Martinez 2020, arXiv:2007.07584",
    better="lower",
    cost="`draws` x cells + 1 forward passes a sample",
)
def non_sensitivity(
    explanation: Explanation,
    *,
    side: Side = 14,
    draws: Draws = 3,
    zero: Annotated[float, Range(0.0, 1.0), "up to this share of the strongest value, a value is zero"] = 1e-6,
    scale: Scale = LOG_ODDS,
) -> Check:
    """The share of cells, 0..1, where map and network disagree on whether the cell matters at all.

    A cell matters when replacing all of it by random values changes the score in one of `draws` tries.  References:
    "zero, yet it matters" and "a value, yet nothing" as shares of all cells.  A gradient is rightly zero where the
    network is flat and would wake up far away: this compares, and does not judge.  Raises `BadInput` when the input
    has no places, `Missing` when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(4, 1)
    >>> net.weight.data[0, 2] = 0.0
    >>> non_sensitivity(pl.methods.input_x_gradient(net, torch.rand(1, 4), 0)).value
    0.0
    """
    each, silent, idle = [], [], []
    with samples(explanation, scale) as found:
        for sample in found:
            cells = cells_of(sample.layout, side)
            values = over_cells(sample.places.abs(), cells)
            counts, matters = values > zero * values.max(), read(sample, cells, draws)
            silent.append(float((matters & ~counts).double().mean()))
            idle.append(float((counts & ~matters).double().mean()))
            each.append(silent[-1] + idle[-1] if bool(matters.any() | counts.any()) else torch.nan)

    def say(v: float) -> str:
        return (
            f"In {v:.1%} of the cells map and network disagree: {mean_of(silent):.1%} have no value in the map though "
            f"replacing them changes the answer, {mean_of(idle):.1%} have one though it changes nothing."
        )

    references = (("zero, yet it matters", mean_of(silent)), ("a value, yet nothing", mean_of(idle)))
    nothing = "The map is zero everywhere and no cell changed the answer: there is nothing to disagree about."
    return summary("non_sensitivity", each, say, nothing, references=references)
