"""Parts removed from both ends of a map: the answer should fall early from the strong end and late from the weak one.

Samek et al. 2017 flip the most relevant first (MoRF) or the least (LeRF).  Bluecher et al. 2024: the gap between the
two, the symmetric relevance gain, hardly depends on how parts are removed, while either curve alone does; and the curve
of a random order says how fair the removal is (R-OMS).  As measured on planted truth (notes of `faithfulness`), the
gain orders maps better than either curve.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.areas import WORDS, named
from pellucid.trials.ordered import (
    FLAT_MAP,
    Infill,
    Randoms,
    Removal,
    Sigma,
    Steps,
    Unit,
    Value,
    counts_of,
    curves,
    flat,
    in_unit,
    of_class,
    random_maps,
)
from pellucid.trials.sample import Sample, at_least, mean_of, samples, summary


@measure(
    title="Pixel flipping: symmetric relevance gain",
    family="faithfulness",
    paper="Bluecher, Vielhaben, Strodthoff 2024, arXiv:2401.06654; Samek et al. 2017, arXiv:1509.06321",
    better="higher",
    cost="2 x (1 + `randoms`) x `steps` + 1 forward passes a sample",
)
def pixel_flipping(
    explanation: Explanation,
    *,
    steps: Steps = 16,
    randoms: Randoms = 1,
    fill: Infill = None,
    value: Value = 0.0,
    sigma: Sigma = None,
    unit: Unit = "log_odds",
) -> Check:
    """Symmetric relevance gain: the mean answer with the least relevant removed, less that with the most relevant.

    In the unit asked for (nats of log-odds); 0 for a random order, on average.  Any increasing change of the map
    changes nothing, and the negated map has the negated gain: ties come in one seeded order from both ends.  "random":
    the gain of random maps (this one flipped and rolled over the edge), "R-OMS": what random removal leaves of the
    class's probability (of the score where it is no class's).  Curves: "places" removed, "most relevant first", "least
    relevant first", "random".  UNKNOWN for maps that are the same everywhere.  Raises `Missing`, `BadInput` and
    `BadOption` as `deletion` does.

    >>> import torch, pellucid as pl
    >>> line = torch.nn.Linear(3, 1, bias=False); line.weight.data = torch.tensor([[1.0, 3.0, 2.0]])
    >>> pixel_flipping(pl.methods.input_x_gradient(line, torch.ones(1, 3), 0)).value  # 5 and 3 against 3 and 1
    2.0
    """
    removal, each, chance, left, found = Removal(fill, value, sigma), [], [], [], list[Tensor]()
    counts: tuple[int, ...] = ()
    with samples(explanation, "explained" if unit == "explained" else "log_odds") as taken:
        at_least(taken[0].layout, 2)
        counts = counts_of(taken[0].layout.size, steps, ends=False)
        for sample in taken:
            if flat(sample.places):
                each.append(math.nan)
                continue
            maps = [m for one in (sample.places, *random_maps(sample, randoms)) for m in (one, -one)]
            scores = curves(sample, maps, counts, removal)
            curve = in_unit(scores, sample, unit)
            gains = (curve[1::2] - curve[0::2]).mean(1)
            each.append(float(gains[0]))
            chance.append(mean_of(gains[1:].tolist()))
            left.append(r_oms(sample, scores[2:]) if randoms else math.nan)
            found.append(torch.stack([curve[0], curve[1], curve[2:].mean(0)]))
    random, fair = mean_of(chance), mean_of(left)

    def say(gain: float) -> str:
        told = f" Random maps of the same kind gain {random:.2f}." if not math.isnan(random) else ""
        return (
            f"Parts were removed in {len(counts)} steps, from either end of the map: the answer's {WORDS[unit]} stayed "
            f"{gain:.2f} higher when the weakest went first than when the strongest did; 0 is what a map that knows "
            f"nothing gains.{told}"
        )

    references = tuple((n, v) for n, v in (("random", random), ("R-OMS", fair)) if not math.isnan(v))
    lines = named(("most relevant first", "least relevant first", "random"), found, counts)
    return summary("pixel_flipping", each, say, FLAT_MAP, references=references, curves=lines)


def r_oms(sample: Sample, scores: Tensor) -> float:
    """What is left of the class's probability, or of a positive score, on average over random removals."""
    start = sample.score(sample.x).double().cpu()
    if of_class(sample):
        return float((torch.nn.functional.logsigmoid(scores) - torch.nn.functional.logsigmoid(start)).exp().mean())
    return float(scores.mean() / start) if float(start) > 0 else math.nan
