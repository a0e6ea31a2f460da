"""What was found out about concepts that somebody named, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from jaxtyping import Float
from torch import Tensor

from pellucid.core.origin import Origin
from pellucid.core.shown import Shown

TOLD_APART = 0.7  # accuracy below which there is no direction worth asking about


@dataclass(frozen=True, slots=True)
class Tested:
    """One concept at one site.

    `score`: the share of samples whose score rises along the direction (0..1); `effect`: the mean cosine between slope
    and direction (-1..1); `accuracy` on held-out samples, both kinds counting alike (0.5 is a guess).  `scores` and
    `effects` are those of every run, the `chance_` numbers those of random samples in the concept's place.  `p` is
    corrected for all questions that were asked.  `vector` is the mean direction, of length 1; `each` its cosine with
    every sample's slope.
    """

    concept: str
    site: str
    score: float
    effect: float
    accuracy: float
    scores: tuple[float, ...] = field(repr=False)
    effects: tuple[float, ...] = field(repr=False)
    chance_scores: tuple[float, ...] = field(repr=False)
    chance_effects: tuple[float, ...] = field(repr=False)
    chance_accuracies: tuple[float, ...] = field(repr=False)
    p_score: float
    p_effect: float
    vector: Float[Tensor, " channels"] = field(repr=False)
    each: tuple[float, ...] = field(repr=False)
    p: float = 1.0
    significant: bool = False

    def judged(self, p: float, level: float) -> Tested:
        """The same with its corrected p-value, and whether that is below the level."""
        return replace(self, p=p, significant=p < level)

    @property
    def learnable(self) -> bool:
        """Are the concept's samples told from others better than random ones are?"""
        return self.accuracy >= TOLD_APART and self.accuracy > max(self.chance_accuracies)

    @property
    def words(self) -> str:
        """The finding in a sentence."""
        told = f"told from random samples in {100 * self.accuracy:.0f} % of held-out cases"
        if not self.significant:
            return f"Not significant (p {_p(self.p)}): random samples in its place may do as much. It is {told}."
        way = "raises" if self.effect > 0 else "lowers"
        sure = "" if self.learnable else ", hardly better than random sets are: take care"
        return f"Significant (p {_p(self.p)}): more of it {way} the score. It is {told}{sure}."


@dataclass(frozen=True, slots=True)
class Tcav(Shown):
    """Every concept at every site, from `samples` samples of the class and sets of `size` samples."""

    tested: tuple[Tested, ...]
    samples: int
    size: int
    origin: Origin

    def of(self, concept: str, site: str | None = None) -> Tested:
        """What was found about a concept (at the first site, unless one is named); `KeyError` when there is none."""
        for t in self.tested:
            if t.concept == concept and site in (None, t.site):
                return t
        raise KeyError(concept)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"
