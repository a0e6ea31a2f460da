"""FullGrad: every share of the score is there, on networks of every build; maps in closed form."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.target import log_odds, logit, probability
from tests.networks import Net, picture, seeded
from tests.test_deep_lift import BUILDS, Of, lively, pictures

full_grad = pl.methods.full_grad
KINDS = next(o.choices for o in full_grad.options if o.name == "kind")


@pytest.mark.parametrize("build", BUILDS)
def test_input_and_biases_are_the_whole_score(build: str) -> None:
    net, x = lively(BUILDS[build]()).double(), pictures().double()
    found = full_grad(net, x, 1, kind="signed")
    with torch.no_grad():
        score = net(x)[:, 1]
    rest = torch.tensor(found.facts["without a place"], dtype=torch.float64)
    torch.testing.assert_close(found.values.flatten(1).sum(1) + rest, score, rtol=1e-10, atol=1e-12)
    assert max(found.gap) < 1e-10 and found.without_rule == () and found.values.shape == (2, 1, 32, 32)


def test_the_bundled_network_is_complete_in_single_precision() -> None:
    found = full_grad(pl.open("efficientnet_lite0"), pictures(224, 1), 281)
    assert max(found.gap) < 1e-4 and found.without_rule == ()


@pytest.mark.parametrize(
    "bend", [F.silu, F.relu6, F.gelu, torch.sigmoid, lambda v: v * torch.tanh(v), lambda v: (v + 3) / (1 + v * v)]
)
def test_places_that_do_not_mix_have_what_they_add(bend: Callable[[Tensor], Tensor]) -> None:
    """f is the sum of bend(w x + b) over places: whatever the slopes, input and biases of a place add up to its own."""
    conv = nn.Conv2d(1, 3, 1).double()
    x = 5 * torch.randn(2, 1, 4, 5, dtype=torch.float64, generator=seeded(1))
    found = full_grad(nn.Sequential(conv, Of(lambda v: bend(v).sum((1, 2, 3))[:, None])), x, 0, kind="signed")
    with torch.no_grad():
        torch.testing.assert_close(found.values, bend(conv(x)).sum(1, keepdim=True), rtol=1e-9, atol=1e-9)
    assert found.facts["without a place"] == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize(
    "formula",
    [
        lambda v: torch.cat((v, torch.ones_like(v)), 1), lambda v: v + 3, lambda v: 2 - v, lambda v: v.sub_(1.5),
        lambda v: F.pad(v, (1, 1), value=2.0), lambda v: v.masked_fill(v > 1, 4.0), lambda v: 1 / (v * v + 1),
        lambda v: v.mul_(v.sigmoid()), lambda v: F.layer_norm(v, (5,)), lambda v: v.softmax(2),
        lambda v: v.exp().log1p(),
        lambda v: F.scaled_dot_product_attention(v, v.flip(2), v.tanh(), is_causal=True), lambda v: v.cumsum(2).std(2),
        lambda v: F.silu(v, inplace=True), lambda v: v.clamp_(-0.2, 0.7), lambda v: torch.where(v > 0, v, v * v),
        lambda v: v.chunk(2, 2)[0] @ v.mT[..., :2].exp(), lambda v: v.topk(2, 2)[0] ** 2,
        lambda v: torch.linspace(0, 1, 5) + v,
    ],
)  # fmt: skip
def test_every_operation_has_its_bias(formula: Callable[[Tensor], Tensor]) -> None:
    net = Of(lambda v: formula(v.tanh() * 2).double().flatten(1).cos().sum(1, keepdim=True))
    found = full_grad(net, torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=seeded(2)), 0)
    assert max(found.gap) < 1e-9 and found.without_rule == ()


def test_what_is_enlarged_keeps_its_amount() -> None:
    """Seven places become eleven, forty become eleven: no share of the score is gained or lost."""
    coarse, fine = nn.Conv2d(1, 2, 5), nn.ConvTranspose2d(1, 2, 4, 4, bias=True)
    for layer in (coarse, fine):
        net = nn.Sequential(layer, Of(lambda v: v.square().sum((1, 2, 3))[:, None])).double()
        x = torch.randn(1, 1, 11, 11, dtype=torch.float64, generator=seeded(3))
        found = full_grad(net, x, 0, kind="signed")
        torch.testing.assert_close(found.values.sum(), net(x).sum().detach(), rtol=1e-9, atol=0)


def test_a_bias_that_two_paths_read_counts_for_both() -> None:
    """Batch normalization takes the layer's bias in only as far as it reads it."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            a = self.conv(x)
            return (F.silu(self.norm(a)) * a).mean((2, 3))

    found = full_grad(lively(Both()).double(), picture(1).double(), 1, kind="signed")
    assert max(found.gap) < 1e-10


SPELLED = {
    "in steps": lambda v, m, s, w, b: (v - m) / s * w + b,
    "in one scale": lambda v, m, s, w, b: torch.add(v * (w / s), b - m * w / s),
    "in place": lambda v, m, s, w, b: v.subtract(m).mul_(w / s).add_(b),
    "the other way round": lambda v, m, s, w, b: b - (m - v) * (w / s),
    "numbers too": lambda v, m, s, w, b: ((2 - v) / 2 - 1 + m / 2).mul(-2 * w / s).add(b),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelling", SPELLED)
def test_a_normalization_that_is_spelled_out_is_the_layer_it_stands_for(spelling: str, kind: str) -> None:
    conv, norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
    net = lively(nn.Sequential(conv, norm, nn.ReLU(), Of(lambda v: v.square().mean((2, 3))))).double()
    mean, deviation, weight, bias = (
        v.detach().reshape(3, 1, 1)
        for v in (norm.running_mean, (norm.running_var + norm.eps).sqrt(), norm.weight, norm.bias)
    )
    spelled = Of(lambda v: SPELLED[spelling](v, mean, deviation, weight, bias))
    x = picture(1).double()
    wanted = full_grad(net, x, 1, kind=kind)
    found = full_grad(nn.Sequential(conv, spelled, *net[2:]), x, 1, kind=kind)
    torch.testing.assert_close(found.values, wanted.values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_into_a_result_ends_its_layer(kind: str) -> None:
    """ReLU in place leaves the same tensor behind, which is the layer's no more."""
    conv, norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
    tail = (norm, nn.ReLU(), Of(lambda v: v.square().mean((2, 3))))
    nets = [lively(nn.Sequential(conv, nn.ReLU(inplace=writes), *tail)).double() for writes in (True, False)]
    found, wanted = (full_grad(net, picture(1).double(), 1, kind=kind) for net in nets)
    torch.testing.assert_close(found.values, wanted.values, rtol=1e-9, atol=1e-9)


def test_a_layer_that_two_normalizations_read_counts_once_for_each() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.one, self.other = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            a = self.conv(x)
            return (self.one(a).relu() + self.other(a).tanh() + (a * 2 + 1).relu()).mean((2, 3))

    found = full_grad(lively(Two()).double(), picture(1).double(), 1, kind="signed")
    assert max(found.gap) < 1e-10


@pytest.mark.parametrize("target", [probability(1), log_odds(2), logit(0) - logit(2)], ids=str)
def test_a_target_has_biases_too(target: pl.Target) -> None:
    found = full_grad(Net(block="gate", seed=4).double(), picture(2).double(), target)
    assert max(found.gap) < 1e-10


def test_a_table_shows_its_own_part_in_its_own_shape() -> None:
    net, x = nn.Sequential(nn.Linear(4, 5), nn.SiLU(), nn.Linear(5, 2)).double(), torch.randn(3, 4).double()
    found = full_grad(net, x, 1, kind="signed")
    torch.testing.assert_close(found.values, pl.methods.input_x_gradient(net, x, 1).values)
    assert max(found.gap) < 1e-10 and found.values.shape == (3, 4)


@pytest.mark.parametrize("shape", [(2, 2, 9), (2, 2, 5, 6, 4)], ids=["series", "volume"])
def test_series_and_volumes_have_places(shape: tuple[int, ...]) -> None:
    conv = {3: nn.Conv1d, 5: nn.Conv3d}[len(shape)](2, 3, 3)
    net = nn.Sequential(conv, nn.SiLU(), Of(lambda v: v.square().flatten(1).sum(1, keepdim=True))).double()
    x = torch.randn(shape, dtype=torch.float64, generator=seeded(4))
    found = full_grad(net, x, 0, kind="signed")
    assert found.values.shape == (2, 1, *shape[2:])
    torch.testing.assert_close(found.values.flatten(1).sum(1), net(x)[:, 0].detach(), rtol=1e-9, atol=0)


def test_what_cannot_be_looked_into_is_said() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # scripting announces its own retirement
        scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval())
        found = full_grad(scripted, torch.randn(2, 3, generator=seeded(5)), 0)
    assert max(found.gap) > 0.01 and any("cannot be looked into" in note for note in found.notes)
