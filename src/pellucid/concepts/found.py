"""Concepts that were found, what was measured of them, and how far that can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from pellucid.concepts.importance import interval
from pellucid.core.check import Check, Verdict
from pellucid.core.origin import Origin
from pellucid.core.shown import Shown

FAITHFUL = 0.8  # of the score, and of the classes, that have to survive
ALIKE = 0.9  # cosine between a concept and its partner in another factorization
HALF = 0.7  # the same where the other was found on half of the pictures
MATTERS = 0.05  # a share of the variance below which a concept is not held against chance


@dataclass(frozen=True, slots=True)
class Concepts(Shown):
    """Directions in a site's channels, each of which is one thing that pictures of a class have in common.

    `bank`: the directions, of length 1, the most important first.  `maps`: how much of each is where, in the site's
    unit; `contributions` the same times the slope of the score, in the score's unit.  `importance`: the mean total
    Sobol index over pictures, with its 95 % interval; `indices` those of every picture (local importance).
    `removed`: by how much the score falls when a concept is taken away, and `chance` when as much is taken away along
    shuffled channels.  `scores`: as they are, rebuilt from the concepts, with zeros at the site; `same_class` whether
    the rebuilt one has the same likeliest class.  `missed`: the size of what the concepts leave out, as a share.
    `boxes` are the crops as (picture, top, left, side) and `strips` how much of each concept is in them.  `stability`:
    each concept's cosine to its partner from other starts, `halves` to that from one half of the pictures.
    """

    bank: Float[Tensor, "concepts channels"]
    maps: Float[Tensor, "done concepts rows columns"] = field(repr=False)
    contributions: Float[Tensor, "done concepts rows columns"] = field(repr=False)
    importance: Float[Tensor, "concepts 3"]
    indices: Float[Tensor, "done concepts"] = field(repr=False)
    removed: Float[Tensor, "done concepts"] = field(repr=False)
    chance: Float[Tensor, "done concepts draws"] = field(repr=False)
    scores: Float[Tensor, "done 3"] = field(repr=False)
    same_class: Tensor = field(repr=False)
    missed: float
    boxes: Int64[Tensor, "crops 4"] = field(repr=False)
    strips: Float[Tensor, "crops concepts"] = field(repr=False)
    stability: Float[Tensor, " concepts"] = field(repr=False)
    halves: Float[Tensor, " concepts"] = field(repr=False)
    pictures: UInt8[Tensor, "pictures 3 height width"] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    origin: Origin
    checks: tuple[Check, ...] = ()

    def __len__(self) -> int:
        return len(self.bank)

    @property
    def kept(self) -> Float[Tensor, " done"]:
        """The share of each picture's score, counted from zeros at the site, that the concepts keep."""
        whole, rebuilt, nothing = self.scores.T
        share: Tensor = (rebuilt - nothing) / torch.where(whole == nothing, float("nan"), whole - nothing)
        return share

    def best_crops(self, concept: int, most: int = 6) -> list[int]:
        """The crops with most of a concept, at most one of a picture: their numbers among `boxes`."""
        found: list[int] = []
        seen: set[int] = set()
        for i in self.strips[:, concept].argsort(descending=True, stable=True).tolist():
            picture = int(self.boxes[i, 0])
            if picture not in seen and float(self.strips[i, concept]) > 0:
                seen.add(picture)
                found.append(i)
            if len(found) == most:
                break
        return found

    def beats_chance(self) -> list[bool]:
        """Does taking each concept away move the score more than every shuffling of its channels does?"""
        moved, by_chance = self.removed.mean(0).abs(), self.chance.mean(0).abs()
        return [bool(v) for v in moved > by_chance.amax(1)]


def with_card(found: Concepts) -> Concepts:
    """The same with its trust card."""
    return replace(found, checks=(_fidelity(found), _removal(found), *_same_again(found), _reconstruction(found)))


def _fidelity(found: Concepts) -> Check:
    kept = found.kept
    known = kept[kept.isfinite()]
    same = float(found.same_class.double().mean()) if len(found.same_class) else float("nan")
    if not len(known):
        return Check("fidelity", float("nan"), Verdict.UNKNOWN, "The site makes no difference to the score.")
    middle = float(known.quantile(0.5))
    low, high = (float(v) for v in interval(known, median=True))
    holds = FAITHFUL <= middle <= 2 - FAITHFUL and not same < FAITHFUL
    goes = _correlation(found.scores)
    tail = "" if math.isnan(goes) else f"; the scores go with the real ones with a correlation of {goes:.2f}"
    tail += "" if math.isnan(same) else f"; {_share(same)} of the pictures keep their likeliest class"
    why = f"Put together again from the concepts alone, pictures keep {_share(middle)} of their score (median){tail}."
    if not holds:
        why += " The concepts leave out something that the network uses: ask for more of them, or a later site."
    facts = {"same class": same, "correlation": goes}
    return Check(
        "fidelity", middle, Verdict.HOLDS if holds else Verdict.FAILS, why, low, high,
        references=(("enough", FAITHFUL),), each=tuple(kept.tolist()), facts=facts,
    )  # fmt: skip


def _removal(found: Concepts) -> Check:
    beats = found.beats_chance()
    asked = [k for k in range(len(found)) if float(found.importance[k, 0]) >= MATTERS]
    if not asked:
        return Check(
            "removal", float("nan"), Verdict.UNKNOWN, "No concept has a part in the score that is worth a test."
        )
    passed = [k for k in asked if beats[k]]
    share = len(passed) / len(asked)
    which = f": {', '.join(str(k + 1) for k in passed)}" if passed and len(passed) < len(asked) else ""
    why = (
        f"Of the {len(asked)} concepts that matter, {len(passed)} move the score more when taken away than the same "
        f"amount of activation on shuffled channels does, {found.chance.shape[2]} times out of "
        f"{found.chance.shape[2]}{which}."
    )
    verdict = Verdict.HOLDS if share > 0.5 else Verdict.FAILS
    return Check("removal", share, verdict, why, references=(("half", 0.5),))


def _same_again(found: Concepts) -> tuple[Check, Check]:
    starts, half = found.stability, found.halves
    shaky = [str(k + 1) for k in range(len(found)) if float(starts[k]) < ALIKE]
    again = f"Found again from random starts, concepts match with a cosine of {float(starts.mean()):.2f} on average"
    again += f"; {', '.join(shaky)} do not come back as the same." if shaky else "; all come back as the same."
    bound = [str(k + 1) for k in range(len(found)) if float(half[k]) < HALF]
    other = f"Found on one half of the pictures, they match with {float(half.mean()):.2f}"
    other += f"; {', '.join(bound)} belong to some of the pictures only." if bound else "; all are there in both."
    return (
        Check("stability", float(starts.mean()), _mostly(starts, ALIKE), again, references=(("alike", ALIKE),),
              each=tuple(starts.tolist())),
        Check("halves", float(half.mean()), _mostly(half, HALF), other, references=(("alike", HALF),),
              each=tuple(half.tolist())),
    )  # fmt: skip


def _mostly(values: Tensor, enough: float) -> Verdict:
    return Verdict.HOLDS if float((values >= enough).double().mean()) >= FAITHFUL else Verdict.FAILS


def _reconstruction(found: Concepts) -> Check:
    energy = 1 - found.missed**2
    why = (
        f"The concepts make up {_share(energy)} of the squared activations at {found.origin.at}; what they leave out "
        "need not matter to the score, see the first card."
    )
    return Check("reconstruction", energy, Verdict.MEASURED, why)


def _correlation(scores: Tensor) -> float:
    """Between the scores as they are and rebuilt; NaN for fewer than three pictures."""
    return float(torch.corrcoef(scores[:, :2].T)[0, 1]) if len(scores) > 2 else float("nan")


def _share(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
