"""Does the score stay when the picture is moved a little?  What holds at one pixel grid alone cannot be seen."""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

from torch import Tensor

from pellucid.checks.dreams.measured import dream_measure, not_made, verdict
from pellucid.core.check import Check
from pellucid.core.option import Range
from pellucid.dream.dream import Dream
from pellucid.trials.fresh import of_nothing, under_views
from pellucid.trials.naturals import Natural, naturals

KEEPS, LOSES = 0.7, 0.4
Views: TypeAlias = Annotated[int, Range(2, 1024), "fresh moves of each picture"]


@dream_measure(
    title="Robustness under fresh moves",
    paper="Olah, Mordvintsev, Schubert 2017, doi:10.23915/distill.00007",
    cost="one forward pass for each move, and eight of pictures without content where no natural ones are given",
    place=2,
)
def robustness(dream: Dream, *, natural: Natural | None = None, views: Views = 8) -> tuple[Check, ...]:
    """The score under small moves that the recipe never drew, as a share of the score untouched; 1 is all of it.

    Moves shift by up to 8 %, zoom by 0.8 to 1.2 and turn by up to 12 degrees.  Zero is the mean over natural pictures,
    or over pictures of random phases with photographs' amplitudes where none are given.  HOLDS from .7, FAILS below
    .4; `low` and `high`: 95 % of the mean over moves.
    """
    if not dream.canvas.size:
        return tuple(not_made("An input without space cannot be moved.") for _ in dream.targets)
    zero = of_nothing(dream).mean(0) if natural is None else naturals(dream, natural, features=False).mean
    against = "pictures without content" if natural is None else "an average natural picture"
    moved = under_views(dream, views)
    return tuple(_one(s, float(zero[i]), moved[:, i], against) for i, s in enumerate(dream.scores))


def _one(score: float, zero: float, moved: Tensor, against: str) -> Check:
    if not score > zero:
        return not_made(f"Even untouched it excites the target no more than {against}.")
    shares = (moved.double() - zero) / (score - zero)
    value = float(shares.mean())
    error = 1.96 * float(shares.std()) / math.sqrt(len(shares)) if len(shares) > 1 else math.nan
    found = verdict(value >= KEEPS, value < LOSES)
    share = "All" if value >= 0.995 else f"{value:.0%}" if value > 0 else "Nothing"
    kept = f"{share} of its effect on the target stays"
    if value >= KEEPS:
        why = f"{kept} when the picture is shifted, zoomed and turned a little."
    elif value < LOSES:
        why = (
            f"{'Only ' if value > 0 else ''}{kept} when the picture is moved a little: it hangs on single pixels, not "
            "on what one sees."
        )
    else:
        why = f"{kept} when the picture is moved a little; part of it hangs on single pixels."
    facts = {"score": score, "zero": zero, "zero is": against, "views": len(shares)}
    return Check(
        "robustness", value, found, why, value - error, value + error, (("all of it", 1.0),), facts=facts,
        curves=(("view", tuple(float(i) for i in range(len(shares)))), ("share kept", tuple(shares.tolist()))),
    )  # fmt: skip
