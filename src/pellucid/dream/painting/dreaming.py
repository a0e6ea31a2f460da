"""From a wish to a dream: what every kind of dream has in common, watched step by step or run to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.ending import named
from pellucid.core.errors import BadInput, BadModel, BadOption, Stopped
from pellucid.core.explanation import Cost
from pellucid.core.method import versions_used
from pellucid.core.network import Network
from pellucid.core.run import Meter, Run, current, running
from pellucid.core.score import Score
from pellucid.core.spelled import tensors_in
from pellucid.core.target import Target, each
from pellucid.core.tensors import Inputs, digest, finite
from pellucid.dream.dream import Dream
from pellucid.dream.painting.canvas import Canvas, canvas_of, device_of
from pellucid.dream.painting.optimize import climb, settled
from pellucid.dream.painting.painting import Painting, State, refuse_unsuited
from pellucid.dream.painting.together import site_of
from pellucid.dream.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be dreamed, before any step: `targets` one a picture, `begins` pictures to start from, in 0..1.

    `seed`: of a dream that is gone on with; any other's is the run's.
    """

    what: str
    net: Network
    targets: tuple[Target, ...]
    canvas: Canvas
    recipe: Recipe
    begins: Tensor | None = None
    seen_with: Tensor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """One a picture, whatever other pictures are dreamed beside it; equal targets are told apart by number."""
        said = [" ".join([str(t), *map(digest, tensors_in(t))]) for t in self.targets]
        return tuple(f"{text} {said[:i].count(text)}" for i, text in enumerate(said))


def wish(
    what: str,
    net: Network | nn.Module,
    targets: Target | Sequence[Target],
    recipe: Recipe,
    *,
    like: Inputs | None = None,
    size: int | None = None,
    canvas: Canvas | None = None,
    begins: Tensor | None = None,
    seen_with: Tensor | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Wish:
    """A wish, checked: raises `BadInput`, `BadTarget` or `BadOption` for what cannot be dreamed, before any step."""
    network = net if isinstance(net, Network) else Network(net)
    asked = (targets,) if isinstance(targets, Target) else tuple(targets)
    if not asked:
        raise BadOption("Nothing was asked for.", "Give a target: pl.channel(site, 12).")
    canvas = canvas or canvas_of(network, like, size)
    refuse_unsuited(recipe, canvas)
    if recipe.diversity or recipe.alignment:
        site_of(asked)
    if begins is None and recipe.stay:
        raise BadOption(f"stay={recipe.stay:g} holds a dream near the picture it began at; none was given.", "begins=x")
    if begins is not None:
        begins = _fitting(begins, canvas, len(asked))
    blank = canvas.fed(torch.zeros(1, canvas.channels, *canvas.size, dtype=canvas.dtype, device=canvas.device))
    asked = tuple(named(t, network, blank) for t in asked)
    return Wish(what, network, asked, canvas, recipe, begins, seen_with, facts or {})


def _fitting(begins: Tensor, canvas: Canvas, count: int) -> Tensor:
    shape = (canvas.channels, *canvas.size)
    if tuple(begins.shape[1:]) != shape or len(begins) not in (1, count):
        raise BadInput(f"The picture to begin at is {tuple(begins.shape)}, expected {(count, *shape)}.")
    if not finite(begins) or float(begins.min()) < -0.01 or float(begins.max()) > 1.01:
        least, most = float(begins.min()), float(begins.max())
        raise BadInput(
            f"The picture to begin at goes from {least:.3g} to {most:.3g}; expected colors from 0 to 1.",
            "pl.dream.nudge and pl.dream.deepdream take pictures as the network does.",
        )
    return begins.expand(count, *shape).to(dtype=canvas.dtype, device=canvas.device)


def dreamed(asked: Wish, state: State | None = None) -> Dream:
    """The dream at its end, or as far as it came when it was stopped; raises `Stopped` before the first step."""
    making = _Making(asked, current(), state)
    while making.step():
        pass
    return making.ended()


def watched(asked: Wish, state: State | None = None) -> Iterator[Dream]:
    """The dream after every step; the last one has its final scores.  Stopping is asked for through the run.

    Between the steps nothing is held: no lock, no run, no random state.
    """
    making = _Making(asked, current(), state)
    while making.step():
        if not making.climb.done:
            yield making.told()
    yield making.ended()


class _Making:
    """A dream that is being made under a run, step by step."""

    def __init__(self, asked: Wish, run: Run, state: State | None) -> None:
        self.asked, self.since, self.stopped = asked, time.monotonic(), ""
        self.outer = run if asked.seed is None else replace(run, seed=asked.seed)
        self.run = replace(self.outer, meter=Meter(), progress=None, stop=None)
        self.model: nn.Module | None = None
        run.checkpoint()
        with self.inside() as model:
            self.painting = Painting(asked.canvas, asked.recipe, asked.keys, asked.targets, asked.begins)
            self.score = Score(asked.net, each(asked.targets), model=model)
            self.climb = climb(self.score, self.painting, state or self.painting.begun())
        self.begun = self.climb.state.step

    @contextmanager
    def inside(self) -> Iterator[nn.Module]:
        """Under the dream's own run, with the network's lease, which is the same at every step."""
        with running(self.run), self.asked.net.lease(self.model, self.climb.state.step if self.model else 0) as model:
            self.model = model
            yield model

    def step(self) -> bool:
        """Go a step on, unless the end is reached or somebody pressed stop."""
        if self.climb.done:
            return False
        if self.outer.stopping():
            self.stopped = f"after {self.climb.state.step} of {self.asked.recipe.steps} steps"
            return False
        with self.inside():
            state = self.climb.step()
        if not finite(state.scores[-1]):
            raise BadModel(
                f"At step {state.step} the score of {self.asked.net.name} is NaN or infinite.", "Use a smaller rate."
            )
        self.outer.report("steps", state.step, self.asked.recipe.steps, self.since)
        return True

    def ended(self) -> Dream:
        """The dream with its final scores; raises `Stopped` when no step was gone."""
        if self.climb.state.step == self.begun:
            raise Stopped("Stopped before the first step.", "Run it again to get a dream.")
        with self.inside():
            final = _final(self.score, self.asked, self.painting, self.climb.state)
        self.outer.meter.add(self.run.meter)
        return replace(self.told(), scores=final)

    def told(self) -> Dream:
        """The dream as it is, its scores those of the latest step."""
        asked, state, meter = self.asked, self.climb.state, self.run.meter
        drawn = self.painting.pictures(state)
        if not finite(drawn):
            raise BadModel(f"The dream of {asked.net.name} went to NaN or infinity.", "Use a smaller rate.")
        opacity = drawn[:, -1:] if asked.recipe.opacity else None
        return Dream(
            what=asked.what, pictures=drawn[:, :-1] if opacity is not None else drawn, opacity=opacity,
            targets=asked.targets, words=tuple(t.describe(asked.net) for t in asked.targets),
            scores=tuple(state.scores[-1].tolist()), recipe=asked.recipe, canvas=asked.canvas, state=state,
            keys=asked.keys, begun_at=asked.begins, seed=self.run.seed, network=asked.net.name,
            source=asked.net.source, versions=versions_used(),
            cost=Cost(meter.forwards, meter.backwards, time.monotonic() - self.since), stopped=self.stopped,
            notes=self.notes(), facts=asked.facts, seen_with=asked.seen_with, net=asked.net,
        )  # fmt: skip

    def notes(self) -> tuple[str, ...]:
        """What the reader must know of how it was made."""
        state, recipe = self.climb.state, self.asked.recipe
        early = settled(recipe, state) and state.step < recipe.steps
        gained = f"Nothing was gained in {recipe.patience} steps, so it ended after {state.step} of {recipe.steps}."
        return (*self.asked.net.notes, *state.notes, *((gained,) if early else ()))


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
    if not smooth and all(new <= old for new, old in zip(size, pictures.shape[2:], strict=True)):
        return nn.functional.interpolate(pictures, tuple(size), mode="area")
    return nn.functional.interpolate(pictures, tuple(size), mode=mode, align_corners=False, antialias=smooth)


def gone_on(dream: Dream, net: Network | nn.Module | None, steps: int) -> tuple[Wish, State]:
    """The wish of a dream that is to be gone on with, for so many more steps, and the state to go on from."""
    network = dream.net if net is None else (net if isinstance(net, Network) else Network(net))
    if network is None:
        raise BadInput("The dream came from a file, without its network.", "Give it: pl.dream.resume(dream, net).")
    if network.fingerprint != dream.fingerprint:
        raise BadModel(
            f"{network.name} has other weights than the {dream.network} that was dreamed of.", "Open that one."
        )
    if not dream.state.leaves:
        raise BadInput(f"A picture made by pl.dream.{dream.what} cannot be gone on with.", "Make it again.")
    if steps < 1:
        raise BadOption(f"steps={steps}: expected at least 1.", "steps is: how many more steps.")
    device = device_of(network)
    recipe = dream.recipe.but(steps=dream.state.step + steps)
    begins, seen_with = (v if v is None else v.to(device) for v in (dream.begun_at, dream.seen_with))
    asked = Wish(
        dream.what, network, dream.targets, dream.canvas.to(device), recipe, begins, seen_with, dream.facts, dream.seed
    )
    state = dream.state if dream.stopped else replace(dream.state, best_at=dream.state.step)
    leaves, moments = ({k: v.to(device) for k, v in part.items()} for part in (state.leaves, state.moments))
    return asked, replace(state, leaves=leaves, moments=moments)
