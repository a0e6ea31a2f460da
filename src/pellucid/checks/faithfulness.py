"""Does the map say which parts the network used?  Parts are removed at random, and the drops held against the map.

Pearson's r between the map's sum over what was removed and the drop of the score, over masked copies that all maps
share.  The yardsticks: the same map rolled over the edge and turned (a random map with the same values and the same
smoothness), the input's edges, its center, and the best that any additive map could do.
Measured on planted truth (DESIGN and research notes): this figure orders maps and methods as the truth does, with
fewer passes than insertion and deletion curves; the correlation of r with the truth is .73 at 32 probes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput, PellucidError, Stopped
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.trials.agreement import FLAT, interval, pearson, resamples
from pellucid.trials.layout import Layout, score_of
from pellucid.trials.nulls import null_scores
from pellucid.trials.probed import BLOCK, GENTLE, ProbeSet, grown, guessed, probe_set
from pellucid.trials.yardsticks import TAKEN, Guesses

NULLS = 499
BOOTSTRAPS = 1000
ADDITIVE = 0.3  # When no known map reaches this, no map may be able to.
LOOSE = 1.05  # Above this the class got likelier by removing parts: the probes may not take evidence away.
ROUNDING = 1e-6
UNLEARNED = "random weights"
ADDS_UP = 0.6  # When a map fitted to some probes foretells the others this well, each part has an effect of its own.

Word = Literal["Supported", "Weak", "Not supported", "Can't tell"]
VERDICTS: dict[Word, Verdict] = {
    "Supported": Verdict.HOLDS,
    "Weak": Verdict.UNKNOWN,  # Better than chance, yet a guess that never asked the network may do as well: open.
    "Not supported": Verdict.FAILS,
    "Can't tell": Verdict.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class MapScore:
    """One map held against one probe set.

    `r` with its bootstrap interval; `p`: how often a random map does as well; `random`: what the best twentieth of
    random maps reach; `guesses`: r of the edge and the center map and of what else was to be beaten; `margin`: interval
    of r minus the best guess (NaN without guesses); `ceiling`: the most that is known to be reachable, by a map fitted
    to the probes, a guess or this map; `reason`: why the test says nothing, or "".
    """

    r: float
    low: float
    high: float
    p: float
    random: float
    guesses: tuple[tuple[str, float], ...]
    margin: tuple[float, float]
    ceiling: float
    reason: str

    @property
    def word(self) -> Word:
        """Supported: p <= .02, surely better than the guesses.  Weak: p <= .05.  Can't tell: the test was not fair."""
        if self.reason:
            return "Can't tell"
        if self.p > 0.05:
            return "Not supported"
        return "Supported" if self.p <= 0.02 and (not self.guesses or self.margin[0] > ROUNDING) else "Weak"

    @property
    def explained(self) -> float:
        """The share of what any additive map could explain of the drops, 0..1."""
        return min(max(self.r, 0.0) ** 2 / self.ceiling**2, 1.0) if self.ceiling > 0 else math.nan


def score_map(places: Float[Tensor, "*shape"], probes: ProbeSet) -> MapScore:
    """Hold one map, a number a place (`[height, width]` for a picture), against the probes: no pass is run.

    Multiplying the map by a positive number or adding any number changes nothing.  Raises `BadInput` when the map's
    places are not the probes'.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)
    >>> (probes,) = probe_set(why.score, why.x)
    >>> round(score_map(why.values[0], probes).r, 3)  # a linear network's contributions are exact
    1.0
    """
    if tuple(places.shape) != probes.layout.shape:
        raise BadInput(f"The map has {tuple(places.shape)} places, the probes {probes.layout.shape}.")
    found, redone, reason = _measured(places, probes)
    r, (low, high) = float(found[0]), interval(redone[0])
    nulls = null_scores(places, probes, NULLS)
    known = nulls[nulls.isfinite()]
    best = max((float(v) for v in (probes.ceiling, *found) if math.isfinite(v)), default=math.nan)
    return MapScore(
        r=r, low=low, high=high,
        p=float(1 + (known >= r - ROUNDING).sum()) / (len(known) + 1) if math.isfinite(r) else math.nan,
        random=float(known.quantile(0.95)) if len(known) else math.nan,
        guesses=_by_guess(probes, found[1:]),
        margin=interval(redone[0] - redone[1:].nan_to_num(-1.0).amax(0)) if probes.guesses else (math.nan, math.nan),
        ceiling=best, reason=reason,
    )  # fmt: skip


def _by_guess(probes: ProbeSet, found: Float[Tensor, " maps"]) -> tuple[tuple[str, float], ...]:
    """Each guess's r, that of its best map; NaN where they are all flat."""
    names = [name for name, m in probes.guesses for _ in _several(m, probes)]
    pairs = [(name, v) for name, v in zip(names, found.tolist(), strict=True) if math.isfinite(v)]
    return tuple((name, max((v for n, v in pairs if n == name), default=math.nan)) for name, _ in probes.guesses)


def _several(guess: Tensor, probes: ProbeSet) -> Float[Tensor, "count *shape"]:
    return guess if guess.ndim > len(probes.layout.shape) else guess[None]


def _measured(places: Tensor, probes: ProbeSet) -> tuple[Float[Tensor, " maps"], Float[Tensor, "maps draws"], str]:
    """The r of the map and of each map of each guess, their redrawn values, and why they say nothing, or ''."""
    sums = map_sums([places, *(m for _, guess in probes.guesses for m in _several(guess, probes))], probes)
    found = pearson(sums, probes.drops)
    generator = current().generator("faithfulness", probes.key, "score")
    pick = resamples(BOOTSTRAPS, len(probes.drops), generator)
    redone = pearson(sums[:, pick], probes.drops[pick])
    flat = bool(sums[0].isnan().any())
    return found, redone, _FLAT_MAP if flat else _reason(probes, _reached(probes, found, redone))


_FLAT_MAP = "The map is the same everywhere, so there is nothing to test"


def map_sums(maps: Sequence[Float[Tensor, "*shape"]], probes: ProbeSet) -> Float[Tensor, "maps count"]:
    """Each map's sum over each mask, the map centered first (the masks are equally large, so r is the same)."""
    flat = torch.stack([m.detach().double().cpu().flatten() for m in maps])
    away = flat - flat.mean(1, keepdim=True)
    size = away.norm(dim=1, keepdim=True)
    nothing = size <= FLAT * flat.norm(dim=1, keepdim=True)
    sums: Tensor = (away / size.masked_fill(nothing, math.nan)) @ probes.masks.flatten(1).double().T
    return sums


def _reached(probes: ProbeSet, found: Tensor, redone: Float[Tensor, "maps draws"]) -> float:
    """The highest r that is known and no luck: where answers fall by leaps, one of several maps may happen to fit."""
    sure = [float(r) for r, draws in zip(found, redone, strict=True) if interval(draws)[0] >= ADDITIVE / 2]
    return max(probes.ceiling if math.isfinite(probes.ceiling) else -1.0, *sure, -1.0)


def _reason(probes: ProbeSet, best: float) -> str:
    """Why this input does not allow a fair test by masking, or ''.  `best`: the highest r that is known.

    Parts that are known to have effects of their own may also speak against the class, or each change a large score
    by little: of a class that the network does not see, most do.
    """
    what, spread, adds_up = _words(probes.layout)[0], float(probes.drops.std()), probes.ceiling >= ADDS_UP
    if probes.of_class and probes.ratio > LOOSE and not adds_up:
        return f"Removing parts of the {what} makes the network surer of this class, so drops do not show what it used"
    if probes.ratio < GENTLE:
        return (
            f"Removing even {probes.area:.0%} of the {what} at random leaves only {max(probes.ratio, 0):.0%} of the "
            "answer, so single parts cannot be told apart"
        )
    rounding = 5 * torch.finfo(torch.float32).eps * max(abs(probes.start), 1.0)
    if not spread > (rounding if adds_up else max(0.05 * abs(probes.start), rounding)):
        return f"Removing any {probes.area:.0%} of the {what} changes the answer about equally, so no part stands out"
    if not best >= ADDITIVE:
        fitted = f"even a map fitted to this very test reaches only r = {probes.ceiling:.2f}"
        return f"The parts of the {what} act together, not one by one: {fitted}"
    return ""


def _words(layout: Layout) -> tuple[str, str, str]:
    """What is masked, how that is said of a part, and as a deed."""
    if layout.site:
        return f"value at {layout.site}", "hidden", "hiding"
    if layout.kind == "picture":
        return "picture", "painted over", "painting over"
    return layout.kind, "hidden", "hiding"


@measure(
    title="Faithfulness on shared probes",
    family="faithfulness",
    paper="Bluecher et al. 2024, arXiv:2401.06654 (fairness); recipe measured on planted truth",
    better="higher",
    cost="`count` + 2 forward passes a sample, none with `probes`; one explanation more with `again`",
    place=1,
)
def faithfulness(
    explanation: Explanation,
    *,
    probes: Sequence[ProbeSet] | None = None,
    guesses: Guesses | None = None,
    again: Callable[[], Explanation] | None = None,
    count: Annotated[int, Range(16, 4096), "masked copies to begin with"] = 64,
    most: Annotated[int | None, Range(16, 4096), "masked copies at most, while the interval is wide"] = None,
    within: Annotated[float, Range(0.001, 1), "how far the interval may reach to either side"] = 0.07,
) -> Check:
    """Where the map is strong, does removing that part hurt the answer?  r in -1..1; the sentence says what it means.

    Supported maps to HOLDS, "Not supported" to FAILS, "Weak" and "Can't tell" to UNKNOWN.  Of several samples the
    weakest is told, and `each` holds all.  `probes` from `probe_set` spare all passes.  `guesses`: maps of your own, by
    name, that the map has to beat beside edges and center, `[*places]` or `[batch, *places]`; `again` makes one more,
    what the same method shows on random weights, of which the better sign counts.  With `most`, copies are added until
    the interval is narrow enough; whether to go on depends on its width alone, never on the verdict.  Raises `Missing`
    when the explanation came without its network, `BadInput` when it cannot be masked or a guess does not fit.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)
    >>> round(faithfulness(why, count=32).value, 3)
    1.0
    """
    if probes is None:
        probes = probe_set(score_of(explanation), explanation.explained, count)
    probes = _beside(guessed(probes, guesses or {}), again)
    maps = probes[0].layout.map_of(explanation)
    found = [_narrowed(explanation, m, p, most, within) for m, p in zip(maps, probes, strict=True)]
    order: tuple[Word, ...] = ("Not supported", "Can't tell", "Weak", "Supported")
    told, of = min(found, key=lambda f: (order.index(f[0].word), f[0].r))
    which = f"The weakest of {len(found)} samples is number {of.sample + 1}. " if len(found) > 1 else ""
    references = [("random", told.random), *told.guesses, ("ceiling", told.ceiling)]
    wide = most is not None and (told.high - told.low) / 2 > within and not told.reason
    wanted = f" The copies ended before the interval was within {within:g} to either side: more would narrow it."
    return Check(
        "faithfulness", told.r, VERDICTS[told.word],
        f"{told.word}. {which}{sentence(told, of)}{wanted * wide}", told.low, told.high,
        tuple((name, v) for name, v in references if math.isfinite(v)),
        tuple(score.r for score, _ in found), _points(maps[of.sample], of),
        {"word": told.word, "p": told.p, "sample": of.sample, "area": of.area, "seed": of.seed},
    )  # fmt: skip


def _beside(probes: Sequence[ProbeSet], again: Callable[[], Explanation] | None) -> Sequence[ProbeSet]:
    """The probes with one guess more: the same method where nothing was learned, in either sign."""
    if again is None:
        return probes
    try:
        maps = probes[0].layout.map_of(again())
    except PellucidError:  # nothing to draw anew, or stopped
        return probes
    return tuple(
        replace(p, guesses=(*p.guesses, (UNLEARNED, torch.stack([m, -m])))) for p, m in zip(probes, maps, strict=True)
    )


def _narrowed(
    explanation: Explanation, places: Tensor, probes: ProbeSet, most: int | None, within: float
) -> tuple[MapScore, ProbeSet]:
    """The map's score, on more and more probes until its interval is narrow, no more may be run, or somebody stops."""
    while most is not None and len(probes.drops) < most and _wide(places, probes, within):
        before = len(probes.drops)
        with suppress(Stopped):
            wanted = min(most, before + BLOCK)
            probes = grown(score_of(explanation), explanation.explained, probes, wanted)
        if len(probes.drops) == before:
            break
    return score_map(places, probes), probes


def _wide(places: Tensor, probes: ProbeSet, within: float) -> bool:
    """Is the test fair, and its interval wider than was asked?"""
    _, redone, reason = _measured(places, probes)
    low, high = interval(redone[0])
    return not reason and (high - low) / 2 > within


def _points(places: Tensor, probes: ProbeSet) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """What each probe removed of the map (standardized over the probes), and how far the answer fell."""
    sums = map_sums([places], probes)[0]
    removed = (sums - sums.mean()) / sums.std()
    return ("map removed", tuple(removed.tolist())), ("drop", tuple(probes.drops.tolist()))


def _called(guess: str) -> str:
    if guess == UNLEARNED:
        return "the same method on random weights"
    return f"a map of the {guess}" if guess in TAKEN else f'the guess "{guess}"'


def sentence(found: MapScore, probes: ProbeSet) -> str:
    """What was done and what came out, for somebody who meets such a test for the first time."""
    what, done, doing = _words(probes.layout)
    count = len(probes.masks)
    tail = f"Tested by {count} masked copies with {probes.infill}; says nothing about whether the model is right."
    if found.reason:
        return f"{found.reason}. {tail}"
    setup = f"{count} copies of the {what}, each with {probes.area:.0%} of it {done}, were shown to the network."
    hurt = "hurt the answer" if found.p <= 0.05 else "hurt the answer no more than chance allows"
    result = f"Where the map is strong, {doing} {hurt}: r = {found.r:.2f} [{found.low:.2f}, {found.high:.2f}]."
    guesses = "".join(f", {_called(name)} {v:.2f}" for name, v in found.guesses if math.isfinite(v))
    yardstick = f"A random map reaches {found.random:.2f}{guesses}, the best one known {found.ceiling:.2f}."
    unsure = " That is not surely better than such a guess." if found.word == "Weak" and found.guesses else ""
    return f"{setup} {result} {yardstick}{unsure} {tail}"
