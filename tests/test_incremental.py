"""Following a local change through a network gives what whole passes give."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.incremental.layout import layout
from pellucid.core.incremental.patches import Pass, Unchanged
from pellucid.core.incremental.places import Reach, Span, look, union
from pellucid.core.incremental.program import program, weights
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.target import logit
from tests.followed import METHODS, OPTIONS, Shallow, both, followed_by, pictures, same
from tests.networks import randomized, seeded


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
    draw = random.Random(seed)  # noqa: S311 (no secret)
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


@pytest.mark.parametrize("seed", range(4 * len(KINDS)))
def test_a_followed_change_gives_what_whole_passes_give(seed: int) -> None:
    model, x, corners, size = case(seed)
    patches = torch.randn(len(corners), x.shape[1], *size, generator=seeded(seed + 1)).double()
    out, _ = followed(model, x, corners, patches)
    with torch.no_grad():
        torch.testing.assert_close(out, model(changed(x, corners, patches)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "reach",
    [
        Reach(3, 1, 1, 9, 9),
        Reach(3, 2, 1, 9, 5),
        Reach(1, 3, 0, 10, 4),
        Reach(5, 2, 0, 11, 4),
        Reach(2, 3, 1, 10, 4),
        Reach(4, 4, 2, 12, 4),
    ],
    ids=str,
)
def test_exactly_the_outputs_that_see_a_change_are_made_again(reach: Reach) -> None:
    for size in range(1, reach.given + 1):
        for start in range(reach.given - size + 1):
            seen = [
                o
                for o in range(reach.made)
                if any(start <= o * reach.step - reach.pad + k < start + size for k in range(reach.extent))
            ]
            made = look(reach, Span((start,), size)).made
            if seen:
                assert list(range(made.starts[0], made.starts[0] + made.size)) == seen
            assert made.size == max(1, len(seen)) and 0 <= made.starts[0] <= reach.made - made.size


def test_places_that_meet_are_joined_inside_the_map() -> None:
    joined = union((Span((0, 5), 3), Span((1, 4), 4)), 8)
    assert joined == Span((0, 3), 5)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_maps_are_those_of_whole_passes(name: str, dtype: torch.dtype) -> None:
    found, whole = both(name, Shallow().to(dtype), pictures(2).to(dtype))
    assert followed_by(found), found.facts
    same(found, whole, 1e-5 if dtype == torch.float64 else 1e-4)  # these maps span a hundredth of the score


@pytest.mark.parametrize("fill", ["constant", "mean", "blur", "noise", "inpainted"])
@pytest.mark.parametrize(("window", "stride"), [(9, 4), (5, 7)])
def test_with_every_fill(fill: str, window: int, stride: int) -> None:
    found, whole = both("occlusion", Shallow(1).double(), pictures().double(), fill=fill, window=window, stride=stride)
    assert followed_by(found), found.facts
    same(found, whole)


def test_parts_of_any_shape_that_differ_between_samples() -> None:
    mask = (torch.rand(2, 6, 6, generator=seeded(3)) * 20).long().repeat_interleave(8, 1).repeat_interleave(8, 2)
    mask[1] = mask[1].clamp(max=15)  # fewer parts there
    apart = torch.arange(48)[:, None] // 7 * 8 + torch.arange(48) // 6
    for parts in (mask, apart):
        found, whole = both("feature_ablation", Shallow(2), pictures(2), mask=parts)
        same(found, whole)
    assert followed_by(found), found.facts


@pytest.mark.parametrize("target", [logit(2) - 0.5 * logit(0), logit([3, 1, 0])], ids=str)
def test_several_samples_give_what_each_gives_alone(target: Any) -> None:
    model, x = Shallow(3).double(), pictures(3).double()
    found, whole = both("occlusion", model, x, target)
    assert followed_by(found)
    same(found, whole)
    for i, one in enumerate([3, 1, 0]):
        alone = METHODS["occlusion"](
            model, x[i : i + 1], logit(one) if len(target.terms) == 1 else target, **OPTIONS["occlusion"]
        )
        torch.testing.assert_close(found.values[i : i + 1], alone.values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "run",
    [Run(memory=2**19), Run(max_batch=2), Run(max_batch=7), Run(memory=2**27), Run(seed=5)],
    ids=lambda r: f"{r.memory} {r.max_batch} {r.seed}",
)
def test_no_limit_changes_the_map(run: Run) -> None:
    model, x = Shallow(4).double(), pictures(2).double()
    usual = METHODS["occlusion"](model, x, 1, **OPTIONS["occlusion"])
    with running(run):
        limited = METHODS["occlusion"](model, x, 1, **OPTIONS["occlusion"])
    assert followed_by(usual) and followed_by(limited)
    torch.testing.assert_close(limited.values, usual.values, rtol=1e-9, atol=1e-12)


def test_nothing_of_the_model_is_touched() -> None:
    model = Shallow(5).train()
    model.one.weight.grad = torch.ones_like(model.one.weight)
    before = copy.deepcopy(model.state_dict())
    strides = {k: v.stride() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    assert followed_by(METHODS["occlusion"](model, pictures(), 1, **OPTIONS["occlusion"]))
    assert all(torch.equal(v, before[k]) and v.stride() == strides[k] for k, v in model.state_dict().items())
    assert model.training and bool((model.one.weight.grad == 1).all()) and torch.equal(state, torch.get_rng_state())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_the_passes_are_counted() -> None:
    net = Network(Shallow(6))
    first, again = (METHODS["occlusion"](net, pictures(), 1, **OPTIONS["occlusion"]) for _ in range(2))
    windows = first.facts["windows"]
    # each window, the base, an unchanged pass, two to check; at first, three to learn the network's operations
    assert again.cost.forwards == windows + 4 and first.cost.forwards == windows + 7


def test_a_stopped_run_has_the_windows_up_to_there() -> None:
    asked = iter(range(10**6))
    with running(Run(max_batch=4, stop=lambda: next(asked) > 5)):
        found = METHODS["occlusion"](Shallow(7), pictures(), 1, **OPTIONS["occlusion"])
    whole = METHODS["occlusion"](Shallow(7), pictures(), 1, **OPTIONS["occlusion"])
    assert found.stopped.startswith("after ") and "changes" in found.stopped
    assert 0 < int((found.values != 0).sum()) < int((whole.values != 0).sum())
