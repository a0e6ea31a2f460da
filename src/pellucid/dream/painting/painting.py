"""What a dream is painted with: canvas, recipe and random numbers; and where it is after so many steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.run import current
from pellucid.core.target import Target
from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.parametrizations.color import bounded
from pellucid.dream.painting.parametrizations.cppn import cppn
from pellucid.dream.painting.parametrizations.fourier import fourier
from pellucid.dream.painting.parametrizations.laplacian import laplacian
from pellucid.dream.painting.parametrizations.opacity import with_opacity
from pellucid.dream.painting.parametrizations.parametrization import Parametrization
from pellucid.dream.painting.parametrizations.phase import phase
from pellucid.dream.painting.parametrizations.pixels import pixels
from pellucid.dream.painting.parametrizations.shared import shared
from pellucid.dream.recipe import Recipe

WAYS = {"fourier": fourier, "phase": phase, "laplacian": laplacian, "pixels": pixels, "cppn": cppn}
NEED_SPACE = ("shared", "total_variation", "blur", "blur_each", "bilateral_each", "small_norm", "small_share")
SMALLEST = 16  # pixels on a side that has a spectrum worth comparing


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
    """What a dream is painted with: canvas, recipe and one key a picture, from which its random numbers follow.

    `begins`: pictures to start from, in 0..1.
    """

    canvas: Canvas
    recipe: Recipe
    keys: tuple[str, ...]
    targets: tuple[Target, ...]
    begins: Tensor | None = None
    parametrization: Parametrization = field(init=False)

    def __post_init__(self) -> None:
        generators = [current().generator("dream", key) for key in self.keys]
        self.parametrization = parametrized(self.canvas, self.recipe, generators, self.begins)

    def begun(self) -> State:
        """The state before the first step."""
        return State(0, self.parametrization.start, {}, torch.empty(0, len(self.keys)))

    def pictures(self, state: State) -> Tensor:
        """The pictures as they are, `[n, channels, *size]` in 0..1; with an opacity, one channel more."""
        with torch.no_grad():
            return self.parametrization.paint(state.leaves)

    def background(self, step: int, number: int) -> Tensor:
        """What is behind see-through pictures: smooth noise of photographs' colors, new at each look `number`."""
        generators = [current().generator("background", key, step, number) for key in self.keys]
        r = self.recipe
        made = fourier(self.canvas, Recipe(decay=r.decay, contrast=r.contrast), generators)
        return bounded(made.paint(made.start), self.canvas, r.decorrelated)


def parametrized(
    canvas: Canvas, recipe: Recipe, generators: Sequence[torch.Generator], begins: Tensor | None = None
) -> Parametrization:
    """The recipe's parametrization in colors, with a common part and an opacity where it asks for them."""
    own = WAYS[recipe.parametrization](canvas, recipe, generators, begins)
    if recipe.shared:
        own = shared(own, canvas, recipe, generators, flat=begins is not None)

    def paint(leaves: Tensors) -> Tensor:
        return bounded(own.paint(leaves), canvas, recipe.decorrelated)

    colored = Parametrization(own.start, paint)
    return with_opacity(colored, canvas, recipe, generators) if recipe.opacity else colored


def refuse_unsuited(recipe: Recipe, canvas: Canvas) -> None:
    """Raise `BadOption` for knobs that mean nothing on this canvas, so that none is turned in vain."""
    axes = len(canvas.size)
    if not axes:
        wrong = next((name for name in NEED_SPACE if getattr(recipe, name)), None)
        if wrong is not None:
            raise BadOption(f"{wrong}={getattr(recipe, wrong):g} needs space, and {canvas.input!r} has none.")
    if recipe.opacity and axes != 2:
        raise BadOption(f"An opacity needs a picture; this input has {axes} spatial axes.")
    if recipe.spectrum and (axes != 2 or min(canvas.size) < SMALLEST):
        raise BadOption(
            f"spectrum={recipe.spectrum:g} compares pictures of at least {SMALLEST} pixels a side with photographs; "
            f"this input is {tuple(canvas.size)}."
        )
