"""Areas under the curves of removal and restoration, of a map and of random maps, as one check."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.trials.ordered import FLAT_MAP, Removal, area, counts_of, curves, flat, in_unit, random_maps
from pellucid.trials.sample import at_least, mean_of, samples, summary

WORDS = {"log_odds": "log-odds", "probability": "probability", "explained": "score"}


def area_under(
    name: str, explanation: Explanation, removal: Removal, unit: str, steps: int, randoms: int, *, restored: bool
) -> Check:
    """The mean height of the curve while places go (or come back) by the map's order, beside that of random maps."""
    each, chance, found = list[float](), list[float](), list[Tensor]()
    counts: tuple[int, ...] = ()
    with samples(explanation, "explained" if unit == "explained" else "log_odds") as taken:
        at_least(taken[0].layout, 2)
        counts = counts_of(taken[0].layout.size, steps)
        for sample in taken:
            if flat(sample.places):
                each.append(math.nan)
                continue
            maps = [sample.places, *random_maps(sample, randoms)]
            curve = in_unit(curves(sample, maps, counts, removal, restored=restored), sample, unit)
            here = area(curve, counts)
            each.append(float(here[0]))
            chance.append(mean_of(here[1:].tolist()))
            found.append(torch.stack([curve[0], curve[1:].mean(0)]))
    random = mean_of(chance)

    def say(value: float) -> str:
        deed = "brought back into an input of nothing but infill" if restored else "removed"
        of_chance = f" by random maps of the same kind {random:.2f};" if not math.isnan(random) else ""
        better = "higher is better, since what matters should bring the answer back early"
        worse = "lower is better, since without what matters the answer should fall early"
        return (
            f"Parts were {deed} in {len(counts) - 1} steps, the map's strongest first: on the way the answer's "
            f"{WORDS[unit]} was {value:.2f} on average;{of_chance} {better if restored else worse}."
        )

    return summary(
        name, each, say, FLAT_MAP,
        references=(("random", random),) if not math.isnan(random) else (),
        curves=named(("map", "random"), found, counts),
    )  # fmt: skip


def named(
    names: Sequence[str], found: Sequence[Tensor], counts: Sequence[int]
) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Curves averaged over the samples, `[names, counts]` each, behind the shares of places that they stand at.

    >>> named(("map",), [torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]])], (0, 4))
    (('places', (0.0, 4.0)), ('map', (2.0, 1.0)))
    """
    if not found:
        return ()
    lines = torch.stack(list(found)).mean(0)
    curves = [(name, tuple(line.tolist())) for name, line in zip(names, lines, strict=True)]
    return ("places", tuple(map(float, counts))), *((n, c) for n, c in curves if not math.isnan(c[0]))
