"""LRP: what is kept and what is lost on the way back, on networks of every build; the rules by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadModel
from pellucid.core.target import logit
from tests.networks import Net, picture, randomized, seeded

lrp = pl.methods.lrp
PRESETS = next(o.choices for o in lrp.options if o.name == "preset")


class Of(nn.Module):
    def __init__(self, formula: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x)


class Blocks(nn.Module):
    """No biases; a sum in place, concatenation, pooling, an average and batch normalization that only scales."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.up, self.norm = nn.ConvTranspose2d(8, 4, 2, 2, bias=False), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3, bias=False)
        randomized(self, 3)
        nn.init.zeros_(self.norm.bias)
        self.norm.running_mean.zero_()

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.norm(self.conv1(x)))
        b = self.norm(F.relu(self.conv2(a)))
        b += a
        c = F.max_pool2d(torch.cat((b.relu_(), F.avg_pool2d(a, 3, 1, 1)), 1), 2)
        return self.head((0.5 * self.up(c) - a[..., :4]).mean((2, 3)))


@pytest.mark.parametrize("preset", PRESETS)
def test_without_biases_nothing_is_lost(preset: str) -> None:
    """Each rule divides by the sum of what it shares out; the stabilizer alone keeps something back."""
    net, x = Blocks().double(), picture(4).double()
    found = lrp(net, x, 1, preset=preset, low=-5.0, high=5.0)
    with torch.no_grad():
        score = net(x)[:, 1]
    torch.testing.assert_close(found.values.flatten(1).sum(1), score, rtol=2e-3, atol=0)
    assert found.without_rule == () and found.facts["score"] == pytest.approx(score.tolist())


def test_what_biases_keep_back_is_reported() -> None:
    net, x = Net(block="residual", seed=2).double(), picture(1).double()
    found = lrp(net, x, 1)
    with torch.no_grad():
        score = net(x)[:, 1]
    arrived = found.values.flatten(1).sum(1)
    assert found.facts["relevance at the input"] == pytest.approx(arrived.tolist())
    assert found.facts["share kept back"] == pytest.approx((1 - arrived / score).tolist())
    assert float((1 - arrived / score).abs().max()) > 0.01 and any("kept back" in note for note in found.notes)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_operation_says_what_it_kept_back(preset: str) -> None:
    """Together that is what did not arrive; without biases nobody keeps anything but the stabilizers."""
    net, x = Net(block="attention", activation="gelu", seed=2).double(), picture(1, 3).double()
    found = lrp(net, x, 1, preset=preset)
    each = found.facts["kept back by operation"]
    lost = torch.tensor(found.facts["share kept back"], dtype=torch.float64)
    assert sum(each.values()) == pytest.approx(float(lost.mean()), abs=1e-9)
    assert {"convolution.0", "convolution.1", "dense.0", "gelu.0", "product.1", "softmax.0"} <= set(each)
    found = lrp(Blocks().double(), picture(4).double(), 1, preset=preset, low=-5.0, high=5.0)
    assert max(map(abs, found.facts["kept back by operation"].values())) < 1e-3


def test_the_layer_that_keeps_something_back_is_the_one_that_says_so() -> None:
    """z = 3 x + 1 at x = 1 keeps a quarter; the layer on top has no bias."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        net[0].weight.fill_(3)
        net[0].bias.fill_(1)
        net[2].weight.fill_(2)
    each = lrp(net, torch.ones(2, 1).double(), 0).facts["kept back by operation"]
    assert each["dense.0"] == pytest.approx(0.25, abs=1e-5) and each["dense.1"] == pytest.approx(0, abs=1e-5)


def test_epsilon_is_input_times_gradient_where_rectifiers_are_the_only_bends() -> None:
    """Without biases; through maxima, sums and batch normalization, too (Ancona et al. 2018)."""
    net, x = Blocks().double(), picture(4).double()
    right = pl.methods.input_x_gradient(net, x, 1).values
    torch.testing.assert_close(lrp(net, x, 1).values, right, rtol=0, atol=1e-3 * float(right.abs().max()))


def test_a_difference_of_classes_is_the_difference_of_their_maps() -> None:
    net, x = Blocks().double(), picture(4).double()
    a, b = (lrp(net, x, c).values for c in (0, 2))
    torch.testing.assert_close(lrp(net, x, logit(0) - 2 * logit(2)).values, a - 2 * b, rtol=0, atol=1e-4)


def test_a_normalization_after_a_layer_is_one_layer_with_it() -> None:
    """Relevance of a layer whose output the normalization brings to the other sign: not that of either alone."""
    conv, norm = nn.Conv1d(1, 1, 2, bias=False), nn.BatchNorm1d(1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[2.0, -1.0]]]))
        norm.running_mean.fill_(3.0)
        norm.running_var.fill_(0.25 - norm.eps)
        norm.bias.fill_(1.0)
    net, x = nn.Sequential(conv, norm, nn.Flatten()).double().eval(), torch.tensor([[[1.0, 4.0]]]).double()
    found = lrp(net, x, 0, preset="epsilon_plus_flat").values  # flat: two equal halves of 2 (2 - 4 - 3) + 1 = -9
    torch.testing.assert_close(found, torch.full_like(found, -4.5), rtol=1e-4, atol=0)
    found = lrp(net, x, 0, preset="epsilon").values  # 4, -8 and the bias -5
    torch.testing.assert_close(found, torch.tensor([[[4.0, -8.0]]]).double(), rtol=1e-4, atol=0)


def test_a_sigmoid_keeps_its_half_back_as_a_bias() -> None:
    x = torch.tensor([[2.0, -1.0]]).double()
    found = lrp(Of(torch.sigmoid), x, 0).values
    torch.testing.assert_close(
        found, torch.tensor([[float(torch.sigmoid(x[0, 0])) - 0.5, 0.0]]).double(), rtol=0, atol=1e-5
    )


def test_a_product_halves() -> None:
    x = torch.tensor([[2.0, 3.0]]).double()
    found = lrp(Of(lambda v: v[:, :1] * v[:, 1:]), x, 0).values
    torch.testing.assert_close(found, torch.tensor([[3.0, 3.0]]).double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("formula", "named"),
    [
        (lambda v: v.cumprod(1), {"cumprod"}),
        (lambda v: v * (v > 0), {"gt"}),
        (lambda v: torch.hypot(v, v.flip(1)), {"hypot"}),
        (lambda v: F.layer_norm(v.softmax(1), (4,)), set()),
        (lambda v: 1 / (2 + v.square()), set()),
        (lambda v: v * 2 - v.flip(1) / 3 + 0.1, set()),
        (lambda v: -v.cumsum(1).mean(1, keepdim=True).expand(-1, 4), set()),
    ],
    ids=["products", "gate", "hypotenuse", "layer norm", "quotient", "linear", "sums"],
)
def test_what_has_no_rule_is_named(formula: Callable[[Tensor], Tensor], named: set[str]) -> None:
    net = nn.Sequential(nn.Linear(4, 4), Of(formula), nn.Linear(4, 2)).double()
    found = lrp(net, torch.randn(3, 4, generator=seeded(0)).double(), 1)
    assert set(found.without_rule) == named
    if named:
        with pytest.raises(BadModel, match=f"lrp epsilon says nothing about: {', '.join(named)}"):
            lrp(net, torch.randn(3, 4, generator=seeded(0)).double(), 1, strict=True)


def test_the_bundled_network_has_a_rule_for_everything() -> None:
    found = lrp(
        pl.open("efficientnet_lite0"), torch.randn(1, 3, 224, 224, generator=seeded(1)), 281, preset="alpha2_beta1"
    )
    assert found.without_rule == () and bool(found.values.any())


def test_the_first_layer_is_the_networks_also_where_an_inner_site_is_explained() -> None:
    # dense layers behind the first take the epsilon rule in both presets; the first one takes another
    net = randomized(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)), 5).double()
    x = torch.rand(2, 5, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    inside = [lrp(net, x, 1, at="1", preset=preset).values for preset in ("epsilon_plus_flat", "w2", "epsilon")]
    assert torch.equal(inside[0], inside[2]) and torch.equal(inside[1], inside[2])
    whole = [lrp(net, x, 1, preset=preset).values for preset in ("epsilon_plus_flat", "epsilon")]
    assert not torch.allclose(whole[0], whole[1])
