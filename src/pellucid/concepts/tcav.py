r"""TCAV: does a concept that you name, shown by examples, matter to a class?

$$\mathrm{TCAV} = \frac{\#\{x : \nabla h(x) \cdot v > 0\}}{\#\{x\}}$$

v is the direction at a site from random samples to the concept's, $\nabla h$ the slope of the score there, summed over
places: how the score changes when v is added everywhere.  (Kim, Wattenberg, Gilmer, Cai, Wexler, Viegas, Sayres 2018,
arXiv:1711.11279.)

The share is 0 or 1 for random directions too wherever slopes hardly differ between samples, as near a linear end.  So
the test is on the mean cosine between slope and direction unless `test="score"`, and a concept counts as one draw: its
mean over all random sets is held against sets of random samples in its place.  A t-test of its runs against theirs,
as is usual, takes runs that share the concept's samples for independent, and finds something in nearly any set.

Good for: a question about a concept that you can show by 20 samples or more.
Not for:  whether the network uses the concept where you do not ask, nor whether it is the concept and not what comes
          with it in your samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from pellucid.concepts.directions import Kind, direction, separator
from pellucid.concepts.sets import Sets, sets_of, slopes_of
from pellucid.concepts.tested import Tcav, Tested
from pellucid.concepts.work import work_on
from pellucid.core.errors import Stopped
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.run import current
from pellucid.core.samples import Samples
from pellucid.core.site import Site
from pellucid.core.target import Target
from pellucid.probes.significance import among, holm

_FEWEST = 5


def tcav(
    net: Network | nn.Module,
    concepts: Mapping[str, Samples],
    random: Samples,
    data: Samples,
    target: Target | int | str,
    at: Site | str | Sequence[Site | str],
    *,
    runs: Annotated[int, Range(10, 1000), "random sets that each concept is told from, and random concepts"] = 30,
    held_out: Annotated[float, Range(0.1, 0.5), "share of the samples that accuracy is measured on"] = 0.3,
    kind: Annotated[Kind, "how a direction is found"] = "pattern",
    test: Annotated[Literal["effect", "score"], "which number is tested"] = "effect",
    relative: Annotated[bool, "tell each concept from the other concepts, not from random samples"] = False,
    level: Annotated[float, Range(0.0001, 0.5), "chance of any wrong finding among all concepts and sites"] = 0.05,
) -> Tcav:
    """Each concept's share and mean effect at each site, with its significance.

    `concepts`: samples by name, at least 6 each; `random`: samples that have nothing to do with them, at least twice as
    many as the smallest concept has; `data`: samples of the class.  P-values are corrected for all concepts and sites
    together (Holm).  Raises `BadInput`, before any slope is computed, when sets are too small or share a sample.

    >>> import pellucid as pl
    >>> net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> x = torch.randn(60, 4)
    >>> found = pl.concepts.tcav(net, {"first large": torch.randn(8, 4) + 3.0}, x[:40], x[40:], 0, "1", runs=10)
    >>> [t.concept for t in found.tested]
    ['first large']
    """
    options: dict[str, Any] = {
        "runs": runs,
        "held_out": held_out,
        "kind": kind,
        "test": test,
        "relative": relative,
        "level": level,
    }
    checked(options_of(tcav, among=options), options, "tcav")
    asked = [at] if isinstance(at, Site | str) else list(at)
    sites = tuple(s if isinstance(s, Site) else Site.parse(s) for s in asked)
    with work_on(net, target) as work:
        sets = sets_of(work.f, concepts, random, sites, relative=relative)
        slopes = slopes_of(work.f, data, sites)
        how = _How(runs, held_out, kind)
        raw = [t for s in sites for t in _tested_at(sets, slopes[s], s, tuple(concepts), how)]
        raised = holm([t.p_effect if test == "effect" else t.p_score for t in raw])
        tested = tuple(t.judged(p, level) for t, p in zip(raw, raised, strict=True))
        origin = work.origin(", ".join(map(str, sites)), options, sets.notes)
        return Tcav(tested, len(next(iter(slopes.values()))), sets.size, origin)


@dataclass(frozen=True, slots=True)
class _How:
    """The options that every direction is found with."""

    runs: int
    held_out: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Run:
    """One direction: the share of samples that it raises, the mean cosine, the classifier's accuracy."""

    score: float
    effect: float
    accuracy: float
    vector: Tensor


def _tested_at(sets: Sets, slopes: Tensor, site: Site, names: tuple[str, ...], how: _How) -> Iterator[Tested]:
    """Every concept at one site, beside the same random sets."""
    unit = slopes / slopes.norm(dim=1, keepdim=True).clamp(min=torch.finfo(slopes.dtype).tiny)
    chance = _runs(unit, partial(sets.chance, site), how)
    for name in names:
        mine = _runs(unit, partial(sets.concept, site, name), how)
        score, effect, accuracy = (_mean([getattr(r, k) for r in mine]) for k in ("score", "effect", "accuracy"))
        vector = torch.stack([r.vector for r in mine]).mean(0)
        vector = vector / vector.norm().clamp(min=torch.finfo(vector.dtype).tiny)
        by_score, by_effect = tuple(r.score for r in chance), tuple(r.effect for r in chance)
        yield Tested(
            concept=name,
            site=str(site),
            score=score,
            effect=effect,
            accuracy=accuracy,
            scores=tuple(r.score for r in mine),
            effects=tuple(r.effect for r in mine),
            chance_scores=by_score,
            chance_effects=by_effect,
            chance_accuracies=tuple(r.accuracy for r in chance),
            p_score=among(score, by_score),
            p_effect=among(effect, by_effect),
            vector=vector.cpu(),
            each=tuple((unit @ vector).tolist()),
        )


def _runs(unit: Tensor, drawn: Callable[[int], tuple[Tensor, Tensor]], how: _How) -> list[_Run]:
    found: list[_Run] = []
    for run in range(how.runs):
        if current().stopping():
            break
        first, second = drawn(run)
        v = direction(how.kind, first, second)
        along = unit @ v
        score, effect = float((along > 0).double().mean()), float(along.mean())
        found.append(_Run(score, effect, _accuracy(first, second, how.held_out), v))
    if len(found) < _FEWEST:
        raise Stopped(f"Stopped before {_FEWEST} random sets were tried.", "Run it again.")
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _accuracy(first: Tensor, second: Tensor, held_out: float) -> float:
    """On samples that the classifier was not trained on; those that are drawn last."""
    n, m = (max(1, round(len(v) * held_out)) for v in (first, second))
    return separator(first[:-n], second[:-m]).accuracy(first[-n:], second[-m:])
