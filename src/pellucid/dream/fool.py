"""Fooling pictures: a change that nobody sees and that turns the answer (Szegedy et al. 2013).

Projected gradient ascent (Madry et al. 2018) on the target, within a small distance of the picture.  No explanation of
anything: a measure of how little it takes, and what a dream must be told apart from.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn

from pellucid.core.ending import named
from pellucid.core.explanation import Cost
from pellucid.core.method import versions_used
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.run import Meter, Run, current, running
from pellucid.core.score import Score
from pellucid.core.target import Target, log_odds
from pellucid.core.tensors import Inputs, as_tensors, batch_size
from pellucid.dream.dream import Dream
from pellucid.dream.painting.canvas import Canvas, canvas_under
from pellucid.dream.painting.dreaming import wish
from pellucid.dream.painting.painting import State
from pellucid.dream.recipe import Recipe


def fool(
    net: Network | nn.Module,
    x: Inputs,
    target: Target | int | str,
    *,
    radius: Annotated[float, Range(1e-6, 1), "largest change of any value, in units of the input's range"] = 4 / 255,
    steps: Annotated[int, Range(1, 10_000), "gradient passes"] = 20,
) -> Dream:
    """Each picture of `x` with a change of at most `radius` a value that raises the target the most it can find.

    A class is raised by its log-odds.  `seen_with` are the pictures as they were.  Raises `BadOption` for a radius or a
    number of steps out of range.

    >>> import torch
    >>> found = fool(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), torch.rand(1, 3, 2, 2), 1)
    >>> float((found.pictures - found.seen_with).abs().max()) <= 4 / 255 + 1e-6
    True
    """
    checked(options_of(fool), {"radius": radius, "steps": steps}, "fool")
    network, outer = net if isinstance(net, Network) else Network(net), current()
    given, since = as_tensors(x, network.inputs), time.monotonic()
    outer.checkpoint()
    of = named(target if isinstance(target, Target) else log_odds(target), network, given)
    canvas = canvas_under(network, given)
    real = canvas.drawn(given[canvas.input])
    with running(replace(outer, meter=Meter(), progress=None, stop=None)) as run, network.lease() as model:
        score = Score(network, of, model=model)
        found, curve = _climbed(score, canvas, real, radius, steps, outer)
        final = tuple(score(canvas.fed(found)).tolist())
    outer.meter.add(run.meter)
    asked = wish("fool", network, [of] * batch_size(given), Recipe(steps=steps), canvas=canvas)
    return Dream(
        what="fool", pictures=found, opacity=None, targets=asked.targets,
        words=tuple(t.describe(network) for t in asked.targets), scores=final, recipe=asked.recipe, canvas=canvas,
        state=State(len(curve), {}, {}, curve), keys=asked.keys, begun_at=real, seed=run.seed, network=network.name,
        source=network.source, versions=versions_used(),
        cost=Cost(run.meter.forwards, run.meter.backwards, time.monotonic() - since),
        stopped="" if len(curve) == steps else f"after {len(curve)} of {steps} steps", notes=network.notes,
        facts={"radius": radius}, seen_with=real, net=network,
    )  # fmt: skip


def _climbed(
    score: Score, canvas: Canvas, real: Tensor, radius: float, steps: int, outer: Run
) -> tuple[Tensor, Tensor]:
    """The best picture that was met, and the scores on the way; fewer than `steps` when it was stopped."""
    since = time.monotonic()
    here, best, curve = real, real, list[Tensor]()
    most = score(canvas.fed(real))
    for step in range(steps):
        if curve and outer.stopping():
            break
        drawn = here.detach().requires_grad_()
        grads = score.grad(canvas.fed(here))[canvas.input]
        with torch.enable_grad():
            (up,) = torch.autograd.grad((canvas.fed(drawn)[canvas.input] * grads).sum(), drawn)
        here = (here + 2.5 * radius / steps * up.sign()).clamp(real - radius, real + radius).clamp(0, 1)
        now = score(canvas.fed(here))
        curve.append(now.cpu().float())
        better = now > most
        best = torch.where(better.view(-1, *[1] * (real.ndim - 1)), here, best)
        most = torch.where(better, now, most)
        outer.report("steps", step + 1, steps, since)
    return best, torch.stack(curve)
