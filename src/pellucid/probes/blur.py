"""Gaussian blur of any width along any axes, and how it changes with the width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def blurred(v: Tensor, axes: Sequence[int], sigma: float) -> Tensor:
    """Each place a Gaussian average of its line along each axis; at the border the weights that remain sum to 1.

    >>> torch.allclose(blurred(torch.ones(1, 1, 5, 4), (2, 3), 2.0), torch.ones(1, 1, 5, 4))
    True
    """
    for axis in axes:
        v = _along(v, axis, _weights(v, axis, sigma))
    return v


def slope(v: Tensor, axes: Sequence[int], sigma: float) -> Tensor:
    """The derivative of `blurred` with respect to `sigma`, exact also at the border."""
    found = torch.zeros_like(v)
    for moving in axes:
        part = v
        for axis in axes:
            weights = _weights_slope(v, axis, sigma) if axis == moving else _weights(v, axis, sigma)
            part = _along(part, axis, weights)
        found = found + part
    return found


def mean_side(v: Tensor, axes: Sequence[int]) -> float:
    """The average length of the axes: widths are said as a share of it."""
    return sum(v.shape[a] for a in axes) / len(axes)


def _along(v: Tensor, axis: int, weights: Tensor) -> Tensor:
    return (v.movedim(axis, -1) @ weights.T).movedim(-1, axis)


def _squares(v: Tensor, axis: int) -> Tensor:
    places = torch.arange(v.shape[axis], dtype=v.dtype, device=v.device)
    return (places[:, None] - places) ** 2


def _weights(v: Tensor, axis: int, sigma: float) -> Tensor:
    weights = torch.exp(-_squares(v, axis) / (2 * sigma**2))
    return weights / weights.sum(1, keepdim=True)


def _weights_slope(v: Tensor, axis: int, sigma: float) -> Tensor:
    """Of weights w / sum(w): (w' - w sum(w') / sum(w)) / sum(w), where w' = w d^2 / sigma^3."""
    weights, rise = _weights(v, axis, sigma), _squares(v, axis) / sigma**3
    return weights * (rise - (weights * rise).sum(1, keepdim=True))
