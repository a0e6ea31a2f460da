"""What stands in for a covered part of an input.  No choice is neutral: each asks the network another question.

constant   one value everywhere; cheap, repeatable, and never met in training unless the value is the data's mean
mean       the sample's own mean, a channel at a time
blur       the sample out of focus
noise      Gaussian noise with the sample's own mean and spread, a channel at a time
inpainted  painted from the surroundings of the cover (pull-push), so that the edge of the cover is no signal
noisy_linear  the same by ROAD's linear equations, each pixel a mean of its neighbors, with a little noise on top
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.run import current
from pellucid.probes.blur import blurred, mean_side
from pellucid.probes.imputation import noisy_linear
from pellucid.probes.infill import BLUR, pull_push

StandIn: TypeAlias = Literal["constant", "mean", "blur", "noise"]
Fill: TypeAlias = Literal["constant", "mean", "blur", "noise", "inpainted", "noisy_linear"]
Paint: TypeAlias = Literal["inpainted", "noisy_linear"]
Index: TypeAlias = tuple[slice, ...]


def stand_in(v: Tensor, axes: Sequence[int], kind: StandIn, value: float) -> Tensor:
    """An input of nothing but fill, shaped like `v` (or so that it broadcasts); `axes` are those that have places.

    A sample's fill depends on its own content alone.

    >>> stand_in(torch.tensor([[[1.0, 3.0, 8.0]]]), (2,), "mean", 0.0).tolist()
    [[[4.0, 4.0, 4.0]]]
    """
    if kind == "constant":
        return torch.full_like(v, value)
    if kind == "blur":
        return blurred(v, axes, BLUR * mean_side(v, axes))
    mean = v.mean(tuple(axes), keepdim=True)
    if kind == "mean":
        return mean.expand_as(v)
    return mean + (v - mean).square().mean(tuple(axes), keepdim=True).sqrt() * current().normal(v)(0)


@dataclass(frozen=True, slots=True)
class Covering:
    """An input with a box of it covered: called with the box, an index into `v`, it gives the whole input.

    Without a `fill`, what is covered is painted from its surroundings, as `paint` says.
    """

    v: Tensor
    axes: tuple[int, ...]
    fill: Tensor | None
    paint: Paint = "inpainted"

    def __call__(self, box: Index) -> Tensor:
        if self.fill is None:
            return _painted_box(self.v, self.axes, box, self.paint)
        out = self.v.clone()
        out[box] = self.fill[box]
        return out

    def part(self, box: Index, sample: int, within: tuple[slice, slice]) -> Tensor:
        """The covered picture of one sample inside of `within`, which holds the box: `[channels, height, width]`."""
        down, right = within
        if self.fill is None:
            here = self.v[sample : sample + 1]
            return _painted_box(here, self.axes, (slice(None), *box[1:]), self.paint)[0, :, down, right]
        out = self.v[sample, :, down, right].clone()
        rows, columns = box[2:]
        top, left = rows.start - down.start, columns.start - right.start
        height, width = rows.stop - rows.start, columns.stop - columns.start
        out[:, top : top + height, left : left + width] = self.fill[sample, :, rows, columns]
        return out


def covering(v: Tensor, axes: Sequence[int], kind: Fill, value: float) -> Covering:
    """What gives `v` with a box of it covered.

    >>> covering(torch.ones(1, 3), (1,), "constant", 0.0)((slice(None), slice(0, 2))).tolist()
    [[0.0, 0.0, 1.0]]
    """
    if kind != "inpainted" and kind != "noisy_linear":
        return Covering(v, tuple(axes), stand_in(v, axes, kind, value))
    _paints(v, axes, kind)
    return Covering(v, tuple(axes), None, kind)


def _paints(v: Tensor, axes: Sequence[int], kind: Paint) -> None:
    if len(axes) > 2:
        raise BadOption(f"fill={kind!r} paints pictures and series; the input is {tuple(v.shape)}.", "Choose blur.")


def _painted_box(v: Tensor, axes: Sequence[int], box: Index, kind: Paint) -> Tensor:
    hidden = torch.zeros([v.shape[a] for a in axes], dtype=torch.bool, device=v.device)
    hidden[tuple(box[a] for a in axes)] = True
    if bool(hidden.all()):
        raise BadOption("A window covers the whole input: nothing is left to paint it from.", "Use a smaller window.")
    return painted(v, axes, hidden.expand(len(v), *hidden.shape), kind)


def painted(v: Tensor, axes: Sequence[int], hidden: Bool[Tensor, "batch *places"], kind: Paint = "inpainted") -> Tensor:
    """Hidden places painted from the others; a sample of which nothing is left becomes its mean.

    What has one axis of places becomes a picture one place high.  Raises `BadOption` for volumes.

    >>> hidden = torch.tensor([[False, True], [True, True]])
    >>> painted(torch.tensor([[1.0, 3.0], [5.0, 7.0]]), (1,), hidden).tolist()
    [[1.0, 1.0], [6.0, 6.0]]
    """
    _paints(v, axes, kind)
    paint = pull_push if kind == "inpainted" else noisy_linear
    moved = v if len(axes) == 2 else v.movedim(axes[0], -1)
    flat = moved if len(axes) == 2 else moved.reshape(len(v), -1, 1, moved.shape[-1])
    mask = hidden.view(len(v), *flat.shape[2:])
    nothing = mask.flatten(1).all(1).view(-1, 1, 1)
    done = paint(flat, mask & ~nothing)
    done = torch.where(nothing[:, None], flat.mean((2, 3), keepdim=True), done)
    return done if len(axes) == 2 else done.view(moved.shape).movedim(-1, axes[0])
