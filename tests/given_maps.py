"""Explanations with a map that a test chose, to hold measures against hand-computed numbers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from pellucid.core.explanation import Explanation
from pellucid.methods.input_x_gradient import input_x_gradient


class Total(nn.Module):
    """One score: the sum of the input."""

    def forward(self, x: Tensor) -> Tensor:
        """A class's score for each sample."""
        return x.flatten(1).sum(1, keepdim=True)


def with_map(values: Tensor, *, signed: bool = True, method: str = "input_x_gradient") -> Explanation:
    """An explanation of an input shaped like `values` (`[batch, ...]`, channels included) whose map is `values`."""
    why = input_x_gradient(Total(), torch.ones_like(values), 0)
    return replace(why, maps=dict.fromkeys(why.maps, values), signed=signed, method=method)


def pictured(*places: Tensor) -> Explanation:
    """An explanation of one-channel pictures with these maps, `[height, width]` each."""
    return with_map(torch.stack([p.float() for p in places])[:, None])
