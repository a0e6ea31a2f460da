"""What cannot be followed through a network is computed whole, and says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.errors import BadOption, Missing
from pellucid.core.incremental.program import weights
from pellucid.core.network import Network
from pellucid.core.target import channel, logit, scalar
from pellucid.doors import zoo
from tests.followed import METHODS, OPTIONS, Shallow, both, followed_by, pictures, same
from tests.networks import randomized, seeded


class Global(nn.Module):
    """Looks at numbers while it runs: another picture takes another way."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Shallow(8)

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.inner(x), x, strict=True)
        return torch.stack([y if v[0, :20, :20].mean() > 0.01 else 3 * y for y, v in pairs])


class Wide(nn.Module):
    """Mixes all positions first of all."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Shallow(9)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x - x.mean((2, 3), keepdim=True))
        return y


class Aliasing(nn.Module):
    """Writes into a part of a map through a view of it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Shallow(10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner.one(x)
        y[:, :2].mul_(2)
        z: Tensor = self.inner.head(torch.relu(self.inner.two(y)).mean((2, 3)))
        return z


class NeverTwo(nn.Module):
    """Does not take two samples together."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Shallow(16)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 2:
            raise RuntimeError("not two")
        y: Tensor = self.inner(x)
        return y


@pytest.mark.parametrize(
    ("model", "x", "target", "why"),
    [
        (Global().double(), pictures().double(), 1, "looks at numbers while it runs"),
        (NeverTwo().double(), pictures().double(), 1, "cannot be recorded for one and for two samples (not two)"),
        (Wide().double(), pictures().double(), 1, "of whole passes to compute only what changes"),
        (Aliasing().double(), pictures().double(), 1, "seen through several views"),
        (Shallow(11), pictures(), channel("two", 3), "the target speaks of values inside the network"),
        (Shallow(11).to(torch.bfloat16), pictures().to(torch.bfloat16), 1, "bfloat16 is too coarse"),
        (Shallow(11), pictures(1, 12), 1, "too few changes"),
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 94, 3)), torch.randn(1, 3, 96), 1, "no picture"),
        (nn.Linear(3, 2), torch.randn(1, 3), 1, "no picture"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_followed_is_computed_whole_and_says_why(
    model: nn.Module, x: Tensor, target: Any, why: str
) -> None:
    options = {} if x.shape[-1] > 3 else {"window": 1}
    found, whole = both("occlusion", model, x, target, **options)
    assert str(found.facts["computed"]).startswith("whole passes: ") and why in found.facts["computed"]
    if x.dtype != torch.bfloat16:
        same(found, whole)


def test_a_wrong_answer_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(*given: Any) -> Any:
        return {k: (w * 1.001, b) for k, (w, b) in weights(*given).items()}

    monkeypatch.setattr("pellucid.core.incremental.reuse.weights", off)
    found, whole = both("occlusion", Shallow(12), pictures())
    assert "gave other scores" in found.facts["computed"]
    same(found, whole)


def test_a_network_that_has_changed_since_is_found_out() -> None:
    model = Shallow(13, between=lambda v: v * SCALE[0])
    net = Network(model)
    SCALE[0] = 1.0
    assert followed_by(METHODS["occlusion"](net, pictures(), 1, **OPTIONS["occlusion"]))
    SCALE[0] = 2.0  # recorded as a number among the arguments
    found, whole = both("occlusion", net, pictures())
    assert "gave other scores" in found.facts["computed"]
    same(found, whole)
    assert followed_by(METHODS["occlusion"](net, pictures(), 1, **OPTIONS["occlusion"]))  # learned anew


SCALE = [1.0]


def test_new_weights_are_used_at_once() -> None:
    model = Shallow(14)
    net = Network(model)
    METHODS["occlusion"](net, pictures(), 1, **OPTIONS["occlusion"])
    randomized(model, 15)
    found, whole = both("occlusion", net, pictures())
    assert followed_by(found)
    same(found, whole)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "vgg16"])
def test_networks_of_the_zoo(name: str) -> None:
    """Slow, for these are the real ones: every convolution of a network that people use, against 25 whole passes."""
    try:
        net = zoo.open(name)
    except Missing:
        pytest.skip(f"{name} is not installed")
    x = F.interpolate(torch.randn(1, 3, 14, 14, generator=seeded(1)), size=(96, 96), mode="bicubic")
    target = logit(3) if name != "vgg16" else 1.0 * scalar(lambda y: y.mean((1, 2, 3)))
    found, whole = both("occlusion", net, x, target, window=16, stride=20)
    assert followed_by(found), found.facts
    same(found, whole)


def test_a_number_a_sample_has_no_part_to_cover() -> None:
    with pytest.raises(BadOption, match="one number a sample"):
        METHODS["occlusion"](Lone(), torch.ones(2), scalar(lambda y: y))


class Lone(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x
