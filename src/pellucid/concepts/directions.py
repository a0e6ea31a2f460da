"""Concept activation vectors: the direction at a site that tells samples of a concept from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Kind: TypeAlias = Literal["pattern", "classifier"]
_PENALTY = 0.01  # on the squared weights, where the samples have a mean squared length of 1
_STEPS = 50
_TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True)
class Separator:
    """A linear classifier: above zero is the first kind."""

    weights: Float[Tensor, " channels"]
    offset: float

    def accuracy(self, first: Float[Tensor, "n channels"], second: Float[Tensor, "m channels"]) -> float:
        """The share that is told apart, both kinds counting alike."""
        right = (first @ self.weights + self.offset > 0).double().mean()
        return float((right + (second @ self.weights + self.offset <= 0).double().mean()) / 2)


def direction(
    kind: Kind, first: Float[Tensor, "n channels"], second: Float[Tensor, "m channels"]
) -> Float[Tensor, " channels"]:
    """The direction from the second kind of samples to the first, of length 1 (zeros where they are the same).

    `classifier` is the normal of the separating plane, as in the paper on TCAV; `pattern` the difference of the means,
    which unlike the former is not turned away by what distracts (Haufe et al. 2014; Pahde et al. 2025,
    arXiv:2202.03482).
    """
    found = first.mean(0) - second.mean(0) if kind == "pattern" else separator(first, second).weights
    unit: Tensor = found / found.norm().clamp(min=torch.finfo(found.dtype).tiny)
    return unit


def separator(first: Float[Tensor, "n channels"], second: Float[Tensor, "m channels"]) -> Separator:
    """Logistic regression with a small penalty on the weights, solved by Newton's method where the samples span.

    Both kinds weigh the same, however many samples each has.

    >>> found = separator(torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[-1.0, 0.0], [-2.0, 0.0]]))
    >>> found.accuracy(torch.tensor([[0.5, 9.0]]), torch.tensor([[-0.5, 9.0]]))
    1.0
    """
    x = torch.cat((first, second)).double()
    label = torch.cat((torch.ones(len(first)), -torch.ones(len(second)))).to(x)
    share = torch.where(label > 0, 0.5 / len(first), 0.5 / len(second)).to(x)
    middle = share @ x
    size = float((share @ (x - middle).square().sum(1)).sqrt()) or 1.0
    u, s, axes = torch.linalg.svd((x - middle) / size, full_matrices=False)  # weights never leave the samples' span
    z = torch.cat((u * s, torch.ones_like(u[:, :1])), 1)
    penalty = torch.full((z.shape[1],), _PENALTY).to(z)
    penalty[-1] = 0.0
    w = torch.zeros(z.shape[1]).to(z)
    for _ in range(_STEPS):
        step = _newton(z, label, share, w, penalty)
        w = w - step
        if float(step.norm()) <= _TOLERANCE * (1 + float(w.norm())):
            break
    weights = (w[:-1] @ axes) / size
    return Separator(weights.to(first), float(w[-1] - weights @ middle))


def _newton(z: Tensor, label: Tensor, share: Tensor, w: Tensor, penalty: Tensor) -> Tensor:
    """The step of Newton's method, halved until the loss falls."""
    margin = label * (z @ w)
    slope = penalty * w - (share * label * torch.sigmoid(-margin)) @ z
    curve = share * torch.sigmoid(margin) * torch.sigmoid(-margin)
    hessian = (z * curve[:, None]).T @ z + torch.diag(penalty + 1e-12)
    step: Tensor = torch.linalg.solve(hessian, slope)
    before, fraction = _loss(z, label, share, w, penalty), 1.0
    while fraction > 1e-6 and _loss(z, label, share, w - fraction * step, penalty) > before:
        fraction /= 2
    return fraction * step


def _loss(z: Tensor, label: Tensor, share: Tensor, w: Tensor, penalty: Tensor) -> float:
    return float(share @ torch.nn.functional.softplus(-label * (z @ w)) + (penalty * w * w).sum() / 2)
