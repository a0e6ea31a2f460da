"""DeepDream: a real picture in which a layer sees more and more of what it already sees (Mordvintsev et al. 2015).

From small to large: at each octave the picture, with what was dreamed into it so far, climbs the mean square of the
layer's values, or another target.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.site import Site
from pellucid.core.target import Target, energy
from pellucid.core.tensors import Inputs, as_tensors, batch_size
from pellucid.dream.canvas import canvas_of
from pellucid.dream.dream import Dream
from pellucid.dream.dreaming import dreamed, resized, wish
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
    octaves: int = 4,
    ratio: float = 1.4,
    recipe: Recipe | None = None,
    **knobs: Any,
) -> Dream:
    """Each picture of `x` with more of what the layer `at` sees in it; or of any target.

    Octaves are `ratio` apart in size and end at the picture's own, each with the recipe's steps.  The network must take
    inputs of those sizes (`octaves=1` for one that does not).  Raises `BadInput` when it does not.
    """
    network = net if isinstance(net, Network) else Network(net)
    given = as_tensors(x, network.inputs)
    canvas = canvas_of(network, given)
    if len(canvas.size) != 2:
        raise BadInput(f"DeepDream needs pictures; this input has {len(canvas.size)} spatial axes.")
    of = at if isinstance(at, Target) else energy(at)
    targets, made = [of] * batch_size(given), cooked(recipe, knobs, OCTAVE)
    real = canvas.drawn(given[canvas.input])
    detail: Tensor | None = None
    found: Dream | None = None
    for k in reversed(range(octaves)):
        size = tuple(max(1, round(n / ratio**k)) for n in canvas.size)
        here = resized(real, size)
        begins = here if detail is None else (here + resized(detail, size)).clamp(0, 1)
        asked = wish("deepdream", network, targets, made, like=given, seen_with=real)
        asked = replace(asked, canvas=replace(canvas, size=size, native=size), begins=begins)
        found = dreamed(asked)
        detail = found.pictures - here
        if found.stopped:
            break
    if found is None:
        raise BadInput(f"octaves={octaves}: expected at least 1.")
    return replace(found, facts={"octaves": octaves, "ratio": ratio})
