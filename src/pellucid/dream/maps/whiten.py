"""Taking out what all vectors share: their mean, and that some directions vary more than others."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.dream.maps.reduce import Moments

_SHRINK = 0.1  # of the mean variance, added to every direction before it is divided by: some hardly vary


def whitened(points: Float[Tensor, "n width"], moments: Moments) -> Float[Tensor, "n width"]:
    """Vectors less their mean, by the inverse square root of the covariance: every direction then varies alike.

    A tenth of the mean variance is added to each direction's, so that those that hardly vary are not blown up.
    """
    values, vectors = _spectrum(moments)
    out = ((points.double() - moments.mean) @ vectors) / values.sqrt() @ vectors.T
    return out.float()


def directions(means: Float[Tensor, "n width"], moments: Moments) -> Float[Tensor, "n width"]:
    """What tells vectors from all others: less the mean, by the inverse of the covariance (Carter et al. 2019)."""
    values, vectors = _spectrum(moments)
    return ((((means.double() - moments.mean) @ vectors) / values) @ vectors.T).float()


def _spectrum(moments: Moments) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(moments.covariance)
    return values.clamp(min=0) + max(_SHRINK * float(values.mean()), 1e-12), vectors
