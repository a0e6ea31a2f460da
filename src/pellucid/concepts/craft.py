r"""CRAFT: what a network sees in the pictures of a class, as a few concepts that are found, not named beforehand.

Crops of the pictures give non-negative activations at a site, averaged over space; their factorization $A \approx U W$
has the concepts as the rows of $W$.  A concept's importance is its total Sobol index: how much of the score's variance
it takes part in when all concepts of a picture are dimmed at random, $f((U \odot m) W)$ with f the network behind the
site.  (Fel, Picard, Bethune, Boissin, Vigouroux, Colin, Cadene, Serre 2023, arXiv:2211.10154.)

Good for: a class of which there are a dozen pictures or more.  Where things look alike, the crops of a concept do.
Not for:  sites with negative values, and few pictures: concepts are then those pictures, not the class.  What the
          concepts leave out is not explained; the card says how much that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pellucid.concepts.found import Concepts, with_card
from pellucid.concepts.importance import Worth, interval, rebuilt_from, worth_of
from pellucid.concepts.matching import likeness
from pellucid.concepts.pictures import Gathered, boxes_of, colors, crops_of, gathered
from pellucid.concepts.sites import averaged, by_place, exact, positive_map, values_at
from pellucid.concepts.work import Work, work_on
from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.run import current, running
from pellucid.core.samples import Samples
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import Target
from pellucid.core.tensors import rows
from pellucid.probes.factors import Factors, factorized, weights_on

CROPS = (0.36, 0.6)  # 80 of 224 pixels, the paper's, and larger things
LEAST = 3  # pictures
_BATCH = 32


def craft(
    net: Network | nn.Module,
    data: Samples,
    target: Target | int | str,
    at: Site | str | None = None,
    *,
    concepts: Annotated[int, Range(1, 64), "how many concepts"] = 10,
    crops: Annotated[Sequence[float], "sides of the crops, as shares of a picture's shorter side"] = CROPS,
    designs: Annotated[int, Range(4, 4096), "points of the Sobol design a picture; powers of two fill it best"] = 32,
    starts: Annotated[int, Range(1, 32), "random starts that stability is measured with"] = 3,
) -> Concepts:
    """The concepts that a network has for a class, the most important first, with their trust card.

    `data` are pictures of the class, at least three, of one size.  `at` is a site that holds a map without negative
    values; by default the last module that does.  Concepts that stay empty are left out.  A stopped run has the
    pictures that were finished.  Raises `BadInput`, before heavy work, when the pictures or the site do not fit; the
    error names sites that do.

    >>> import pellucid as pl
    >>> net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
    >>> found = pl.concepts.craft(net, torch.rand(4, 3, 16, 16), 1, concepts=2, designs=8)
    >>> found.bank.shape, found.origin.at
    (torch.Size([2, 6]), '1')
    """
    options: dict[str, Any] = {"concepts": concepts, "designs": designs, "starts": starts}
    checked(options_of(craft, among=options), options, "craft")
    with work_on(net, target) as work:
        x = gathered(work.f, data, LEAST)
        boxes = boxes_of(x, crops)
        site = positive_map(work.f, x.x, at)
        strips = averaged(values_at(work.f, crops_of(x, boxes), site))
        factors = _found(factorized(strips, concepts))
        if (empty := concepts - len(factors.parts)) > 0:
            x = replace(x, notes=(*x.notes, f"{empty} of {concepts} concepts stayed empty and are left out."))
        others = [factorized(strips, concepts, start=i).parts for i in range(starts)]
        halves = [factorized(strips[(boxes[:, 0] % 2 == i).to(strips.device)], concepts).parts for i in (0, 1)]
        bank = _Bank(
            site,
            factors.parts,
            boxes,
            factors.weights,
            torch.stack([likeness(factors.parts, other) for other in others]).mean(0),
            torch.stack([likeness(factors.parts, half) for half in halves]).amin(0),
            {**options, "crops": list(crops)},
        )
        return _measured(work, x, bank)


def applied(found: Concepts, net: Network | nn.Module, data: Samples, target: Target | int | str) -> Concepts:
    """The same concepts on other pictures: where they are there, and what they are worth for the target.

    One picture is enough: its importance is then local, without an interval.  Raises `BadInput` when the concepts are
    of another number of channels than the site holds.
    """
    with work_on(net, target) as work:
        x = gathered(work.f, data)
        site = positive_map(work.f, x.x, found.origin.at)
        options = dict(found.origin.options)
        boxes = boxes_of(x, options["crops"])
        strips = averaged(values_at(work.f, crops_of(x, boxes), site))
        if strips.shape[1] != found.bank.shape[1]:
            raise BadInput(f"{site} has {strips.shape[1]} channels; the concepts are of {found.bank.shape[1]}.")
        parts = found.bank.to(strips)
        bank = _Bank(site, parts, boxes, weights_on(strips, parts), found.stability, found.halves, options)
        return _measured(work, x, bank, keep=True)


def _found(factors: Factors) -> Factors:
    """Without parts that nothing is made of: more were asked for than the activations hold."""
    used = (factors.weights.amax(0) > 0) & (factors.parts.amax(1) > 0)
    return replace(factors, parts=factors.parts[used], weights=factors.weights[:, used])


@dataclass(frozen=True, slots=True)
class _Bank:
    """Concepts at a site, what they were found in, and how surely they would be found again."""

    site: Site
    parts: Float[Tensor, "concepts channels"]
    boxes: Int64[Tensor, "crops 4"]
    strips: Float[Tensor, "crops concepts"]
    stability: Float[Tensor, " concepts"]
    halves: Float[Tensor, " concepts"]
    options: dict[str, Any]


def _measured(work: Work, x: Gathered, bank: _Bank, *, keep: bool = False) -> Concepts:
    """Everything that is measured on pictures, once the concepts are there; with `keep`, in the order they came in."""
    batches = (rows(x.x, i, i + _BATCH) for i in range(0, len(x), _BATCH))
    value = torch.cat(list(values_at(work.f, batches, bank.site)))
    shape = (len(x), *value.shape[2:], len(bank.parts))
    maps = weights_on(by_place(value), bank.parts).view(shape).movedim(-1, 1).contiguous()
    worth = worth_of(work.f, x.x, bank.site, value, maps, bank.parts, bank.options["designs"])
    done, mean = len(worth.scores), worth.indices.mean(0)
    order = torch.arange(len(mean)) if keep else mean.argsort(descending=True, stable=True)
    with running(replace(current(), stop=None)):  # what was finished is put together
        return with_card(_together(work, x, bank, worth, value[:done], maps[:done], order))


def _together(
    work: Work, x: Gathered, bank: _Bank, worth: Worth, value: Tensor, maps: Tensor, order: Tensor
) -> Concepts:
    """The result, its concepts in the given order."""
    f, rebuilt = work.f, rebuilt_from(maps, bank.parts)
    fed = rebuilt.to(x.pixels.dtype)
    seen = rows(x.x, 0, len(value))
    return Concepts(
        bank=bank.parts[order].cpu(),
        maps=maps[:, order].cpu(),
        contributions=_contributions(f, seen, bank.site, fed, maps, bank.parts)[:, order].cpu(),
        importance=torch.stack((worth.indices.mean(0), *interval(worth.indices)), 1)[order],
        indices=worth.indices[:, order],
        removed=worth.removed[:, order],
        chance=worth.chance[:, order],
        scores=worth.scores,
        same_class=_same_class(f, seen, bank.site, fed),
        missed=float((value - rebuilt).norm() / value.norm()),
        boxes=bank.boxes,
        strips=bank.strips[:, order].cpu(),
        stability=bank.stability[order].cpu(),
        halves=bank.halves[order].cpu(),
        pictures=colors(f.net, x.pixels),
        names=x.names,
        origin=work.origin(str(bank.site), bank.options, x.notes),
    )


def _contributions(f: Score, x: dict[str, Tensor], site: Site, rebuilt: Tensor, maps: Tensor, bank: Tensor) -> Tensor:
    """What each concept adds to the score at each place, to first order: its presence times the slope along it."""
    g, _ = f.at(site, x)
    slope = exact(g.grad({str(site): rebuilt})[str(site)])
    return maps * torch.einsum("bchw,kc->bkhw", slope, bank)


def _same_class(f: Score, x: dict[str, Tensor], site: Site, rebuilt: Tensor) -> Tensor:
    """Is the likeliest class the same with the activations put together again?  Empty where there are no classes."""
    g, _ = f.at(site, x)
    before, after = f.outputs(x), g.outputs({str(site): rebuilt})
    return (before.argmax(1) == after.argmax(1)).cpu() if before.ndim == 2 else torch.empty(0, dtype=torch.bool)
