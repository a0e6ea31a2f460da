"""The deconvolution network by hand: switches, overlapping windows, gates, and no rectifier that goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import neuron
from pellucid.methods import all_methods
from pellucid.rules.deconvolution import DECONVOLUTION
from pellucid.rules.guided import GUIDED
from tests.networks import seeded

METHODS = all_methods()


def row(*numbers: float) -> Tensor:
    return torch.tensor([[numbers]], dtype=torch.float64)


def conv(*weights: list[list[float]], **kind: int) -> nn.Conv1d:
    w = torch.tensor(weights, dtype=torch.float64)
    made = nn.Conv1d(
        w.shape[1] * kind.get("groups", 1), w.shape[0], w.shape[2], bias=False, dtype=torch.float64, **kind
    )
    with torch.no_grad():
        made.weight.copy_(w)
    return made


def pattern(net: nn.Module, x: Tensor, *at: int, rule=DECONVOLUTION) -> Tensor:
    site = str(len(net) - 1) if isinstance(net, nn.Sequential) else ""
    return Score(Network(net), neuron(site, *at)).under(rule).grad({"input": x})["input"]


def test_two_convolutions_a_rectifier_and_switches_by_hand() -> None:
    """One channel in, two, one out; x = 1 -2 3 0 5 -1.

    conv1: channel a = x[i] - x[i+1] = 3 -5 3 -5 6, channel b = x[i] + x[i+1] = -1 1 3 5 4
    relu:  a = 3 0 3 0 6, b = 0 1 3 5 4; pool of 2: a = 3 (place 0), 3 (place 2); b = 1 (place 1), 5 (place 3)
    conv2: over two places, weights a: 2 -1, b: 1 -3; y = 6 - 3 + 1 - 15 = -11
    Back from y = 1: unpooled a = 2 0 -1 0 0, b = 0 1 0 -3 0; rectified a = 2 0 0 0 0, b = 0 1 0 0 0, though a was
    active at place 2 and b at place 3; transposed filters: a: 2 -2 0 0 0 0, b: 0 1 1 0 0 0; together 2 -1 1 0 0 0.
    """
    net = nn.Sequential(conv([[1, -1]], [[1, 1]]), nn.ReLU(), nn.MaxPool1d(2), conv([[2, -1], [1, -3]]))
    x = row(1, -2, 3, 0, 5, -1)
    assert net(x).item() == -11
    assert torch.equal(pattern(net, x, 0, 0), row(2, -1, 1, 0, 0, 0))
    assert torch.equal(pattern(net, x, 0, 0, rule=GUIDED), row(2, -1, 1, 0, 0, 0))


def test_the_rectifier_looks_at_the_signal_and_guided_at_both() -> None:
    """x = 1 -2: conv 1 and -1 on one number gives (1, -2), (-1, 2); the top weighs all of them by one."""
    net = nn.Sequential(conv([[1]], [[-1]]), nn.ReLU(), conv([[1], [1]]))
    x = row(1, -2)
    assert torch.equal(pattern(net, x, 0, 0), row(0, 0))  # up 1 through both channels: 1 - 1, active or not
    assert torch.equal(pattern(net, x, 0, 0, rule=GUIDED), row(1, 0))  # only the active channel


def test_overlapping_windows_add_up() -> None:
    """x = 1 5 2 4: windows of two, stride one, have their maxima at places 1, 1 and 3."""
    net = nn.Sequential(nn.MaxPool1d(2, 1), conv([[1, 2, 4]]))
    assert torch.equal(pattern(net, row(1, 5, 2, 4), 0, 0), row(0, 3, 0, 4))


@pytest.mark.parametrize("activation", [nn.ReLU6(), nn.Hardtanh(0.0, 6.0), lambda v: v.clamp(0, 6), F.relu6, F.silu])
def test_a_signal_goes_through_an_off_or_a_saturated_rectifier(activation: Callable[[Tensor], Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below, self.above = conv([[2]]), conv([[3]])

        def forward(self, input: Tensor) -> Tensor:
            return self.above(activation(self.below(input)))

    x = row(-1, 1, 9)
    for place in range(3):
        want = torch.zeros_like(x)
        want[0, 0, place] = 6
        assert torch.equal(pattern(Net(), x, 0, place), want)
    if activation is not F.silu:
        guided = torch.cat([pattern(Net(), x, 0, i, rule=GUIDED) for i in range(3)]).sum(0, keepdim=True)
        assert torch.equal(guided, row(0, 6, 0))


def test_without_activations_it_is_the_gradient() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Conv2d(6, 6, 3, groups=6, dilation=2), nn.BatchNorm2d(6),
        nn.AvgPool2d(2), nn.Conv2d(6, 4, 1),
    ).double().eval()  # fmt: skip
    with torch.no_grad():
        net[2].running_var.uniform_(0.5, 2, generator=seeded(1))
        net[2].weight.uniform_(-1, 1, generator=seeded(2))
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64, generator=seeded(0))
    plain = Score(Network(net), neuron("4", 1, 0, 1)).grad({"input": x})["input"]
    assert plain.abs().max() > 0
    for rule in (DECONVOLUTION, GUIDED):
        assert torch.equal(pattern(net, x, 1, 0, 1, rule=rule), plain)


def test_a_residual_adds_the_signals_of_both_ways() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.out = conv([[-2]]), conv([[1]])

        def forward(self, input: Tensor) -> Tensor:
            return self.out(torch.relu(self.inner(input) + input))

    assert torch.equal(pattern(Block(), row(1, 1), 0, 1), row(0, -1))  # off (-1), yet 1 * (-2 + 1) comes back


class Gated(nn.Module):
    """Squeeze and excitation: the signal times a sigmoid of its own mean."""

    def __init__(self, gate: Callable[[Tensor], Tensor], way: str) -> None:
        super().__init__()
        self.below, self.excite, self.above = conv([[2]], [[1]]), nn.Linear(2, 2).double(), conv([[1], [1]])
        self.gate, self.way = gate, way
        with torch.no_grad():
            self.excite.weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))

    def weights(self, v: Tensor) -> Tensor:
        return self.gate(self.excite(v.mean(2)))[:, :, None]

    def forward(self, input: Tensor) -> Tensor:
        v = self.below(input)
        g = self.weights(v)
        if self.way == "in place":
            v = v.clone()
            v *= g
        else:
            v = g.expand_as(v) * v if self.way == "gate first" else v * g
        return self.above(torch.relu(v))


@pytest.mark.parametrize("way", ["gate last", "gate first", "in place"])
@pytest.mark.parametrize("gate", [torch.sigmoid, F.hardsigmoid, nn.Sigmoid()])
@pytest.mark.parametrize("rule", [DECONVOLUTION, GUIDED], ids=lambda rule: rule.name)
def test_a_gate_is_a_constant(rule, gate: Callable[[Tensor], Tensor], way: str) -> None:
    net, x = Gated(gate, way), row(0.5, 1, 2)
    g = net.weights(net.below(x))[0, :, 0]
    want = torch.zeros_like(x)
    want[0, 0, 1] = 2 * g[0] + g[1]
    assert torch.allclose(pattern(net, x, 0, 1, rule=rule), want, rtol=1e-12, atol=0)
    assert METHODS[{"guided": "guided_backprop"}.get(rule.name, rule.name)](net, x, neuron("", 0, 1)).without_rule == ()


@pytest.mark.parametrize("rule", [DECONVOLUTION, GUIDED], ids=lambda rule: rule.name)
@pytest.mark.parametrize(
    ("name", "spelled"), [("silu", lambda v: v * v.sigmoid()), ("silu", lambda v: torch.sigmoid(v).mul(v)),
                          ("hardswish", lambda v: v * F.hardsigmoid(v))]
)  # fmt: skip
def test_a_signal_that_gates_itself_is_the_activation_of_that_name(rule, name: str, spelled: Callable) -> None:
    class Net(nn.Module):
        def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.below, self.above, self.activation = conv([[1.5]], [[-1]]), conv([[1], [-2]]), activation

        def forward(self, input: Tensor) -> Tensor:
            return self.above(self.activation(self.below(input)))

    x = row(-1, 0.3, 2)
    ours, theirs = (pattern(Net(a), x, 0, 1, rule=rule) for a in (spelled, getattr(F, name)))
    assert ours.abs().max() > 0
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-15)


def test_relu6_pictures_do_not_get_the_plain_gradient() -> None:
    """Captum 0.9 hooks modules of nn.ReLU only: on a network of ReLU6 both of its methods are the plain gradient."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.Conv2d(8, 8, 3), nn.ReLU6(), nn.Conv2d(8, 2, 3)).eval()
    x = torch.randn(1, 3, 12, 12, generator=seeded(0))
    plain = Score(Network(net), neuron("4", 1, 2, 2)).grad({"input": x})["input"]
    for rule in (DECONVOLUTION, GUIDED):
        found = pattern(net, x, 1, 2, 2, rule=rule)
        assert (found - plain).norm() > 0.3 * plain.norm()
    functional = pattern(net, x, 1, 2, 2)
    net[1], net[3] = nn.ReLU(), nn.ReLU()  # deconvolution does not look at the forward pass: the same pattern
    assert torch.allclose(pattern(net, x, 1, 2, 2), functional)
