"""Does the map change when only the input's zero is moved?  The network is rewritten so that it computes the same.

Kindermans et al. 2017: a constant is added to the input and taken off again in the bias of the first layer.  Nothing
that the network does has changed, so a map of what it does should not either.  Maps that multiply by the input, or
that start from a baseline of zero, change: they speak of the distance from that zero, and move with it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.trials.again import distances, flat
from pellucid.trials.agreement import spearman
from pellucid.trials.layout import layout_of, score_of
from pellucid.trials.sample import mean_of, summary
from pellucid.trials.shifted import shifted

ALLOWED = 0.01  # of the map's length: rounding alone moves it by less


@measure(
    title="Input shift",
    family="sanity",
    paper="Kindermans et al. 2017, arXiv:1711.00867",
    better="lower",
    cost="two explanations and three passes",
)
def input_invariance(
    explanation: Explanation,
    *,
    shift: Annotated[float, Range(-1e6, 1e6), "what is added to every value of the input, in its units"] = 1.0,
) -> Check:
    """How far the map moves, as a share of its length, when the input is shifted and the network undoes the shift.

    HOLDS up to 1 %, FAILS above; UNKNOWN where another random seed moves the map half as far.  Where no first layer can
    undo the shift (the network pads or normalizes its input itself, or does not begin with a linear layer or a
    convolution), the shift is taken off in front of the network, and the sentence says so.  Reference "another seed".
    Raises `BadInput` for words, `Missing` without the network.

    >>> import torch, pellucid as pl
    >>> net, x = torch.nn.Linear(4, 1), torch.ones(1, 4)
    >>> input_invariance(pl.methods.saliency(net, x, 0)).verdict.name
    'HOLDS'
    >>> input_invariance(pl.methods.input_x_gradient(net, x, 0)).verdict.name
    'FAILS'
    """
    score = score_of(explanation)
    if score.embedded:
        raise BadInput("Words have no zero that could be shifted.", "Pictures, series and tables have.")
    if shift == 0:
        raise BadInput("shift=0.0 moves nothing.", "1.0 is usual.")
    x, name = explanation.x, layout_of(score.net, explanation.x).input
    made = shifted(score.net, x, name, shift)
    if made is None:
        why = f"{score.net.name} has no first layer that could undo a shift of the input, nor can it be put in front."
        return Check("input_invariance", math.nan, Verdict.UNKNOWN, why)
    other, folded = made
    where = "" if folded else " No first layer can undo the shift, so it was taken off in front of the network."
    start = flat(explanation)
    moved = flat(explanation.rerun(net=other, x={**x, name: x[name] + shift}, seed=explanation.seed))
    by_seed = mean_of(distances(start, flat(explanation.rerun(seed=explanation.seed + 1))))
    each, ranks = distances(start, moved), mean_of([spearman(a, b) for a, b in zip(start, moved, strict=True)])
    value = mean_of(each)
    unsure = ALLOWED < value <= 2 * by_seed
    verdict = Verdict.HOLDS if value <= ALLOWED else Verdict.UNKNOWN if unsure else Verdict.FAILS

    def say(v: float) -> str:
        if v <= ALLOWED:
            return f"Moving the input's zero by {shift:g} moves the map by {v:.1%}: it does not depend on it.{where}"
        told = f"Moving the input's zero by {shift:g}, which changes nothing that the network does, moves the map"
        seed = f" Another random seed moves it by {by_seed:.0%}, so this may be chance." if unsure else ""
        return (
            f"{told} by {v:.0%} (the rankings agree to {ranks:.2f}): it speaks of the distance from zero.{seed}{where}"
        )

    found = summary("input_invariance", each, say, "The map is zero everywhere, so it cannot move.")
    if found.verdict is Verdict.UNKNOWN:
        return found
    return replace(found, verdict=verdict, references=(("another seed", by_seed),) if by_seed > 0 else ())
