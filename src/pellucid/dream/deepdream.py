"""DeepDream: a real picture in which a layer sees more and more of what it already sees (Mordvintsev et al. 2015).

From small to large: at each octave the picture, with what was dreamed into it so far, climbs the mean square of the
layer's values, or another target.
"""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Annotated, Any

from torch import Tensor, nn

from pellucid.core.errors import BadInput, Stopped
from pellucid.core.explanation import Cost
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.site import Site
from pellucid.core.target import Target, energy
from pellucid.core.tensors import Inputs, as_tensors, batch_size
from pellucid.dream.dream import Dream
from pellucid.dream.painting.canvas import canvas_under
from pellucid.dream.painting.dreaming import Wish, dreamed, resized, wish
from pellucid.dream.recipe import Recipe, cooked

OCTAVE = Recipe(
    parametrization="pixels", optimizer="sign", rate=0.04, steps=12, early=1, decorrelated=False,
    jitter=0.08, shrink=1, zoom=1, rotate=0, noise=0,
)  # fmt: skip


def deepdream(
    net: Network | nn.Module,
    x: Inputs,
    at: str | Site | Target,
    *,
    octaves: Annotated[int, Range(1, 32), "sizes that are gone through"] = 4,
    ratio: Annotated[float, Range(1.01, 8), "how much larger each size is than the one before"] = 1.4,
    recipe: Recipe | None = None,
    **knobs: Any,
) -> Dream:
    """Each picture of `x` with more of what the layer `at` sees in it; or of any target.

    Octaves are `ratio` apart in size and end at the picture's own, each with the recipe's steps.  The network must take
    inputs of those sizes (`octaves=1` for one that does not).  A run that was stopped gives the size it had reached.
    Raises `BadInput` for an input that is no picture, and `BadOption` for values out of range.
    """
    checked(options_of(deepdream, ("octaves", "ratio")), {"octaves": octaves, "ratio": ratio}, "deepdream")
    network = net if isinstance(net, Network) else Network(net)
    given = as_tensors(x, network.inputs)
    canvas = canvas_under(network, given)
    if len(canvas.size) != 2:
        raise BadInput(f"DeepDream needs pictures; this input has {len(canvas.size)} spatial axes.")
    of = at if isinstance(at, Target) else energy(at)
    real = canvas.drawn(given[canvas.input])
    first = wish(
        "deepdream", network, [of] * batch_size(given), cooked(recipe, knobs, OCTAVE), canvas=canvas, begins=real,
        seen_with=real, facts={"octaves": octaves, "ratio": ratio},
    )  # fmt: skip
    return _through(first, real, [tuple(max(1, round(n / ratio**k)) for n in canvas.size) for k in range(octaves)])


def _through(first: Wish, real: Tensor, sizes: list[tuple[int, ...]]) -> Dream:
    """The dream at the last size, the largest, begun at what was dreamed at those before; costs are of all."""
    found: Dream | None = None
    begins, spent, octaves = resized(real, sizes[-1]), Cost(0, 0, 0.0), len(sizes)
    for number, size in enumerate(reversed(sizes), 1):
        here = resized(real, size)
        if found is not None:
            begins = (here + resized(found.pictures - resized(real, found.canvas.size), size)).clamp(0, 1)
        try:
            latest = dreamed(replace(first, canvas=replace(first.canvas, size=size, native=size), begins=begins))
        except Stopped:
            if found is None:
                raise
            return replace(found, stopped=f"after octave {number - 1} of {octaves}", cost=spent)
        spent = Cost(*(a + b for a, b in zip(astuple(spent), astuple(latest.cost), strict=True)))
        found = replace(latest, cost=spent)
        if found.stopped:
            return replace(found, stopped=f"{found.stopped} in octave {number} of {octaves}")
    if found is None:
        raise BadInput("No size was given.")
    return found
