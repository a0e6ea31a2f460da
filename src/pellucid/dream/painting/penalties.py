"""What a picture is charged for: numbers a picture that the optimizer keeps low beside pleasing the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.dream.painting.natural import radial, radial_of_photographs
from pellucid.dream.recipe import Recipe

Pictures = Float[Tensor, "n channels *size"]
Each = Float[Tensor, " n"]


def total_variation(x: Pictures) -> Each:
    """The mean absolute difference between neighbors along every spatial axis (Mahendran, Vedaldi 2015, beta = 1).

    >>> float(total_variation(torch.tensor([[[0.0, 1.0, 1.0]]])))
    0.5
    """
    parts = [x.diff(dim=axis).abs().flatten(1).mean(1) for axis in range(2, x.ndim) if x.shape[axis] > 1]
    return torch.stack(parts).sum(0) if parts else x.new_zeros(len(x))


def distance(x: Pictures, power: int) -> Each:
    """The mean distance from mid-grey to a power: 1 makes most pixels grey, 6 keeps all from the ends."""
    return (x - 0.5).abs().pow(power).flatten(1).mean(1)


def spectral_distance(x: Pictures) -> Each:
    """How far the fall of the spectrum is from photographs', root mean square over rings of frequency, in nats.

    The level does not matter, the shape does: too much of the fine is noise, too little is fog.
    """
    found = radial(x)
    known = radial_of_photographs(x.shape[2], x.shape[3]).to(dtype=x.dtype, device=x.device)
    away = found - found.mean(1, keepdim=True) - (known - known.mean())
    return (away.square().mean(1) + 1e-12).sqrt()  # at zero a root has no slope


CHARGES: Mapping[str, Callable[[Pictures], Each]] = {
    "total_variation": total_variation,
    "l1": lambda x: distance(x, 1),
    "l2": lambda x: distance(x, 2),
    "lp": lambda x: distance(x, 6),
    "spectrum": spectral_distance,
}


def charged(recipe: Recipe, x: Pictures, began_at: Pictures | None = None) -> Each | None:
    """The sum of a recipe's penalties, each with its weight; None when there are none."""
    terms = [getattr(recipe, name) * charge(x) for name, charge in CHARGES.items() if getattr(recipe, name)]
    if recipe.stay and began_at is not None:
        terms.append(recipe.stay * (x - began_at).square().flatten(1).mean(1))
    return torch.stack(terms).sum(0) if terms else None
