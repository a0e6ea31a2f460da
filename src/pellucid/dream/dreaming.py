"""From a wish to a dream: what every kind of dream has in common, watched step by step or run to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel, BadOption, Stopped
from pellucid.core.explanation import Cost
from pellucid.core.method import versions_used
from pellucid.core.network import Network
from pellucid.core.run import Meter, current, running
from pellucid.core.score import Score
from pellucid.core.target import Target, each
from pellucid.core.tensors import Inputs, finite
from pellucid.dream.canvas import Canvas, canvas_of
from pellucid.dream.dream import Dream
from pellucid.dream.optimize import Painting, State, steps
from pellucid.dream.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be dreamed, before any step: `targets` one a picture, `begins` pictures to start from, in 0..1."""

    what: str
    net: Network
    targets: tuple[Target, ...]
    canvas: Canvas
    recipe: Recipe
    begins: Tensor | None = None
    seen_with: Tensor | None = None
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """One a picture, whatever other pictures are dreamed beside it; equal targets are told apart by number."""
        said = [str(t) for t in self.targets]
        return tuple(f"{text} {said[:i].count(text)}" for i, text in enumerate(said))


def wish(
    what: str,
    net: Network | nn.Module,
    targets: Target | Sequence[Target],
    recipe: Recipe,
    *,
    like: Inputs | None = None,
    size: int | None = None,
    begins: Tensor | None = None,
    seen_with: Tensor | None = None,
) -> Wish:
    """A wish, checked: raises `BadInput`, `BadTarget` or `BadOption` for what cannot be dreamed, before any step."""
    network = net if isinstance(net, Network) else Network(net)
    asked = (targets,) if isinstance(targets, Target) else tuple(targets)
    if not asked:
        raise BadOption("Nothing was asked for.", "Give a target: pl.channel(site, 12).")
    canvas = canvas_of(network, like, size)
    if begins is None and recipe.stay:
        raise BadOption(f"stay={recipe.stay:g} holds a dream near the picture it began at; none was given.", "begins=x")
    if begins is not None:
        begins = _fitting(begins, canvas, len(asked))
    return Wish(what, network, tuple(t.named(network) for t in asked), canvas, recipe, begins, seen_with)


def _fitting(begins: Tensor, canvas: Canvas, count: int) -> Tensor:
    shape = (canvas.channels, *canvas.size)
    if tuple(begins.shape[1:]) != shape or len(begins) not in (1, count):
        raise BadInput(f"The picture to begin at is {tuple(begins.shape)}, expected {(count, *shape)}.")
    return begins.expand(count, *shape).to(dtype=canvas.dtype, device=canvas.device)


def dreamed(asked: Wish, state: State | None = None) -> Dream:
    """The dream at its end, or as far as it came when it was stopped; raises `Stopped` before the first step."""
    last: Dream | None = None
    for dream in watched(asked, state):
        last = dream
    if last is None:
        raise Stopped("Stopped before the first step.", "Run it again to get a dream.")
    return last


def watched(asked: Wish, state: State | None = None) -> Iterator[Dream]:
    """The dream after every step; the last one has its final scores.  Stopping is asked for through the run."""
    since, run = time.monotonic(), current()
    meter = Meter()
    with running(replace(run, meter=meter)), asked.net.lease() as model:
        painting = Painting(asked.canvas, asked.recipe, asked.keys, asked.targets, asked.begins)
        score = Score(asked.net, each(asked.targets), model=model)
        here = state or painting.begun()
        going = steps(score, painting, here)
        stopped = ""
        while True:
            if run.stopping():
                stopped = f"after {here.step} of {asked.recipe.steps} steps"
                break
            following = next(going, None)
            if following is None:
                break
            here = following
            run.report("steps", here.step, asked.recipe.steps, since)
            if here.step < asked.recipe.steps:
                yield _told(asked, painting, here, meter, since, "", run.seed)
        if here.step == (state.step if state is not None else 0):
            return
        final = _final(score, asked, painting, here)
        told = _told(asked, painting, here, meter, since, stopped, run.seed)
    run.meter.add(meter)
    yield replace(told, scores=final)


def _told(asked: Wish, painting: Painting, state: State, meter: Meter, since: float, stopped: str, seed: int) -> Dream:
    drawn = painting.pictures(state)
    if not finite(drawn):
        raise BadModel(f"The dream of {asked.net.name} went to NaN or infinity.", "Use a smaller rate.")
    opacity = drawn[:, -1:] if asked.recipe.opacity else None
    latest = state.scores[-1] if len(state.scores) else torch.full((len(asked.targets),), torch.nan)
    return Dream(
        what=asked.what, pictures=drawn[:, :-1] if opacity is not None else drawn, opacity=opacity,
        targets=asked.targets, words=tuple(t.describe(asked.net) for t in asked.targets),
        scores=tuple(latest.tolist()), recipe=asked.recipe, canvas=asked.canvas, state=state, keys=asked.keys,
        begun_at=asked.begins, seed=seed, network=asked.net.name, source=asked.net.source, versions=versions_used(),
        cost=Cost(meter.forwards, meter.backwards, time.monotonic() - since), stopped=stopped,
        notes=(*asked.notes, *asked.net.notes, *state.notes), seen_with=asked.seen_with, net=asked.net,
    )  # fmt: skip


def _final(score: Score, asked: Wish, painting: Painting, state: State) -> tuple[float, ...]:
    """Each picture's target without any transform, at the network's own size."""
    pictures = painting.pictures(state)
    pictures = pictures[:, :-1] if asked.recipe.opacity else pictures
    with running(replace(current(), progress=None, stop=None)):
        return tuple(score(asked.canvas.fed(resized(pictures, asked.canvas.native))).tolist())


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """The pictures at another size, bilinear, averaged over areas where they are larger."""
    if tuple(pictures.shape[2:]) == tuple(size):
        return pictures
    modes = {1: "linear", 2: "bilinear", 3: "trilinear"}
    mode = modes[len(size)]
    smooth = len(size) == 2
    return nn.functional.interpolate(pictures, tuple(size), mode=mode, align_corners=False, antialias=smooth)


def gone_on(dream: Dream, net: Network | nn.Module | None, steps: int) -> Wish:
    """The wish of a dream that is to be gone on with, for so many more steps."""
    network = dream.net if net is None else (net if isinstance(net, Network) else Network(net))
    if network is None:
        raise BadInput("The dream came from a file, without its network.", "Give it: pl.dream.resume(dream, net).")
    if network.fingerprint != dream.fingerprint:
        raise BadModel(
            f"{network.name} has other weights than the {dream.network} that was dreamed of.", "Open that one."
        )
    recipe = dream.recipe.but(steps=dream.state.step + steps)
    return Wish(dream.what, network, dream.targets, dream.canvas, recipe, dream.begun_at, dream.seen_with)
