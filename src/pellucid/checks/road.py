"""ROAD: does the network still choose the class when the map's strongest places are gone, without a trace of where?

Rong et al. 2022.  A place that is set to a constant says by its shape what was removed, and a network may read that.
So what is removed becomes a weighted mean of its neighbors, with a little noise (`probes.imputation`).  As in the
paper the figure is an accuracy, a coarse one: of a single picture it is the share of the steps.  For a gain in log-odds
with the same infill: `pixel_flipping(fill="noisy_linear")`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.trials.areas import named
from pellucid.trials.ordered import (
    FLAT_MAP,
    Randoms,
    Removal,
    Steps,
    counts_of,
    first,
    flat,
    of_class,
    order_of,
    random_maps,
    shown,
)
from pellucid.trials.sample import Sample, at_least, mean_of, samples, summary

_NOTHING = f"{FLAT_MAP} Or the network does not choose this class to begin with."


@measure(
    title="ROAD",
    family="faithfulness",
    paper="Rong, Leemann, Borisov, Kasneci, Kasneci 2022, arXiv:2202.00449",
    better="lower",
    cost="(2 + `randoms`) x `steps` + 1 forward passes a sample",
)
def road(explanation: Explanation, *, steps: Steps = 9, randoms: Randoms = 1) -> Check:
    """The share, 0..1, of steps after which the class is still the first, the most relevant places removed first.

    With nine steps: 10 % to 90 % of the places, each a weighted mean of its neighbors plus noise.  "least relevant
    first" is the same from the map's other end (higher is better there), "random" that of random maps (this one flipped
    and rolled over the edge).  A single sigmoid output counts as choosing its class when positive.  Samples of which
    the network chooses another class at the start say nothing and are left out.  Curves: "places" removed, and the
    share of samples that keep their class.  Ties are broken by one seeded draw.  Raises `BadInput` for tables, text and
    volumes, and when no class was explained; `Missing` when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
    >>> _ = net[1].weight.data.zero_(); net[1].weight.data[0, 20] = 9.0; net[1].bias.data[0] = -1.0
    >>> x = torch.zeros(1, 1, 8, 8); x[..., 2, 4] = 1.0  # one bright place says it
    >>> found = road(pl.methods.input_x_gradient(net, x, 0))
    >>> found.value, dict(found.references)["least relevant first"]
    (0.0, 1.0)
    """
    each, back, chance, found = [], [], [], list[Tensor]()
    counts: tuple[int, ...] = ()
    with samples(explanation) as taken:
        _fits(taken[0], explanation)
        counts = counts_of(taken[0].layout.size, steps, ends=False)
        for sample in taken:
            if flat(sample.places) or not float(shown(sample, iter([sample.v]), 1).lead) > 0:
                each.append(math.nan)
                continue
            kept = _kept(sample, counts, randoms)
            each.append(float(kept[0].mean()))
            back.append(float(kept[1].mean()))
            chance.append(mean_of([float(kept[2:].mean())]))
            found.append(torch.stack([kept[0], kept[1], kept[2:].mean(0)]))
    random, least = mean_of(chance), mean_of(back)

    def say(value: float) -> str:
        told = f", and by random maps {random:.0%}" if not math.isnan(random) else ""
        return (
            f"The map's strongest {counts[0]} to {counts[-1]} places were replaced by means of their neighbors, in "
            f"{len(counts)} steps: the network kept to the class in {value:.0%} of them (lower is better). From the "
            f"map's weak end it did in {least:.0%} (higher is better){told}."
        )

    references = (("random", random), ("least relevant first", least))
    return summary(
        "road", each, say, _NOTHING, references=tuple((n, v) for n, v in references if not math.isnan(v)),
        curves=named(("most relevant first", "least relevant first", "random"), found, counts),
    )  # fmt: skip


def _fits(sample: Sample, explanation: Explanation) -> None:
    layout = sample.layout
    if layout.kind not in ("picture", "series"):
        raise BadInput(
            f"ROAD fills places from their neighbors, in pictures and series; this is a {layout.kind}.",
            "Use pixel_flipping.",
        )
    if not of_class(sample):
        raise BadInput(
            f"ROAD asks whether a class is still chosen; what was explained is {explanation.target}.",
            "Use pixel_flipping(fill='noisy_linear').",
        )
    at_least(layout, 2)


def _kept(sample: Sample, counts: tuple[int, ...], randoms: int) -> Tensor:
    """1 where the class is still chosen, `[maps, counts]`: the map, its negative, random maps."""
    maps = [sample.places, -sample.places, *random_maps(sample, randoms)]
    masks = (first(order_of(m, sample.key), counts, sample.layout.shape) for m in maps)
    removal = Removal("noisy_linear")
    copies = (copy for some in masks for copy in removal.copies(sample, some))
    return (shown(sample, copies, len(maps) * len(counts)).lead > 0).double().view(len(maps), len(counts))
