"""What natural inputs do to a dream's targets, and to the units on the way: one pass over them for a whole batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.answer import ask
from pellucid.core.counts import count
from pellucid.core.errors import BadInput
from pellucid.core.run import current
from pellucid.core.samples import Collection, Samples
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors
from pellucid.dream.dream import Dream
from pellucid.dream.painting.dreaming import resized
from pellucid.trials.route import channel_means, network_of, route_of

FEWEST = 24  # below that, neither a mean nor a maximum says much
_AHEAD = 64  # samples read at a time
GIVE = "Give natural pictures: natural=pl.pictures(net, folder)."


@dataclass(frozen=True, slots=True)
class Naturals:
    """`scores [n, targets]`: each target for each natural input; `at`: channels' means `[n, channels]` by site.

    `names`: what the inputs are called.  `skipped`: those that could not be read, with why.
    """

    scores: Float[Tensor, "n targets"]
    at: Mapping[Site, Float[Tensor, "n channels"]]
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def mean(self) -> Float[Tensor, " targets"]:
        """Each target's mean."""
        return self.scores.mean(0)

    @property
    def best(self) -> Float[Tensor, " targets"]:
        """Each target's largest value."""
        return self.scores.amax(0)


Natural: TypeAlias = Samples | Collection | Naturals


def naturals(dream: Dream, natural: Natural, *, features: bool = True) -> Naturals:
    """Run the dream's network on natural inputs, all targets at once; what was run before is returned as it is.

    `features`: also the channels' means on the way to each target, and at the last site before the output.  It takes
    as many passes as there are inputs, and keeps a number for each input, channel and site.  Raises `BadInput` when
    inputs are of another size than the network's own, or fewer than 24.
    """
    if isinstance(natural, Naturals):
        return natural
    net = network_of(dream)
    collection = natural if isinstance(natural, Collection) else Collection(net, natural)
    sites = wanted(dream) if features else ()
    read = list[int]()

    def batches() -> Iterator[Tensors]:
        for numbers, x in collection.batches(_AHEAD):
            read.extend(numbers)
            yield _as_dreamed(dream, x)

    found = list(_answers(dream, batches(), sites))
    scores = torch.cat([f["scores"] for f in found])
    if len(scores) < FEWEST:  # that few were given, or somebody pressed stop
        raise BadInput(
            f"{count(len(scores), 'natural input is', 'natural inputs are')} too few: at least {FEWEST} are needed.",
            "Give more of them.",
        )
    return Naturals(
        scores,
        {s: torch.cat([f[str(s)] for f in found]) for s in sites},
        tuple(collection.name(i) for i in read[: len(scores)]),
        tuple(collection.skipped.values()),
    )


def dreamed_at(dream: Dream, pictures: Tensor, sites: tuple[Site, ...]) -> dict[Site, Tensor]:
    """The channels' means `[n, channels]` at sites for pictures of the dream's canvas."""
    if not sites:
        return {}
    x = dream.canvas.fed(resized(pictures, dream.canvas.native))
    found = next(_answers(dream, iter([x]), sites, scored=False))
    return {s: found[str(s)] for s in sites}


def wanted(dream: Dream) -> tuple[Site, ...]:
    """Every site on the way to any of the targets, and the last one before the output, once each."""
    route = route_of(network_of(dream), dream.canvas)
    last = () if route.last is None else (route.last,)
    return tuple(dict.fromkeys((*(s for t in dream.targets for s in route.to(t)), *last)))


def _answers(
    dream: Dream, batches: Iterator[Tensors], sites: tuple[Site, ...], *, scored: bool = True
) -> Iterator[Tensors]:
    net = network_of(dream)
    targets = dream.targets if scored else ()
    read = tuple(dict.fromkeys(s for t in targets for s in t.sites))
    whole = any(t.whole or not t.sites for t in targets)

    def one(f: Score, x: Tensors, rows: Tensor) -> Tensors:
        if f.model is None:
            raise RuntimeError("Natural inputs run inside `leased`.")
        current().meter.forwards += len(rows)
        answer = ask(f.net, f.model, x, sites=(*read, *(s for s in sites if s not in read)), rows=rows, whole=whole)
        found = {str(s): channel_means(answer.at[s], net).float().cpu() for s in sites}
        if targets:
            found["scores"] = torch.stack([t.of(answer) for t in targets], 1).float().cpu()
        return found

    return Score(net, dream.targets[0]).passes(batches, one, "natural pictures")


def _as_dreamed(dream: Dream, x: Tensors) -> Tensors:
    """Natural inputs on the dream's device and in its precision, refused where their size differs."""
    canvas = dream.canvas
    given = x.get(canvas.input)
    if given is None or tuple(given.shape[2:]) != canvas.native or given.shape[1] != canvas.channels:
        shape = None if given is None else tuple(given.shape[1:])
        raise BadInput(
            f"The natural inputs are {shape}, the dream's network takes {(canvas.channels, *canvas.native)}.",
            "Prepare them as the network wants them: net.read, pl.pictures.",
        )
    held = {k: v[:1].expand(len(given), *v.shape[1:]) for k, v in canvas.others.items() if k not in x}
    mine = {k: v.to(canvas.device, canvas.takes) if v.is_floating_point() else v for k, v in x.items()}
    return {**mine, **held}
