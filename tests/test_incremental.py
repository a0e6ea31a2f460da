"""Following a local change through a network gives what whole passes give, and what cannot be followed is computed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.core.recording.incremental import Pass, Unchanged
from pellucid.core.recording.layout import layout
from pellucid.core.recording.places import Span
from pellucid.core.recording.program import program, weights
from pellucid.methods import all_methods
from tests.networks import randomized, seeded

METHODS = all_methods()


class Piece(nn.Module):
    """One stage of a random network: a kind and its numbers, spelled as modules or as functions."""

    def __init__(self, kind: str, channels: int, width: int, kernel: int, stride: int, pad: int, dilation: int) -> None:
        super().__init__()
        self.kind, self.pad, self.kernel, self.stride = kind, pad, kernel, stride
        groups = channels if kind == "depthwise" else 2 if kind == "grouped" else 1
        self.conv = nn.Conv2d(channels, width, kernel, stride, pad, dilation, groups, bias=kind != "depthwise")
        self.norm = nn.BatchNorm2d(width)
        self.mix = nn.Conv2d(width, width, 3, 1, 1)
        self.narrow, self.slope = nn.Conv2d(channels, width, 1, stride), nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(F.pad(x, (1, 0, 2, 1), value=0.3) if self.kind == "padded" else x))
        if self.kind == "residual":
            y = F.relu(y + self.mix(y), inplace=True)
        elif self.kind == "residual in place":
            y += self.mix(F.silu(y))
            y = y.relu_()
        elif self.kind == "gated":
            y = y * torch.sigmoid(self.mix(y))
        elif self.kind == "concatenated":
            a, b = torch.cat([self.slope(y), self.mix(y)], 1).chunk(2, dim=1)
            y = torch.maximum(a, b)
        elif self.kind == "max":
            y = F.max_pool2d(y, 3, 2, 1, ceil_mode=True)
        elif self.kind == "mean":
            y = F.avg_pool2d(y, 2, 1, 1)
        elif self.kind == "squeezed":
            y = y * torch.sigmoid(y.mean((2, 3), keepdim=True))
        elif self.kind == "normalized":
            y = F.layer_norm(y.permute(0, 2, 3, 1), y.shape[1:2]).permute(0, 3, 1, 2).contiguous()
        elif self.kind == "coordinates":
            y = y + torch.linspace(-1, 1, y.shape[3]) + torch.linspace(0, 1, y.shape[2])[:, None]
        return F.hardtanh(y, -1.5, 4.0)


KINDS = ("plain", "depthwise", "grouped", "padded", "residual", "residual in place", "gated", "concatenated", "max",
         "mean", "coordinates", "squeezed", "normalized")  # fmt: skip


class Stack(nn.Module):
    """Stages and a head: means of the channels, or every place by its own weight."""

    def __init__(self, stages: Sequence[Piece], flat: int) -> None:
        super().__init__()
        self.stages, self.flat = nn.Sequential(*stages), flat
        self.head = nn.Linear(flat or 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stages(x)
        y = y.view(y.size(0), -1) if self.flat else F.adaptive_avg_pool2d(y, 1).flatten(1)
        return self.head(y)


def case(seed: int) -> tuple[nn.Module, Tensor, list[tuple[int, int]], tuple[int, int]]:
    """A random network, a picture of odd size, and changes of one size, some of them at the borders."""
    draw = random.Random(seed)
    height, width = draw.randint(9, 30), draw.randint(9, 30)
    x = torch.randn(1, 2, height, width, generator=seeded(seed)).double()
    stages: list[Piece] = []
    while len(stages) < draw.randint(1, 4):
        kernel = draw.randint(1, 4)
        numbers = kernel, draw.choice([1, 1, 2, 3]), draw.randint(0, kernel // 2), draw.choice([1, 1, 2])
        stage = Piece(KINDS[seed % len(KINDS)] if not stages else draw.choice(KINDS), 4 if stages else 2, 4, *numbers)
        try:
            nn.Sequential(*stages, stage).double().eval()(x)
        except (RuntimeError, ValueError):  # the picture has become too small for it
            if stages:
                break
            continue
        stages.append(stage)
    size = draw.randint(1, 6), draw.randint(1, 6)
    last = height - size[0], width - size[1]
    corners = [(draw.randint(0, last[0]), draw.randint(0, last[1])) for _ in range(3)] + [(0, 0), last, (0, last[1])]
    flat = nn.Sequential(*stages).double().eval()(x).numel() if seed % 2 else 0
    return randomized(Stack(stages, flat), seed).double(), x, corners[: draw.randint(1, 6)], size


def followed(model: nn.Module, x: Tensor, corners: Sequence[tuple[int, int]], patches: Tensor) -> tuple[Tensor, Any]:
    """The output under each change, computed incrementally, and the layout."""
    made = program(model, (x,), {}, Network(model).inputs[0])
    spans, which = [], []
    for axis, size in enumerate(patches.shape[2:]):
        starts = tuple(sorted({c[axis] for c in corners}))
        spans.append(Span(starts, size))
        which.append(torch.tensor([starts.index(c[axis]) for c in corners]))
    plan = layout(made, (spans[0], spans[1]))
    with torch.no_grad():
        unchanged = Unchanged(made, [plan], model, (x,), {})
        run = Pass(made, plan, model, weights(made, model), unchanged, (which[0], which[1]))
        return run.run(patches.clone()), plan


def changed(x: Tensor, corners: Sequence[tuple[int, int]], patches: Tensor) -> Tensor:
    whole = x.repeat(len(corners), 1, 1, 1)
    for v, (y, z), patch in zip(whole, corners, patches, strict=True):
        v[:, y : y + patch.shape[1], z : z + patch.shape[2]] = patch
    return whole


@pytest.mark.parametrize("seed", range(6 * len(KINDS)))
def test_a_followed_change_gives_what_whole_passes_give(seed: int) -> None:
    model, x, corners, size = case(seed)
    patches = torch.randn(len(corners), x.shape[1], *size, generator=seeded(seed + 1)).double()
    out, _ = followed(model, x, corners, patches)
    with torch.no_grad():
        torch.testing.assert_close(out, model(changed(x, corners, patches)), rtol=1e-9, atol=1e-9)
