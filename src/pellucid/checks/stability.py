"""Does the map stay when the input hardly changes?  Near copies are explained again and the rankings compared.

A flag, not a score: a map of the input's edges is perfectly stable and explains nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, batch_size, digest, each, per_sample
from pellucid.trials.agreement import spearman
from pellucid.trials.layout import Layout, layout_of, score_of

COPIES = 5
NOISE = 0.02  # Standard deviation, as a share of the input's range.
CELLS = 14  # Maps are compared by the means of at most 14 x 14 cells: a shift by a pixel is no instability.
TWOFOLD = math.log(2)  # Near copies may change the odds of what is explained by this factor.
ENOUGH = math.sqrt(0.5)  # From here on, near copies share at least half of the ranking's variance.


@measure(
    title="Stability under small noise",
    family="stability",
    paper="Alvarez-Melis, Jaakkola 2018, arXiv:1806.08049",
    better="higher",
    cost="six explanations and eleven forward passes",
    place=3,
    again=True,
)
def stability(explanation: Explanation) -> Check:
    """Mean rank correlation, in -1..1, between the map and the maps of five near copies (noise of 2 % of the range).

    HOLDS from .71.  `low` and `high` are the least and the most similar copy.  Copies that the network takes for
    something else are left out, unless the odds of the class that is explained stay within a factor of two (between two
    classes that are nearly as likely, the first one changes at a breath); UNKNOWN when none is left.  Where another
    seed gives another map, that similarity is a reference, and the verdict must hold for it too.  Costs six more
    explanations and eleven forward passes.  Raises `BadInput` for text (words have no near copies), `Missing` when the
    explanation came without its network.

    >>> import torch, pellucid as pl
    >>> found = stability(pl.methods.saliency(torch.nn.Linear(9, 1), torch.ones(1, 9), 0))
    >>> round(found.value, 3)  # a linear network has the same gradient everywhere
    1.0
    """
    score = score_of(explanation)
    if score.embedded:
        raise BadInput("Words have no near copies to compare with.")
    layout = layout_of(score.net, explanation.explained)
    copies, same = near_copies(score.outside, explanation.x)
    found = [
        alike
        for near, kept in zip(copies, same, strict=True)
        if bool(kept.any())
        for alike, ok in zip(_alike(explanation, explanation.rerun(x=near), layout), kept.tolist(), strict=True)
        if ok
    ]
    other = _alike(explanation, explanation.rerun(seed=explanation.seed + 1), layout)
    known, seeds = [v for v in found if not math.isnan(v)], [v for v in other if v < 1 - 1e-9]
    return _worded(known, seeds, sum(len(kept) for kept in same))


def near_copies(score: Score, x: Tensors) -> tuple[list[Tensors], list[Tensor]]:
    """Five noisy copies of the batch, out of ten, that keep most samples' answer; and which samples kept it.

    An answer is kept when the likeliest class is the same, or the odds of the explained class are within a factor of
    two: what a map explains is that class's score, which may hardly move while two others change places.
    """
    candidates = [each_noisy(x, draw) for draw in range(2 * COPIES)]
    top, odds = _answers(score, x)
    kept = []
    for near in candidates:
        its_top, its_odds = _answers(score, near)
        kept.append((its_top == top) | ((its_odds - odds).abs() <= TWOFOLD))
    best = sorted(range(len(kept)), key=lambda i: -int(kept[i].sum()))[:COPIES]
    return [candidates[i] for i in best], [kept[i] for i in best]


def each_noisy(x: Tensors, draw: int) -> Tensors:
    """The inputs with a little Gaussian noise, which depends on each sample's content alone."""

    def noisy(v: Tensor) -> Tensor:
        noise = [torch.randn(s.shape, generator=current().generator("stability", digest(s), draw)) for s in v]
        low, high = v.flatten(1).aminmax(dim=1)
        return v + NOISE * per_sample(high - low, v) * torch.stack(noise).to(device=v.device, dtype=v.dtype)

    return {**x, **each(noisy, x)}


def _answers(score: Score, x: Tensors) -> tuple[Tensor, Tensor]:
    """Each sample's most likely class (one for all where classes have no scores), and the explained class's log-odds.

    The log-odds are NaN where no single class is explained.
    """
    f = replace(score, target=score.target.as_log_odds())

    def one(f: Score, part: Tensors, rows: Tensor) -> Tensors:
        answer, scores = f.scored(part, rows)
        return {"out": answer.main, "odds": scores}

    found = next(f.passes([x], one, "forward passes"))
    out, odds = found["out"], found["odds"].double()
    scored = out.ndim == 2 and out.shape[1] > 1
    top = out.argmax(1) if scored else torch.zeros(batch_size(x), dtype=torch.long, device=out.device)
    single = scored and [t.kind for t in f.target.terms] == ["log_odds"]
    return top, odds if single else torch.full_like(odds, torch.nan)


def _alike(one: Explanation, other: Explanation, layout: Layout) -> list[float]:
    """Each sample's rank correlation of the two maps' cells."""
    a, b = (layout.cells(layout.map_of(e), CELLS) for e in (one, other))
    return [spearman(m, n) for m, n in zip(a, b, strict=True)]


def _worded(found: list[float], seeds: list[float], tried: int) -> Check:
    if not found:
        why = (
            "No near copy could be compared: the network takes each of them for something else, with other odds of "
            "what was explained, or the map is flat."
        )
        return Check("stability", math.nan, Verdict.UNKNOWN, why)
    value, low = sum(found) / len(found), min(found)
    other = sum(seeds) / len(seeds) if seeds else math.nan
    left_out = f" ({tried - len(found)} of {tried} copies were left out: another answer)" if len(found) < tried else ""
    seed = f" Another random seed gives a map that agrees to {other:.2f}." if seeds else ""
    holds = value >= ENOUGH and not other < ENOUGH
    verdict = Verdict.HOLDS if holds else Verdict.FAILS
    judged = "The map stays nearly the same" if value >= ENOUGH else "The map changes a lot"
    why = (
        f"{judged} when the input gets {NOISE:.0%} of noise: the rankings agree to {value:.2f}, at worst {low:.2f}"
        f"{left_out}.{seed} Stable does not mean right."
    )
    return Check("stability", value, verdict, why, low, max(found), (("another seed", other),) if seeds else ())
