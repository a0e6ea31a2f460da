"""Noisy copies of an input.  A sample's noise depends on the seed and its own content, never on its neighbors."""

from __future__ import annotations

from torch import Tensor

from pellucid.core.run import current
from pellucid.core.tensors import Tensors, each, per_sample
from pellucid.probes.variations import Variations


def gaussian(x: Tensors, sigma: Tensors, count: int) -> Variations:
    """`count` copies of `x` with normal noise of standard deviation `sigma`."""
    noise = {k: current().normal(x[k]) for k in sigma}
    return Variations(count, lambda draw: x | {k: x[k] + s * noise[k](draw) for k, s in sigma.items()})


def fraction_of_range(x: Tensors, fraction: float) -> Tensors:
    """For each sample, a standard deviation that is a fraction of its range (largest minus smallest value)."""

    def sigma(v: Tensor) -> Tensor:
        flat = v.flatten(1)
        return per_sample(fraction * (flat.amax(1) - flat.amin(1)), v)

    return each(sigma, x)
