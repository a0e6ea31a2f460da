"""The loop: paint, look, climb, step.  It can be watched at every step, stopped at any, kept and gone on with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption
from pellucid.core.run import Run, current, running
from pellucid.core.score import Score
from pellucid.core.target import Target
from pellucid.core.tensors import Tensors
from pellucid.dream.ascent import Ascent, runs_at
from pellucid.dream.canvas import Canvas
from pellucid.dream.diversity import apart
from pellucid.dream.parametrizations.cppn import cppn
from pellucid.dream.parametrizations.fourier import fourier
from pellucid.dream.parametrizations.laplacian import laplacian
from pellucid.dream.parametrizations.opacity import PRICE, over, with_opacity
from pellucid.dream.parametrizations.parametrization import Parametrization
from pellucid.dream.parametrizations.phase import phase
from pellucid.dream.parametrizations.pixels import pixels
from pellucid.dream.parametrizations.shared import shared
from pellucid.dream.penalties import charged
from pellucid.dream.recipe import Recipe
from pellucid.dream.smoothing import smoothed
from pellucid.dream.transforms import seen, view_of

WAYS = {"fourier": fourier, "phase": phase, "laplacian": laplacian, "pixels": pixels, "cppn": cppn}
REDIRECTED = 0.25  # of all steps: later, a unit that is still off stays off


@dataclass(frozen=True, slots=True)
class State:
    """Where a dream is after `step` steps: what is moved, the optimizer's memory, the scores so far, `[steps, n]`."""

    step: int
    leaves: Tensors
    moments: Tensors
    scores: Tensor
    best_at: int = 0
    redirected: int = 0
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Painting:
    """What a dream is painted with: canvas, recipe and one key a picture, from which its random numbers follow."""

    canvas: Canvas
    recipe: Recipe
    keys: tuple[str, ...]
    targets: tuple[Target, ...]
    seed: Tensor | None = None
    parametrization: Parametrization = field(init=False)

    def __post_init__(self) -> None:
        generators = [current().generator("dream", key) for key in self.keys]
        self.parametrization = parametrized(self.canvas, self.recipe, generators, self.seed)

    def begun(self) -> State:
        """The state before the first step."""
        empty = torch.empty(0, len(self.keys))
        return State(0, self.parametrization.start, {}, empty)

    def pictures(self, state: State) -> Tensor:
        """The pictures as they are, `[n, channels, *size]` in 0..1; with an opacity, one channel more."""
        with torch.no_grad():
            return self.parametrization.paint(state.leaves)


def parametrized(
    canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator], seed: Tensor | None
) -> Parametrization:
    """The recipe's parametrization, with a common part and an opacity where it asks for them."""
    own = WAYS[recipe.parametrization](canvas, recipe, generators, seed)
    if recipe.shared and canvas.size:
        own = shared(own, canvas, recipe, generators)
    if recipe.opacity:
        if len(canvas.size) != 2:
            raise BadOption(f"An opacity needs a picture; this input has {len(canvas.size)} spatial axes.")
        own = with_opacity(own, canvas, recipe, generators)
    return own


def steps(score: Score, painting: Painting, state: State) -> Iterator[State]:
    """The states after each further step, up to the recipe's; raises `Stopped` from the run's stop before the first.

    `score`'s target gives each picture its own number (`pellucid.core.target.each`).
    """
    recipe, outer = painting.recipe, current()
    with score.leased() as f, running(replace(outer, progress=None, stop=None)) as run:
        ascent = Ascent(f, recipe.redirect)
        notes, early = _early(f, painting)
        state = replace(state, notes=notes)
        optimizer, leaves = _resumed(recipe, state)
        while state.step < recipe.steps and not _settled(recipe, state):
            state = _step(run, ascent, painting, state, optimizer, leaves, early)
            yield state


def _step(
    run: Run, ascent: Ascent, painting: Painting, state: State, optimizer: torch.optim.Optimizer, leaves: Tensors,
    early: Sequence[int],
) -> State:  # fmt: skip
    recipe, canvas, step = painting.recipe, painting.canvas, state.step
    size = early if step < recipe.part * recipe.steps else canvas.native
    optimizer.param_groups[0]["lr"] = recipe.rate * _fade(recipe.schedule, step / recipe.steps)
    optimizer.zero_grad(set_to_none=True)
    with torch.enable_grad():
        drawn = painting.parametrization.paint(leaves)
        scores = drawn.new_zeros(len(drawn))
        for number in range(recipe.crops):
            scores = scores + _look(ascent, painting, drawn, step, number, size)
        _charge(painting, drawn)
    _shape(recipe, leaves)
    optimizer.step()
    with torch.no_grad():
        if recipe.parametrization == "pixels":
            u = leaves["pixels"]
            u.copy_(smoothed(recipe, u, u.grad if u.grad is not None else torch.zeros_like(u), step + 1))
    curve = torch.cat([state.scores, (scores.detach() / recipe.crops).cpu().float()[None]])
    return State(
        step + 1, {k: v.detach().clone() for k, v in leaves.items()}, _moments(optimizer, leaves), curve,
        _best_at(curve, state.best_at), ascent.redirected, state.notes,
    )  # fmt: skip


def _look(ascent: Ascent, painting: Painting, drawn: Tensor, step: int, number: int, size: Sequence[int]) -> Tensor:
    """One view of each picture: its score; its gradient is left in the leaves."""
    recipe, canvas = painting.recipe, painting.canvas
    view = view_of(recipe, painting.keys, len(canvas.size), step, number, (canvas.channels, *size))
    visible = drawn
    if recipe.opacity:
        generators = [current().generator("background", key, step, number) for key in painting.keys]
        visible = over(drawn, _background(canvas, recipe, generators))
    shown = canvas.fed(seen(visible, view, size, tile=recipe.tile))
    rows = torch.arange(len(drawn))
    redirects = step < REDIRECTED * recipe.steps
    held = {k: v.detach() for k, v in shown.items()}
    if recipe.diversity:
        ascent = replace(ascent, score=apart(ascent.score, painting.targets, held, recipe.diversity))
    scores, grad = ascent(held, canvas.input, rows, redirects=redirects)
    if recipe.opacity:
        opaque = drawn[:, -1].flatten(1).mean(1)
        worth = scores.detach().abs() * PRICE
        (worth * opaque / recipe.crops).sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    torch.autograd.backward([shown[canvas.input]], [-grad / recipe.crops], retain_graph=True)
    return scores


def _background(canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator]) -> Tensor:
    """Smooth noise of photographs' colors, a new one for every look."""
    made = fourier(canvas, recipe.but(parametrization="fourier", opacity=False, shared=0.0), generators)
    return made.paint(made.start)


def _charge(painting: Painting, drawn: Tensor) -> None:
    recipe = painting.recipe
    found = charged(recipe, drawn[:, :-1] if recipe.opacity else drawn, painting.seed)
    if found is not None:
        found.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]


def _shape(recipe: Recipe, leaves: Tensors) -> None:
    """Cut each picture's gradient to the longest that is allowed."""
    if not recipe.clip:
        return
    for v in leaves.values():
        if v.grad is not None:
            norm = v.grad.flatten(1).norm(dim=1).clamp_min(1e-12)
            v.grad.mul_((recipe.clip / norm).clamp(max=1).view(-1, *[1] * (v.ndim - 1)))


def _fade(schedule: str, done: float) -> float:
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 0.3 if schedule == "tail" and done >= 0.7 else 1.0


class _Sign(torch.optim.SGD):
    """Steps of one size along the sign of the gradient."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.add_(p.grad.sign(), alpha=-group["lr"])


def _optimizer(name: str, leaves: list[Tensor], rate: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(leaves, lr=rate, momentum=0.9)
    if name == "nadam":
        return torch.optim.NAdam(leaves, lr=rate)
    return _Sign(leaves, lr=rate) if name == "sign" else torch.optim.Adam(leaves, lr=rate)


def _resumed(recipe: Recipe, state: State) -> tuple[torch.optim.Optimizer, Tensors]:
    """The optimizer as it was, on leaves of its own."""
    leaves = {k: v.detach().clone().requires_grad_() for k, v in state.leaves.items()}
    optimizer = _optimizer(recipe.optimizer, list(leaves.values()), recipe.rate)
    for key, value in state.moments.items():
        name, _, moment = key.rpartition(" ")
        optimizer.state[leaves[name]][moment] = value.clone()
    return optimizer, leaves


def _moments(optimizer: torch.optim.Optimizer, leaves: Tensors) -> Tensors:
    found: Tensors = {}
    for name, leaf in leaves.items():
        for moment, value in optimizer.state[leaf].items():
            if value is not None:
                found[f"{name} {moment}"] = torch.as_tensor(value).detach().clone()
    return found


def _best_at(curve: Tensor, before: int) -> int:
    """The step at which any picture last gained: its mean score of eight steps, against the best such before."""
    window = 8
    if len(curve) < 2 * window:
        return len(curve)
    smooth = curve.unfold(0, window, 1).mean(2)
    latest, best = smooth[-1], smooth[:-1].amax(0)
    gained = bool((latest > best + 0.01 * best.abs()).any())
    return len(curve) if gained else before


def _settled(recipe: Recipe, state: State) -> bool:
    return bool(recipe.patience) and state.step - state.best_at >= recipe.patience


def _early(score: Score, painting: Painting) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The size of the first part, where the network takes it."""
    recipe, canvas = painting.recipe, painting.canvas
    size = tuple(max(1, round(n * recipe.early)) for n in canvas.native)
    first = torch.full((1, canvas.channels, *canvas.native), 0.5, dtype=canvas.dtype, device=canvas.device)
    if size == canvas.native or not canvas.size or not recipe.part:
        return (), canvas.native
    small = torch.full((1, canvas.channels, *size), 0.5, dtype=canvas.dtype, device=canvas.device)
    if runs_at(score, canvas.fed(small)):
        return (), size
    if not runs_at(score, canvas.fed(first)):
        raise BadInput(
            f"{score.net.name} does not run on an input of {tuple(first.shape)}.", "Give an example: like=x."
        )
    return ("The network takes inputs of one size, so that the first part is not run on smaller ones.",), canvas.native
