"""What stands between a drawn picture and the network: shifts, zooms, turns, mirrors, blur and noise.

A unit that wants a picture as it is, to the pixel, wants nothing that can be seen; what it wants through every small
move can be (Olah et al. 2017).  All moves are one resampling, drawn anew for each picture of a batch and each step,
inside of the graph, so that nothing is resampled twice and the picture itself never drifts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.run import current
from pellucid.dream.recipe import Recipe


@dataclass(frozen=True, slots=True)
class View:
    """One look at every picture: where the network looks (`move [n, axes, axes + 1]`, of output to picture, in units of
    half a side from the center), and the noise and blur on what it sees.
    """

    move: Tensor
    noise: Tensor | None
    blur: float


def view_of(recipe: Recipe, keys: Sequence[str], axes: int, step: int, number: int, size: Sequence[int]) -> View:
    """The look number `number` at step `step`; each picture's is drawn from its own key and the run's seed."""
    done = step / recipe.steps
    moves, noises = list[Tensor](), list[Tensor]()
    for key in keys:
        generator = current().generator("look", key, step, number)
        moves.append(_move(recipe, torch.rand(axes + 3, generator=generator), axes, size))
        if recipe.noise:
            noises.append(torch.randn(*size, generator=generator))
    fade = max(0.0, 1 - done)
    return View(torch.stack(moves), torch.stack(noises) * (recipe.noise * fade) if noises else None, recipe.blur * fade)


def _move(recipe: Recipe, drawn: Tensor, axes: int, size: Sequence[int]) -> Tensor:
    """Shift, zoom, turn (in the plane of the last two axes) and mirror (along the last), from numbers in 0..1."""
    spin, near, mirror, *shift = drawn.tolist()
    zoom = recipe.shrink * (recipe.zoom / recipe.shrink) ** near
    matrix = torch.eye(axes) / zoom
    if axes >= 2 and recipe.rotate:
        angle = math.radians(recipe.rotate) * (2 * spin - 1)
        cos, sin, slant = math.cos(angle), math.sin(angle), size[-2] / size[-1]  # a turn of pixels, not of halves
        turn = torch.eye(axes)
        turn[:2, :2] = torch.tensor([[cos, -sin * slant], [sin / slant, cos]])
        matrix = turn @ matrix
    if recipe.flip and mirror < 0.5:
        matrix[:, 0] = -matrix[:, 0]
    extent = tuple(reversed(size))[:axes]  # the grid's first axis is the last
    shares = [recipe.jitter * min(extent) / n for n in extent]
    offset = torch.tensor([2 * share * (2 * s - 1) for share, s in zip(shares, shift, strict=True)])
    return torch.cat([matrix, offset[:, None]], 1)


def seen(pictures: Tensor, view: View, size: Sequence[int], *, tile: bool) -> Tensor:
    """The pictures `[n, channels, *extent]` through a view, at the size that the network takes.

    Beyond its edges a picture is mirrored, or goes on from the other side with `tile`.  Sequences `[n, channels, time]`
    are resampled as pictures of one row.
    """
    axes = pictures.ndim - 2
    if axes == 0:
        return _noisy(pictures, view)
    line = axes == 1
    x = pictures.unsqueeze(2) if line else pictures
    move, out = (_flat(view.move), (1, *size)) if line else (view.move, tuple(size))
    grid = _looked_at(move.to(dtype=x.dtype, device=x.device), out)
    if tile:
        grid = torch.remainder(grid + 1, 2) - 1
        x, grid = _wrapped(x, grid)
    y = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    y = y.squeeze(2) if line else y
    return _noisy(blurred(y, view.blur) if view.blur else y, view)


def _looked_at(move: Tensor, size: Sequence[int]) -> Tensor:
    """Where each value is taken from, `[n, *size, axes]`: `F.affine_grid` as sums over axes (25 times as fast)."""
    axes = len(size)
    at = move[:, :, -1].view(-1, axes, *[1] * axes)
    for i, n in enumerate(reversed(size)):  # the first coordinate runs along the last axis
        t = (2 * torch.arange(n, dtype=move.dtype, device=move.device) + 1) / n - 1
        along = [1] * axes
        along[axes - 1 - i] = n
        at = at + move[:, :, i].view(-1, axes, *[1] * axes) * t.view(along)
    return at.movedim(1, -1)


def _flat(move: Tensor) -> Tensor:
    """A move along one axis as one of the plane, whose other axis stays."""
    flat = torch.zeros(len(move), 2, 3)
    flat[:, 0, 0], flat[:, 0, 2], flat[:, 1, 1] = move[:, 0, 0], move[:, 0, 1], 1
    return flat


def _wrapped(x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """The picture with one more pixel on every side, from the side opposite, and the grid in its units."""
    axes = x.ndim - 2
    wide = x
    for axis in range(2, x.ndim):
        n = wide.shape[axis]
        wide = torch.cat([wide.narrow(axis, n - 1, 1), wide, wide.narrow(axis, 0, 1)], axis)
    scale = torch.tensor([n / (n + 2) for n in reversed(x.shape[2:])], dtype=x.dtype, device=x.device)
    return wide, grid * scale.view(*[1] * (axes + 1), axes)


def _noisy(x: Tensor, view: View) -> Tensor:
    return x if view.noise is None else x + view.noise.to(dtype=x.dtype, device=x.device)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of every spatial axis, `sigma` in pixels, the picture mirrored beyond its edges."""
    reach = max(1, math.ceil(3 * sigma))
    for axis in range(2, x.ndim):
        half = min(reach, x.shape[axis] - 1)
        if half < 1:
            continue
        t = torch.arange(-half, half + 1, dtype=x.dtype, device=x.device)
        kernel = (-(t**2) / (2 * sigma**2)).exp()
        flat = x.movedim(axis, -1)
        lines = F.pad(flat.reshape(-1, 1, flat.shape[-1]), (half, half), mode="reflect")
        lines = F.conv1d(lines, (kernel / kernel.sum()).view(1, 1, -1))
        x = lines.view(flat.shape).movedim(-1, axis)
    return x
