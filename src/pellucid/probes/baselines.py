"""Where paths begin: one value everywhere, the input out of focus, noise, what another input gives; several averaged.

No beginning is neutral.  What stands at the input's own value there gets no share, so a black baseline is blind to
black.  Several, averaged, are blind to less.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

import torch
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption
from pellucid.core.option import Range
from pellucid.core.replaced import IDS
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, each
from pellucid.probes.fills import stand_in
from pellucid.probes.path import constant
from pellucid.probes.segments import places_of

Constant: TypeAlias = Annotated[float, Range(-1e6, 1e6), "value of every prepared input where the path begins"]
Start: TypeAlias = Annotated[
    Literal["constant", "blur", "noise", "input"],
    "where the path begins: the constant, the sample out of focus, uniform noise over its range (five draws are "
    "averaged), or at an inner site what the constant as the network's input gives there",
]
Baselines: TypeAlias = Annotated[
    Tensor | None,
    "instead, beginnings of your own to average over: [n, ...], like samples (at an inner site, also like inputs)",
]
Token: TypeAlias = Annotated[
    int | None,
    Range(0, 10_000_000),
    "instead, the number of a token of the model's vocabulary ([MASK], padding) whose embedding stands for no word",
]
DRAWS = 5  # of noise


def starts(
    f: Score, x: Tensors, baseline: float = 0.0, start: str = "constant", baselines: Tensor | None = None
) -> list[Tensors]:
    """The beginnings of the paths to `x`, each for the whole batch.

    Raises `BadOption` when the baselines fit nothing, and when a table is to be blurred.
    """
    if baselines is not None:
        return _given(f, x, baseline, baselines)
    if start == "input" and f.inner is not None:
        return [_through(f, constant(f.inner.given, baseline))]
    if start == "blur":
        return [x | {k: _blurred(f, k, v) for k, v in x.items() if v.is_floating_point()}]
    if start == "noise":
        return [_noise(x, draw) for draw in range(DRAWS)]
    return [constant(x, baseline)]


def of_token(f: Score, x: Tensors, token: int) -> Tensors:
    """What the embedding gives with one token in the place of every other; inputs that are no text stay as they are.

    Raises `BadOption` when no text is explained, and when the table has no such token.
    """
    if not f.embedded or f.inner is not None:
        raise BadOption(f"token={token}: no text is explained here.", "Use baseline for inputs that are numbers.")
    ids = {k: v for k, v in x.items() if k not in f.embedded}
    ids |= {k + IDS: torch.full_like(ids[k + IDS], token) for k in f.embedded}
    given, sites = {k.removesuffix(IDS): v for k, v in ids.items()}, f.embedded
    try:
        found = replace(f, embedded={}).values(given, *sites.values())
    except (BadInput, IndexError) as error:
        raise BadOption(f"token={token}: the embedding's table ends before it.", "Choose a smaller number.") from error
    return x | {k: found[site] for k, site in sites.items()}


def _given(f: Score, x: Tensors, baseline: float, baselines: Tensor) -> list[Tensors]:
    """Beginnings from the user's tensor, which belongs to the one input that it fits."""
    shape = tuple(baselines.shape[1:])
    if baselines.ndim < 2 or not len(baselines) or not baselines.is_floating_point():
        raise BadOption(f"baselines is {tuple(baselines.shape)} of {baselines.dtype}; expected floats, [n, ...].")
    for inputs, inside in ((x, True), (f.fed(x), False)):
        fitting = [k for k, v in inputs.items() if v.is_floating_point() and tuple(v.shape[1:]) == shape]
        if fitting:
            v = inputs[fitting[0]]
            here = [b.to(v).expand_as(v) for b in baselines]
            found = [constant(inputs, baseline) | {fitting[0]: b} for b in here]
            return found if inside else [_through(f, b) for b in found]
    wanted = ", ".join(f"{k} [n, {', '.join(map(str, v.shape[1:]))}]" for k, v in x.items() if v.is_floating_point())
    raise BadOption(f"baselines is {tuple(baselines.shape)}, which fits no input.", f"Expected: {wanted}.")


def _through(f: Score, given: Tensors) -> Tensors:
    """What is at the inner site for another input."""
    assert f.inner is not None  # noqa: S101 (asked for at a site only)
    return {f.inner.name: f.outside.values(given, f.inner.site)[f.inner.site]}


def _blurred(f: Score, name: str, v: Tensor) -> Tensor:
    if v.ndim == 2:
        raise BadOption(f"start='blur': {name!r} is a table, {tuple(v.shape)}; columns have no neighbors.", "constant")
    return stand_in(v, places_of(f, name, v), "blur", 0.0)


def _noise(x: Tensors, draw: int) -> Tensors:
    """Uniform between each sample's smallest and largest value, by the sample's own content."""

    def noise(v: Tensor) -> Tensor:
        low, high = (e.view(-1, *[1] * (v.ndim - 1)) for e in v.flatten(1).aminmax(dim=1))
        even: Tensor = torch.special.ndtr(current().normal(v)(draw))  # normal noise, made uniform
        return low + (high - low) * even

    return x | each(noise, x)


def mean_change(f: Score, x: Tensors, beginnings: list[Tensors]) -> Tensor:
    """How much the score changes from the beginnings, on average, to the input, `[batch]`."""
    known = list(f.scores([x, *beginnings]))
    return known[0] - torch.stack(known[1:] or known).mean(0)
