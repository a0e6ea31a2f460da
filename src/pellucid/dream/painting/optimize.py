"""The climb: paint, look, climb, step.  It can be left after any step, kept and gone on with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from pellucid.core.score import Score
from pellucid.core.target import Target, reads_places
from pellucid.core.tensors import Tensors
from pellucid.dream.painting.ascent import Ascent, runs_at
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.optimizer import MEMORIES, moved
from pellucid.dream.painting.painting import Painting, State
from pellucid.dream.painting.parametrizations.opacity import PRICE, over
from pellucid.dream.painting.penalties import charged
from pellucid.dream.painting.smoothing import smoothed
from pellucid.dream.painting.together import charged_together
from pellucid.dream.painting.transforms import seen, view_of
from pellucid.dream.recipe import Recipe

REDIRECTED = 0.25  # of all steps: later, a unit that is still off stays off
WINDOW = 8  # steps whose mean score tells whether a dream still gains


@dataclass(slots=True)
class Climb:
    """A dream on its way: `step` goes one step on, inside of a lease."""

    ascent: Ascent
    painting: Painting
    state: State
    early: tuple[int, ...]

    @property
    def done(self) -> bool:
        """Were all steps gone, or has nothing been gained for as long as the recipe has patience?"""
        return self.state.step >= self.painting.recipe.steps or settled(self.painting.recipe, self.state)

    def step(self) -> State:
        """The state after one more step."""
        painting, before, step = self.painting, self.state, self.state.step
        recipe = painting.recipe
        size = self.early if step < recipe.part * recipe.steps else painting.canvas.native
        leaves = {k: v.detach().requires_grad_() for k, v in before.leaves.items()}
        with torch.enable_grad():
            drawn = painting.parametrization.paint(leaves)
            looks = [_look(self.ascent, painting, drawn, step, number, size) for number in range(recipe.crops)]
            _charge(painting, drawn)
        after, moments = _stepped(recipe, before, {k: v.grad for k, v in leaves.items() if v.grad is not None})
        curve = torch.cat([before.scores, torch.stack(looks).mean(0).cpu().float()[None]])
        best_at = _best_at(curve, before.best_at) if recipe.patience else 0
        self.state = State(step + 1, after, moments, curve, best_at, self.ascent.redirected, before.notes)
        return self.state


def climb(score: Score, painting: Painting, state: State) -> Climb:
    """The climb from a state on.  `score` is leased, and gives each picture its own number (`core.target.each`).

    Raises what the network raises on an input of its own size, and `BadTarget` for what it does not put out.
    """
    early, notes = _early(score, painting)
    ascent = Ascent(score, painting.recipe.redirect, redirected=state.redirected)
    return Climb(ascent, painting, replace(state, notes=notes), early)


def _look(ascent: Ascent, painting: Painting, drawn: Tensor, step: int, number: int, size: Sequence[int]) -> Tensor:
    """One view of each picture: its score; its gradient is left in the leaves."""
    recipe, canvas = painting.recipe, painting.canvas
    view = view_of(recipe, painting.keys, len(canvas.size), step, number, (canvas.channels, *size))
    visible = over(drawn, painting.background(step, number)) if recipe.opacity else drawn
    shown = canvas.fed(seen(visible, view, size, tile=recipe.tile))
    held = {k: v.detach() for k, v in shown.items()}
    redirects = step < REDIRECTED * recipe.steps
    rows = torch.arange(len(drawn))
    tied = recipe.diversity or recipe.alignment
    target = charged_together(ascent.score, painting.targets, held, recipe) if tied else None
    scores, grad = ascent(held, canvas.input, rows, redirects=redirects, target=target)
    if recipe.opacity:
        opaque = drawn[:, -1].flatten(1).mean(1)
        worth = scores.detach().abs() * PRICE
        (worth * opaque / recipe.crops).sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    # as a sum, since torch loads sympy where it is handed a gradient
    (shown[canvas.input] * (-grad / recipe.crops)).sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    return scores


def _charge(painting: Painting, drawn: Tensor) -> None:
    recipe = painting.recipe
    found = charged(recipe, drawn[:, :-1] if recipe.opacity else drawn, painting.begins)
    if found is not None:
        found.sum().backward()  # type: ignore[no-untyped-call]


def _stepped(recipe: Recipe, before: State, grads: Tensors) -> tuple[Tensors, Tensors]:
    """What is moved, and the optimizer's memory, after a step down the gradients."""
    after, moments = dict(before.leaves), dict(before.moments)
    rate = recipe.rate * faded(recipe.schedule, before.step / recipe.steps)
    with torch.no_grad():
        for name, grad in grads.items():
            memory = {k: before.moments[f"{name} {k}"] for k in MEMORIES if f"{name} {k}" in before.moments}
            x, kept = moved(
                recipe.optimizer, rate, before.step + 1, before.leaves[name], shortened(grad, recipe.clip), memory
            )
            after[name] = smoothed(recipe, x, grad, before.step + 1) if name == "pixels" else x
            moments |= {f"{name} {k}": v for k, v in kept.items()}
    return after, moments


def shortened(grad: Tensor, longest: float) -> Tensor:
    """Each picture's gradient, cut to the longest that is allowed; 0 allows any."""
    if not longest:
        return grad
    norm = grad.flatten(1).norm(dim=1).clamp_min(1e-12)
    share: Tensor = (longest / norm).clamp(max=1)
    return grad * share.view(-1, *[1] * (grad.ndim - 1))


def faded(schedule: str, done: float) -> float:
    """The share of the rate that is left when `done` of the steps, 0..1, are gone."""
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 0.3 if schedule == "tail" and done >= 0.7 else 1.0


def _best_at(curve: Tensor, before: int) -> int:
    """The step at which any picture last gained: its mean score of eight steps, against the best such before."""
    if len(curve) < 2 * WINDOW:
        return len(curve)
    smooth = curve.unfold(0, WINDOW, 1).mean(2)
    latest, best = smooth[-1], smooth[:-1].amax(0)
    gained = bool((latest > best + 0.01 * best.abs()).any())
    return len(curve) if gained else before


def settled(recipe: Recipe, state: State) -> bool:
    """Has nothing been gained for as long as the recipe has patience?"""
    return bool(recipe.patience) and state.step - state.best_at >= recipe.patience


def _early(score: Score, painting: Painting) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The size of the first part, where the network takes it and the targets mean the same there; and what to say.

    One pass at the network's own size shows beforehand what is wrong with the network or any of the targets.
    """
    canvas, recipe = painting.canvas, painting.recipe
    asked = replace(score, target=reduce(Target.__add__, painting.targets))
    with torch.no_grad():
        asked.scored(canvas.fed(_grey(canvas, canvas.native)), torch.zeros(1, dtype=torch.long))
    size = tuple(max(1, round(n * recipe.early)) for n in canvas.native)
    if size == canvas.native or not recipe.part:
        return canvas.native, ()
    if any(reads_places(t) for t in painting.targets):
        why = "The target speaks of places, which are others on smaller inputs"
    elif getattr(score.net.model, "takes", None):  # a file that may hold what was worked out for that size: padding
        why = "The file states inputs of one size"
    elif runs_at(asked, canvas.fed(_grey(canvas, size))):
        return size, ()
    else:
        why = "The network takes inputs of one size"
    return canvas.native, (f"{why}: the first part is not run on smaller ones.",)


def _grey(canvas: Canvas, size: Sequence[int]) -> Tensor:
    return torch.full((1, canvas.channels, *size), 0.5, dtype=canvas.dtype, device=canvas.device)
