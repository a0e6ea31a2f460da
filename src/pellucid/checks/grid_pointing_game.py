"""Do maps tell classes apart?  In a mosaic of different classes each class's evidence should lie in its own cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from torch import Tensor
from torch.nn import functional

from pellucid.core.check import Check, Verdict
from pellucid.core.counts import count, were_given
from pellucid.core.counts import count as counted
from pellucid.core.errors import BadInput, PellucidError
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.method import Method, Promise
from pellucid.core.network import Network
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.target import Target, logit
from pellucid.core.tensors import digest
from pellucid.trials.layout import layout_of, score_of
from pellucid.trials.mosaic import Disconnected, Mosaic, arrangements, mosaic
from pellucid.trials.regions import interval_of, mean_of

SEEN = 0.5  # With fewer of the classes recognized in the mosaics, the maps cannot be asked to tell them apart.
REFUSALS = (PellucidError, RuntimeError, ValueError, AssertionError, IndexError, TypeError)


@measure(
    title="Grid pointing game",
    family="localization",
    paper="Boehle et al. 2021, arXiv:2104.00032; Rao et al. 2022, arXiv:2205.10435",
    cost="an explanation of each cell of each mosaic",
)
def grid_pointing_game(
    explanation: Explanation,
    *,
    classes: Sequence[int] | None = None,
    side: Annotated[int, Range(2, 5), "pictures along each side of a mosaic"] = 2,
    mosaics: Annotated[int, Range(1, 1000), "how many mosaics, if there are enough pictures"] = 8,
    sure: Annotated[float, Range(0, 1), "the least probability of its class that a picture must have on its own"] = 0.5,
    cells: Annotated[
        Literal["auto", "whole", "shrunk"],
        "whole pictures side by side, or shrunk to the size of one; auto: whole where the network takes that",
    ] = "auto",
    setting: Annotated[
        Literal["grid", "difull"], "the network as it is, or (DiFull) applied to each cell on its own"
    ] = "grid",
) -> Check:
    """The share, 0..1, of positive evidence that lies in the cell of the class explained; the mean over all cells.

    The explanation's own batch gives the pictures, its method and options the maps: mosaics of `side` x `side` pictures
    of different classes, of which every cell's class is explained.  Chance is 1 / side^2, what an even map gets.
    `classes`: each picture's class; by default those explained, or where one class was explained for all, the
    network's top ones.  `each`: the mean over the cells that a sample lay in, NaN for samples that were not used.

    In the grid a class may rightly be seen in another's cell, so there is no line to pass; UNKNOWN when the network
    names fewer than half of the classes among the mosaics' side^2 likeliest.  With `setting="difull"` (the logits of)
    the network of each cell sees that cell alone: methods that go back to the input then must have a share of exactly
    1 (HOLDS; FAILS is an error in the method), methods that only ask the network are MEASURED, and methods that read
    inner layers or share values out among regions are UNKNOWN, as every cell has layers of its own.  Raises `BadInput`
    for anything but one picture input, a target that is no class, and fewer than side^2 classes that the network is
    sure of; `Missing` when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten())  # class = the brightest color
    >>> x = 9 * torch.eye(4).view(4, 4, 1, 1) * torch.rand(4, 1, 6, 6)
    >>> grid_pointing_game(pl.methods.input_x_gradient(net, x)).value
    1.0
    """
    score = score_of(explanation)
    x, name = _picture(explanation)
    labels = _classes(explanation, score, classes)
    if setting == "difull" and cells == "auto":
        cells = "whole"  # each cell is put in on its own, so it has the size that the network is used to
    made = _mosaics(score, {name: x}, labels, side, mosaics, sure, cells)
    if setting == "difull":
        return _disconnected(explanation, name, labels, made)
    game = _Game(explanation, name, len(x))
    shares = [game.shares(score.net, one, _of(explanation.of, [labels[i] for i in one.samples])) for one in made]
    seen = mean_of([_recognized(score, name, one, labels) for one in made])
    check = game.check(made, shares)
    why = f"{check.why} The network names {seen:.0%} of the classes among the likeliest of their mosaics."
    if seen < SEEN:
        why += " That is too few: it does not see the classes that the maps should tell apart."
    return replace(check, why=why, verdict=Verdict.UNKNOWN if seen < SEEN else check.verdict)


@dataclass(frozen=True, slots=True)
class _Game:
    """The explanation to run again, on mosaics of its input `name` of so many samples."""

    explanation: Explanation
    name: str
    samples: int

    def shares(self, net: Network, one: Mosaic, target: Target) -> list[float]:
        """For each cell, the share of its class's positive evidence inside; NaN where there is no positive value."""
        count = len(one.samples)
        x = {self.name: one.picture.expand(count, *one.picture.shape[1:]).contiguous()}
        again = replace(self.explanation, of=target).rerun(net, x=x, seed=self.explanation.seed)
        values = next(iter(again.maps.values())).detach().cpu().double()
        values = values.abs() if again.by_size else values
        if values.ndim != 4:
            raise BadInput(f"The map is {tuple(values.shape)}, which has no places in the picture.")
        places = values.sum(1, keepdim=True)
        if places.shape[2:] != one.picture.shape[2:]:  # an inner site: its places are drawn large, none is mixed
            places = functional.interpolate(places, one.picture.shape[2:], mode="nearest-exact")
        return [_share(one, p, number) for number, p in enumerate(places[:, 0].clamp(min=0))]

    def check(self, made: Sequence[Mosaic], shares: Sequence[Sequence[float]]) -> Check:
        """The mean over all cells; the interval is by bootstrap over mosaics."""
        chance = 1 / len(made[0].samples)
        own: list[list[float]] = [[] for _ in range(self.samples)]
        for one, found in zip(made, shares, strict=True):
            for i, share in zip(one.samples, found, strict=True):
                own[i].append(share)
        value, each = mean_of([v for found in shares for v in found]), tuple(mean_of(found) for found in own)
        if math.isnan(value):
            why = "No map of a mosaic has a positive value, so they point nowhere."
            return Check("grid_pointing_game", value, Verdict.UNKNOWN, why, each=each)
        low, high = interval_of("grid_pointing_game", [mean_of(found) for found in shares])
        why = (
            f"In {count(len(made), 'mosaic')} of {len(made[0].samples)} pictures each, {value:.0%} "
            f"of the evidence for a class lies in that class's own picture; an even map would have {chance:.0%} there."
        )
        curve = tuple(v for found in shares for v in found)
        return Check(
            "grid_pointing_game", value, Verdict.MEASURED, why, low, high, (("chance", chance),), each,
            (("share of each cell", curve),),
        )  # fmt: skip


def _share(one: Mosaic, places: Tensor, number: int) -> float:
    inside, total = float(one.cell(places, number).sum()), float(places.sum())
    outside = sum(float(one.cell(places, i).sum()) for i in range(len(one.samples)) if i != number)
    return inside / (inside + outside) if total > 0 else math.nan  # exactly 1 when all else is exactly 0


def _picture(explanation: Explanation) -> tuple[Tensor, str]:
    (name, x), *others = explanation.x.items()
    layout = layout_of(explanation.net, explanation.x)
    if others or layout.kind != "picture":
        raise BadInput("Mosaics are made of one picture for each sample; this network was given something else.")
    return x, name


def _classes(explanation: Explanation, score: Score, given: Sequence[int] | None) -> list[int]:
    """Each sample's class."""
    terms, count = explanation.of.terms, len(next(iter(explanation.x.values())))
    if len(terms) != 1 or not explanation.of.classes or terms[0].weight <= 0:
        raise BadInput(f"The target {explanation.of} is no single class, so it has no cell.", "Explain a class.")
    if given is not None:
        if len(given) != count:
            raise BadInput(f"{were_given(len(given), 'class')} for {counted(count, 'picture')}.", "Give one for each.")
        return [int(c) for c in given]
    which = terms[0].args[0]
    if isinstance(which, list | tuple):
        return [int(c) for c in which]
    top: list[int] = score.outside.outputs(explanation.x).argmax(1).tolist()
    return top


def _mosaics(
    score: Score, x: dict[str, Tensor], labels: Sequence[int], side: int, most: int, sure: float, cells: str
) -> list[Mosaic]:
    ((name, pictures),) = x.items()
    chance = score.outside.outputs(x).cpu().double().softmax(1)
    usable = [i for i, c in enumerate(labels) if float(chance[i, c]) >= sure]
    generator = current().generator("grid_pointing_game", digest(pictures))
    chosen = arrangements(labels, usable, side**2, most, generator)
    if not chosen:
        raise BadInput(
            f"A mosaic takes {side**2} pictures of different classes; of the {len(labels)} given, the network is sure "
            f"of {len(usable)} (probability {sure:g}), of {len({labels[i] for i in usable})} classes.",
            "Give more pictures, or a smaller sure.",
        )
    first = mosaic(pictures, chosen[0], shrunk=False)
    shrunk = cells == "shrunk" or (cells == "auto" and not _takes(score, name, first))
    return [mosaic(pictures, samples, shrunk=shrunk) for samples in chosen]


def _takes(score: Score, name: str, one: Mosaic) -> bool:
    """Does the network run on pictures of that size?"""
    try:
        return score.outside.outputs({name: one.picture}).ndim == 2
    except REFUSALS:
        return False


def _of(target: Target, classes: Sequence[int]) -> Target:
    """The same kind of target, of a class for each cell."""
    (term,) = target.terms
    return Target((replace(term, args=(tuple(classes),)),))


def _recognized(score: Score, name: str, one: Mosaic, labels: Sequence[int]) -> float:
    """The share of the mosaic's classes among its likeliest, as many as there are cells."""
    output = score.outside.outputs({name: one.picture})[0]
    top = output.topk(min(len(one.samples), len(output))).indices.tolist()
    return sum(labels[i] in top for i in one.samples) / len(one.samples)


def _disconnected(explanation: Explanation, name: str, labels: Sequence[int], made: Sequence[Mosaic]) -> Check:
    """DiFull: the same game on a network whose answer for a cell is a function of that cell."""
    again, net = explanation.again, score_of(explanation).net
    family = again.family if isinstance(again, Method) else ""
    # Where nothing leads to the other cells, nothing that goes back to the input can arrive there.
    goes_back = isinstance(again, Method) and (Promise.DUMMY in again.promises or family == "relevance")
    if explanation.at or not (goes_back or family in ("perturbation", "coalition")):
        why = f"{explanation.method} reads inner layers or shares values out among regions; each cell has its own."
        return Check("grid_pointing_game", math.nan, Verdict.UNKNOWN, why)
    game, shares = _Game(explanation, name, len(labels)), []
    for one in made:
        twin = Network(Disconnected(net.model, net.output, one.rows, one.columns), inputs=(name,), name=net.name)
        count = Score(twin, logit(0)).outputs({name: one.picture}).shape[1] // len(one.samples)
        target = logit([number * count + labels[i] for number, i in enumerate(one.samples)])
        shares.append(game.shares(twin, one, target))
    check = game.check(made, shares)
    if not goes_back or math.isnan(check.value):
        return check
    exact = all(v == 1 for found in shares for v in found if not math.isnan(v))
    why = check.why + (
        " As the network sees each cell alone, it is all of it, as it must be."
        if exact
        else " As the network sees each cell alone, it must be all of it: the method has an error on this network."
    )
    return replace(check, why=why, verdict=Verdict.HOLDS if exact else Verdict.FAILS)
