"""DeepLIFT's reveal-cancel rule by hand, and DeepLIFT against several baselines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadOption
from tests.networks import Chain, Net, picture, seeded
from tests.test_deep_lift import BUILDS, Of, lively, pictures

deep_lift, deep_shap = pl.methods.deep_lift, pl.methods.deep_shap


class Gate(nn.Module):
    """min(a, b) = a - relu(a - b) and max(a, b) = a + relu(b - a), as the paper builds them."""

    def __init__(self, most: bool, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.most, self.bend = nn.Linear(2, 1, bias=False), most, bend
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[-1.0, 1.0] if most else [1.0, -1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        bent = self.bend(self.layer(x))
        return x[:, :1] + bent if self.most else x[:, :1] - bent


PAIRS = torch.tensor([[3.0, 2.0], [2.0, 5.0], [4.0, 0.5], [1.0, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    "bend",
    [F.relu, torch.relu_, lambda v: v.clamp(min=0), nn.ReLU(inplace=True)],
    ids=["f", "in place", "clamp", "module"],
)
def test_reveal_cancel_halves_a_minimum(bend: Callable[[Tensor], Tensor]) -> None:
    """Section 3.5.3 of the paper: half of min(a, b) for each, where rescale gives one of them all."""
    net = Gate(False, bend).double()
    half = PAIRS.amin(1, keepdim=True).expand(-1, 2) / 2
    torch.testing.assert_close(deep_lift(net, PAIRS, 0, rule="reveal_cancel").values, half)
    rescaled = deep_lift(net, PAIRS, 0).values
    torch.testing.assert_close(rescaled[0], torch.tensor([0.0, 2.0], dtype=torch.float64))
    torch.testing.assert_close(rescaled[1], torch.tensor([2.0, 0.0], dtype=torch.float64))


def test_reveal_cancel_of_a_maximum() -> None:
    """b alone lifts relu(b - a) by b, and by max(b - a, 0) after a: each keeps its own less half of the minimum."""
    found = deep_lift(Gate(True, F.relu).double(), PAIRS, 0, rule="reveal_cancel").values
    torch.testing.assert_close(found, PAIRS - PAIRS.amin(1, keepdim=True) / 2)


def by_hand(weights: list[tuple[Tensor, Tensor]], x: Tensor, x0: Tensor) -> Tensor:
    """The paper's formulas unit by unit, for one sample: contributions by their sign, each bend by four values."""
    values, starts = [x], [x0]
    for w, b in weights[:-1]:
        values.append((w @ values[-1] + b).relu())
        starts.append((w @ starts[-1] + b).relu())
    m = weights[-1][0][0].clone()
    for (w, b), v, v0 in reversed(list(zip(weights[:-1], values, starts, strict=False))):
        below = torch.zeros_like(v)
        for j in range(len(w)):
            parts, z0 = w[j] * (v - v0), w[j] @ v0 + b[j]
            p, n = parts[parts > 0].sum(), parts[parts < 0].sum()
            none, only_p, only_n, both = (z.relu() for z in (z0, z0 + p, z0 + n, z0 + p + n))
            of_p, of_n = (only_p - none + both - only_n) / 2, (only_n - none + both - only_p) / 2
            slope = float(both > 0)  # where there is nothing to share out
            m_p, m_n = of_p / p if p else slope, of_n / n if n else slope
            for i, part in enumerate(parts):
                below[i] += m[j] * w[j, i] * (m_p if part > 0 else m_n if part < 0 else (m_p + m_n) / 2)
        m = below
    return m * (x - x0)


@pytest.mark.parametrize("seed", range(3))
def test_reveal_cancel_is_the_papers_unit_by_unit(seed: int) -> None:
    chain = Chain(4, 6, 5, 1, seed=seed).double()
    x = torch.randn(3, 4, dtype=torch.float64, generator=seeded(seed))
    x0 = torch.randn(4, dtype=torch.float64, generator=seeded(seed + 9))
    found = deep_shap(chain, x, 0, background=x0[None], rule="reveal_cancel").values
    with torch.no_grad():
        right = torch.stack([by_hand(chain.weights, v, x0) for v in x])
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("build", BUILDS)
def test_reveal_cancel_adds_up_whatever_the_network(build: str) -> None:
    net, x = lively(BUILDS[build]()).double(), pictures().double()
    found = deep_lift(net, x, 1, baseline=0.1, rule="reveal_cancel")
    assert max(found.gap) < 1e-9 and found.without_rule == ()
    assert float((found.values - deep_lift(net, x, 1, baseline=0.1).values).abs().max()) > 1e-4


def test_a_normalization_belongs_to_the_layer_before_it() -> None:
    net, folded, x = Net(seed=3).double(), Net(seed=3).double(), picture(1).double()
    scale = folded.norm.weight / (folded.norm.running_var + folded.norm.eps).sqrt()
    with torch.no_grad():
        folded.conv1.bias.copy_((folded.conv1.bias - folded.norm.running_mean) * scale + folded.norm.bias)
        folded.conv1.weight.mul_(scale[:, None, None, None])
    folded.norm = nn.Identity()
    a, b = (deep_lift(n, x, 1, rule="reveal_cancel").values for n in (net, folded))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_a_layer_that_is_written_over_is_not_the_one_before() -> None:
    """The bend sees twice the layer's result: it follows another operation, and has the rescale rule."""
    layer = nn.Linear(3, 4).double()
    twice = Of(lambda v: F.silu(layer(v).mul_(2)).sum(1, keepdim=True))
    x = torch.randn(2, 3, dtype=torch.float64, generator=seeded(1))
    found = deep_lift(twice, x, 0, rule="reveal_cancel")
    assert max(found.gap) < 1e-9
    torch.testing.assert_close(found.values, deep_lift(twice, x, 0).values)


# Several baselines


def test_the_average_over_baselines_one_by_one() -> None:
    net, x, background = Net("in place", "silu", "gate", 2).double(), picture(1, 3).double(), picture(5, 4).double()
    found = deep_shap(net, x, 1, background=background)
    alone = [deep_shap(net, x, 1, background=b[None]).values for b in background]
    torch.testing.assert_close(found.values, torch.stack(alone).mean(0))
    with torch.no_grad():
        change = net(x)[:, 1] - net(background)[:, 1].mean()
    torch.testing.assert_close(found.values.flatten(1).sum(1), change)
    assert found.facts["baselines"] == 4 and max(found.gap) < 1e-9


def test_without_a_background_it_is_deep_lift() -> None:
    net, x = Net(seed=4).double(), picture(2).double()
    torch.testing.assert_close(deep_shap(net, x, 1).values, deep_lift(net, x, 1).values)


def test_shapley_values_of_a_linear_network() -> None:
    """w (x - mean of the background), whatever the spread of the background."""
    net, x = nn.Linear(5, 2).double(), torch.randn(3, 5).double()
    background = torch.randn(7, 5).double()
    found = deep_shap(net, x, 1, background=background).values
    torch.testing.assert_close(found, net.weight[1].detach() * (x - background.mean(0)))


@pytest.mark.parametrize("wrong", [torch.zeros(2, 4), torch.zeros(0, 5), torch.zeros(2, 5, dtype=torch.long)], ids=str)
def test_a_background_that_fits_no_input_is_refused(wrong: Tensor) -> None:
    with pytest.raises(BadOption, match="background is"):
        deep_shap(nn.Linear(5, 2), torch.randn(3, 5), 1, background=wrong)


class Two(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a.exp().sum(1) * b.sum(1))[:, None]


def test_of_two_inputs_the_other_stays_as_it_is() -> None:
    a, b = torch.randn(2, 3).double(), torch.randn(2, 4).double()
    maps = deep_shap(Two(), (a, b), 0, background=torch.zeros(1, 3).double()).maps
    assert not maps["b"].any()
    torch.testing.assert_close(maps["a"].sum(1), (a.exp().sum(1) - 3) * b.sum(1))
