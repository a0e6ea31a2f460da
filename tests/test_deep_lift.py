"""DeepLIFT: shares that add up on networks of every build, each multiplier in closed form, and what is said if not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadModel
from pellucid.core.explanation import Explanation
from pellucid.core.operations.kinds import SPELLINGS
from pellucid.core.run import Run, running
from pellucid.core.target import log_odds, logit, probability, scalar
from pellucid.methods import all_methods
from pellucid.rules.guided import GUIDED
from pellucid.rules.lrp import lrp_rule
from pellucid.rules.rescale import rescale
from tests.networks import Chain, seeded

deep_lift = pl.methods.deep_lift


# Networks of the usual builds, small and with random weights


class Basic(nn.Module):
    """A block of ResNet-18: one ReLU module, used twice and in place; the sum is in place too."""

    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.norm2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b)) if a != b else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        out += x if self.down is None else self.down(x)
        return self.relu(out)


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.squeeze, self.excite, self.gate = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1), gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    """Expansion, depthwise convolution, gate, projection and a residual sum: MobileNetV3 and EfficientNet."""

    def __init__(self, width: int, activation: nn.Module, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        wide = 3 * width
        self.body = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), activation,
            nn.Conv2d(wide, wide, 3, 1, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), activation,
            Gate(wide, gate), nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Former(nn.Module):
    """A small vision transformer; `first` says whether the batch is the first axis inside."""

    def __init__(self, first: bool = True) -> None:
        super().__init__()
        self.patches, self.first = nn.Conv2d(3, 16, 8, 8), first
        layer = nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=first, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).permute(*((0, 2, 1) if self.first else (2, 0, 1)))
        return self.head(self.norm(self.body(tokens)).mean(1 if self.first else 0))


def stem(width: int, activation: nn.Module) -> list[nn.Module]:
    return [nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), activation]


def head(width: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5)]


def resnet18() -> nn.Module:
    widths = [(8, 8, 1), (8, 8, 1), (8, 12, 2), (12, 12, 1), (12, 16, 2), (16, 16, 1), (16, 24, 2), (24, 24, 1)]
    return nn.Sequential(*stem(8, nn.ReLU(True)), nn.MaxPool2d(3, 2, 1), *(Basic(*w) for w in widths), *head(24))


def vgg() -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in ((3, 8), (8, 12), (12, 16), (16, 16)):
        layers += [nn.Conv2d(a, b, 3, 1, 1), nn.ReLU(True), nn.Conv2d(b, b, 3, 1, 1), nn.ReLU(True), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 20), nn.ReLU(True), nn.Dropout(), nn.Linear(20, 5))


def mobilenet_v3() -> nn.Module:
    act = nn.Hardswish(inplace=True)
    return nn.Sequential(*stem(8, act), *(Inverted(8, act, F.hardsigmoid) for _ in range(5)), *head(8))


def efficientnet() -> nn.Module:
    act = nn.SiLU(inplace=True)
    return nn.Sequential(*stem(8, act), *(Inverted(8, act, torch.sigmoid) for _ in range(5)), *head(8))


def with_group_norm() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.GroupNorm(4, 8), nn.GELU(), nn.Conv2d(8, 8, 3), nn.Mish(), *head(8))


BUILDS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": resnet18, "vgg": vgg, "mobilenet_v3": mobilenet_v3, "efficientnet": efficientnet,
    "former": Former, "former, sequence first": lambda: Former(first=False), "group norm": with_group_norm,
}  # fmt: skip


def lively(net: nn.Module) -> nn.Module:
    """Weights that keep a signal alive through many layers, in evaluation mode."""
    with torch.no_grad():
        for i, (name, p) in enumerate(net.named_parameters()):
            drawn = torch.randn(p.shape, generator=seeded(i))
            p.copy_(drawn * (2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1 * drawn + name.endswith("weight"))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def pictures(size: int = 32, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=seeded(7))


def missed(found: Explanation, net: nn.Module, x: Tensor, baseline: float) -> float:
    """The relative gap, from the network itself."""
    with torch.no_grad():
        change = (net(x) - net(torch.full_like(x, baseline)))[:, 1]
    return float(((found.values.flatten(1).sum(1) - change).abs() / change.abs()).max())


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("baseline", [0.0, -0.4])
def test_adds_up_in_single_precision(build: str, baseline: float) -> None:
    net, x = lively(BUILDS[build]()), pictures()
    found = deep_lift(net, x, 1, baseline=baseline)
    assert missed(found, net, x, baseline) <= 1e-4 and max(found.gap) <= 1e-4
    assert found.without_rule == () and found.values.abs().max() > 1e-3


def test_adds_up_on_the_bundled_network() -> None:
    found = deep_lift(pl.open("efficientnet_lite0"), pictures(224), 281)
    assert max(found.gap) <= 1e-4 and found.without_rule == ()


@pytest.mark.parametrize("build", ["former", "former, sequence first"])
def test_samples_are_kept_apart_whatever_axis_is_the_batch(build: str) -> None:
    net, x = lively(BUILDS[build]()).double(), pictures().double()
    together = deep_lift(net, x, 1).values
    alone = torch.cat([deep_lift(net, v[None], 1).values for v in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_the_order_of_the_axes_inside_does_not_matter() -> None:
    x = pictures().double()
    a, b = (deep_lift(lively(Former(first)).double(), x, 1).values for first in (True, False))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


TARGETS = {
    "probability": probability(1), "log-odds": log_odds(2), "difference": logit(0) - 0.5 * logit(3),
    "log-softmax": scalar(lambda z: z.log_softmax(1)[:, 2]), "square": scalar(lambda z: z[:, 0] ** 2 / z.exp().sum(1)),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_targets_that_are_not_linear_have_the_rule_too(target: str) -> None:
    found = deep_lift(lively(vgg()).double(), pictures().double(), TARGETS[target])
    assert max(found.gap) < 1e-8 and found.without_rule == ()


# One operation at a time: multipliers times changes are the change of the result, and a closed form where there is one


class Of(nn.Module):
    def __init__(self, formula: Callable[..., Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, *x: Tensor) -> Tensor:
        return self.formula(*x)


ARGUMENTS = {F.threshold: (0.2, -0.3), torch.threshold: (0.2, -0.3), torch.threshold_: (0.2, -0.3)}
SLOPE = torch.full((1,), 0.3, dtype=torch.float64)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda f: getattr(f, "__name__", "?"))
def test_every_elementwise_operation_has_the_ratio(spelling: Callable[..., Tensor]) -> None:
    name = SPELLINGS[spelling][0]
    rest = ARGUMENTS.get(spelling) or {"prelu": (SLOPE,), "pow": (3,)}.get(name, ())

    def f(v: Tensor) -> Tensor:
        return spelling(v.clone(), *rest)

    x = torch.rand(2, 6, dtype=torch.float64, generator=seeded(1)) * 3 + 0.1
    x = x if name in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal") else x - 1.5
    x[0, 0] = 0.5  # where input and baseline are the same, the multiplier is the slope
    head = torch.linspace(-1, 2, 6, dtype=torch.float64)
    found = deep_lift(Of(lambda v: (f(2 * v) * head)[:, :, None].sum(1)), x, 0, baseline=0.5)
    torch.testing.assert_close(found.values, head * (f(2 * x) - f(torch.ones_like(x))), rtol=1e-9, atol=1e-12)
    assert found.without_rule == ()


@pytest.mark.parametrize(
    "formula",
    [
        lambda v: F.max_pool1d(v, 3, 2), lambda v: F.max_pool1d(v, 3, 1, 1, 2), lambda v: F.adaptive_max_pool1d(v, 3),
        lambda v: F.max_pool2d(v[:, None], 2), lambda v: F.max_pool2d(v[:, None], 3, 1, 1),
        lambda v: F.max_pool3d(v[:, None, None], (1, 2, 3), 1), lambda v: torch.amax(v, 2),
        lambda v: v.amax((1, 2), keepdim=True), lambda v: torch.maximum(v, v.flip(2)), lambda v: torch.max(v, v * 0.3),
        lambda v: v @ v.mT, lambda v: torch.einsum("bij,bkj->bik", v, v.sin()), lambda v: v * v.sigmoid() * v.tanh(),
        lambda v: v / (1 + v.abs().sum(2, keepdim=True)), lambda v: 1 / (2 + v.square()), lambda v: v.clamp(-0.2, 0.9),
        lambda v: v.softmax(2), lambda v: F.log_softmax(v, dim=1), lambda v: v.logsumexp((1, 2))[:, None],
        lambda v: v**3, lambda v: torch.logsumexp(9 * v, 2, keepdim=True), lambda v: F.softmin(9 * v, 2),
        lambda v: F.glu(v), lambda v: F.softmax(20 * v, 1),
        lambda v: F.layer_norm(v, (8,)), lambda v: F.group_norm(v, 2), lambda v: F.rms_norm(v, (8,)),
        lambda v: F.scaled_dot_product_attention(v, v.flip(1), v.tanh(), is_causal=True),
        lambda v: F.conv1d(v, v[0].reshape(2, 4, 4)), lambda v: v.exp().div_(v.square().sum() + 1),
    ],
)  # fmt: skip
def test_every_other_operation_adds_up(formula: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(1, 4, 8, dtype=torch.float64, generator=seeded(2))
    bend = lambda v: (formula(v + shift) * 1.7).flatten(1).cos().sum(1, keepdim=True)  # noqa: E731
    shift = torch.randn(4, 8, dtype=torch.float64, generator=seeded(3))
    found = deep_lift(Of(bend), x, 0, baseline=0.3)
    change = bend(x) - bend(torch.full_like(x, 0.3))
    torch.testing.assert_close(found.values.sum((1, 2)), change[:, 0], rtol=1e-9, atol=1e-10)
    assert found.without_rule == () and float(found.values.abs().max()) > 1e-3


def test_softmax_in_numbers() -> None:
    """Three logits, from 0: with L the logarithmic mean, each share of p_0 is L_0 (d_0j - L_j / sum L) x_j."""
    x = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    p = x.softmax(1)[0]
    mean = (p - 1 / 3) / (p.log() - torch.tensor(1 / 3, dtype=torch.float64).log())
    right = mean[0] * (torch.eye(3, dtype=torch.float64)[0] - mean / mean.sum()) * x[0]
    torch.testing.assert_close(deep_lift(Of(lambda v: v.softmax(1)), x, 0).values[0], right, rtol=0, atol=1e-12)


def test_what_is_the_same_for_all_logits_has_no_share_in_a_softmax() -> None:
    x = torch.randn(2, 4, dtype=torch.float64, generator=seeded(4))
    f = lambda v: (v[:, :3] + 5 * v[:, 3:]).softmax(1)  # noqa: E731
    found = deep_lift(Of(f), x, 0).values
    with torch.no_grad():
        torch.testing.assert_close(found[:, :3].sum(1), f(x)[:, 0] - 1 / 3, rtol=0, atol=1e-12)
    torch.testing.assert_close(found[:, 3], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-3, 1e-6, 1e-9, 0.0])
def test_small_changes_have_the_slope(factor: float) -> None:
    """As the input nears the baseline the multipliers become the slopes; no 0 / 0, no loss of digits that shows."""
    net = Chain(3, 8, 8, 2, seed=1, activation=lambda v: F.silu(v).softmax(1)).double()
    x = 0.5 + factor * torch.randn(2, 3, dtype=torch.float64, generator=seeded(5))
    at = torch.full_like(x, 0.5).requires_grad_()
    slope = torch.autograd.grad(net(at)[:, 0].sum(), at)[0]
    found = deep_lift(net, x, 0, baseline=0.5).values
    right = slope * (x - 0.5)
    torch.testing.assert_close(found, right, rtol=0, atol=(20 * factor + 1e-5) * float(right.abs().max()))


# What it cannot do, it says


def test_strict_refuses_what_the_rules_do_not_cover() -> None:
    """By an option of every method with rules, and by the run; nothing is refused where everything is covered."""
    net, x = nn.Sequential(nn.Linear(4, 4), Of(lambda v: v.cumprod(1)), nn.ReLU(), nn.Linear(4, 2)), torch.randn(2, 4)
    fine = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with_rules = [m for m in all_methods().values() if any(o.name == "strict" for o in m.options)]
    assert len(with_rules) >= 5
    for method in with_rules:
        if method.family == "class activation":
            continue
        assert "cumprod" in method(net, x, 1).without_rule
        with pytest.raises(BadModel, match=r"says nothing about: .*cumprod"):
            method(net, x, 1, strict=True)
        with running(Run(strict=True)), pytest.raises(BadModel, match="strict=True"):
            method(net, x, 1)
        with running(Run(strict=True)):
            assert method(fine, x, 1, strict=True).without_rule == ()


def test_a_rule_lists_what_it_covers() -> None:
    assert {"relu", "gelu", "max_pool"} <= set(GUIDED.covers) and "sigmoid" not in GUIDED.covers
    wanted = {
        "softmax",
        "product",
        "layer_norm",
        "lstm",
        "gru_cell",
        "multi_head_attention_forward",
        "rms_norm",
        "silu",
    }
    for rule in (rescale(lambda x: x), lrp_rule("lrp", {})):
        assert wanted <= set(rule.covers)


@pytest.mark.parametrize(
    "formula",
    [
        lambda v: v.std(2), lambda v: torch.var(v, (1, 2), unbiased=False)[:, None], lambda v: v.std() * v,
        lambda v: torch.std(v, dim=1, correction=0, keepdim=True), lambda v: F.normalize(v, dim=2), torch.special.expit,
        lambda v: v.norm(dim=1), lambda v: torch.linalg.vector_norm(v, dim=2, keepdim=True), F.instance_norm,
        lambda v: F.local_response_norm(v[..., None], 3), lambda v: F.cosine_similarity(v, v.flip(1), 2),
        nn.BatchNorm1d(4, track_running_stats=False).double().eval(), nn.InstanceNorm1d(4, affine=True).double(),
        nn.InstanceNorm1d(4, track_running_stats=True).double().eval(), lambda v: torch.addcmul(v, v, v.sin()),
        lambda v: torch.lerp(v, v.exp(), v.sigmoid()), lambda v: v.amin(2), lambda v: torch.minimum(v, v.flip(2)),
        lambda v: v.max(2)[0], lambda v: v.min(dim=1, keepdim=True).values, lambda v: torch.min(v, -v), lambda v: 2**v,
    ],
)  # fmt: skip
def test_what_is_written_out_adds_up(formula: Callable[[Tensor], Tensor]) -> None:
    test_every_other_operation_adds_up(formula)


def test_indices_and_gates_that_autograd_does_not_see_are_named() -> None:
    pools = nn.Sequential(
        nn.Conv1d(2, 4, 3), Of(lambda v: F.max_pool1d(v, 2, return_indices=True)[0]), nn.Flatten(), nn.Linear(12, 2)
    )
    assert deep_lift(pools, torch.randn(2, 2, 8), 1).without_rule == ("max_pool",)
    gated = nn.Sequential(nn.Linear(4, 4), Of(lambda v: v * (v > 0)), nn.Linear(4, 2))
    assert "gt" in deep_lift(gated, torch.randn(2, 4), 1).without_rule


def test_a_network_that_goes_another_way_for_the_baseline_is_refused() -> None:
    way = Of(lambda v: v.relu() if bool(v.detach().sum() > 4) else v.exp())
    with pytest.raises(BadModel, match="computes exp for the input where it computes relu for the baseline"):
        deep_lift(nn.Sequential(way, nn.Linear(3, 2)), torch.full((1, 3), 0.1), 0, baseline=2.0)


def test_values_that_are_overwritten_later_do_no_harm() -> None:
    def overwrites(v: Tensor) -> Tensor:
        a = F.silu(v)
        a += v
        b = a * v.sigmoid()
        b.relu_().mul_(3)
        return b

    x = torch.randn(3, 4, dtype=torch.float64, generator=seeded(6))
    net = Of(lambda v: overwrites(v + 0).sum(1, keepdim=True))
    found = deep_lift(net, x, 0, baseline=0.2)
    assert max(found.gap) < 1e-9 and found.without_rule == ()
