"""What is being explained: the algebra, the names, the closed forms, and the sites."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel, BadTarget
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import Target, channel, log_odds, logit, neuron, probability, region, scalar, token
from pellucid.methods import all_methods
from tests.networks import Net, picture, seeded

METHODS = all_methods()
LABELS = ("tabby, tabby cat", "tiger cat", "Persian cat", "fox", "arctic fox, white fox", "crane", "crane")


class Echo(nn.Module):
    """Puts out what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1.0


def value(net: nn.Module | Network, x: Tensor, target: Target) -> Tensor:
    network = net if isinstance(net, Network) else Network(net)
    return Score(network, target.named(network))({network.inputs[0]: x})


def scores(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def near(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


# Algebra and its text


@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 3), st.integers(0, 3))
def test_targets_add_up_as_their_values_do(a: float, b: float, i: int, j: int) -> None:
    z = scores(2, 4)
    target = a * logit(i) - b * (log_odds(j) + probability(i)) - (-logit(j))
    others = torch.stack([z[:, k] for k in range(4) if k != j]).logsumexp(0)
    near(value(Echo(), z, target), a * z[:, i] - b * (z[:, j] - others + z.softmax(1)[:, i]) + z[:, j])


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (logit(3), "logit(3)"),
        (-logit(3), "-logit(3)"),
        (logit(3) - 0.5 * logit(7), "logit(3) - 0.5*logit(7)"),
        (2 * (logit(1) - probability(0)), "2*logit(1) - 2*probability(0)"),
        (-0.25 * channel("a.b#2", 7) + neuron("c", 1, 2), "-0.25*channel(a.b#2, 7) + neuron(c, (1, 2))"),
        (log_odds((1, 2)), "log_odds((1, 2))"),
        (token(-1, 5), "token(-1, 5)"),
        (scalar(torch.mean), "scalar(mean)"),
    ],
)
def test_a_target_says_what_it_is(target: Target, text: str) -> None:
    assert str(target) == text


def test_a_single_class_is_described_by_name() -> None:
    net = Network(Echo(), labels=LABELS)
    assert logit("tiger cat").named(net).describe(net) == "logit of tiger cat (1)"
    assert log_odds(3).describe(net) == "log-odds of fox (3)"
    assert logit(40).describe(net) == "logit of class 40"
    assert (logit(1) - logit(3)).describe(net) == "logit(1) - logit(3)"


def test_log_odds_stand_in_for_a_single_class_only() -> None:
    assert logit(2).as_log_odds() == probability(2).as_log_odds() == log_odds(2)
    for other in (logit(1) - logit(2), channel("a", 1)):
        assert other.as_log_odds() == other


def test_equal_targets_are_equal_and_can_be_kept_in_sets() -> None:
    assert logit(1) + channel("a", 2) == logit(1) + channel(Site("a"), 2) != logit(1) + channel("a", 3)
    assert len({logit(1), logit(1), logit(2)}) == 2


# Names


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("tiger cat", 1),
        ("TABBY", 0),
        ("tabby cat", 0),
        ("persian", 2),
        ("fox", 3),
        ("white fox", 4),
        ("arctic", 4),
        ("2", 2),
        (" Fox ", 3),
    ],
)
def test_names_find_their_class(text: str, index: int) -> None:
    z = scores(1, 7)
    near(value(Network(Echo(), labels=LABELS), z, logit(text)), z[:, index])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat", "'cat' fits 3 classes: tabby, tabby cat (0), tiger cat (1), Persian cat (2)"),
        ("crane", "'crane' fits 2 classes: crane (5), crane (6)"),
        ("wolf", "No class is called 'wolf'; there are 7"),
    ],
)
def test_names_that_fit_several_classes_or_none_are_refused(text: str, message: str) -> None:
    for target in (logit(text), log_odds(text) - logit(0)):
        with pytest.raises(BadTarget) as caught:
            METHODS["saliency"](Network(Echo(), labels=LABELS), scores(1, 7), target)
        assert message in caught.value.what and caught.value.hint


def test_a_name_without_labels_is_refused() -> None:
    with pytest.raises(BadTarget, match="no class names"):
        METHODS["saliency"](Echo(), scores(1, 7), "cat")
    with pytest.raises(BadTarget, match="was not looked up"):
        Score(Network(Echo(), labels=LABELS), logit("fox"))({"x": scores(1, 7)})


# Classes


def test_log_odds_are_the_score_against_all_the_others() -> None:
    z = scores(5, 4)
    p = z.softmax(1)
    near(value(Echo(), z, log_odds(2)), (p[:, 2] / (1 - p[:, 2])).log())
    near(value(Echo(), z, probability(2)), p[:, 2])
    two = scores(3, 2)
    near(value(Echo(), two, log_odds(0)), two[:, 0] - two[:, 1])


def test_log_odds_stay_finite_where_the_probability_is_one() -> None:
    z = torch.tensor([[800.0, 0.0, 0.0]], dtype=torch.float64)
    near(value(Echo(), z, log_odds(0)), 800 - torch.tensor([2.0], dtype=torch.float64).log())


def test_the_log_odds_of_a_single_sigmoid_unit_are_its_logit() -> None:
    z = scores(3, 1)
    near(value(Echo(), z, log_odds(0)), z[:, 0])


@pytest.mark.parametrize("kind", [logit, probability, log_odds])
def test_each_sample_may_have_a_class_of_its_own(kind: Any) -> None:
    z, classes = scores(4, 3), (2, 0, 1, 2)
    near(
        value(Echo(), z, kind(classes)),
        torch.cat([value(Echo(), z[i : i + 1], kind(c)) for i, c in enumerate(classes)]),
    )


def test_the_top_class_is_explained_when_none_is_given() -> None:
    z = torch.tensor([[0.0, 2, 1], [3, 2, 1], [0, 2, 1]])
    assert METHODS["saliency"](Echo(), z).of == logit((1, 0, 1))
    assert METHODS["saliency"](Echo(), z[::2]).of == logit(1)
    assert METHODS["saliency"](Network(Echo(), labels=("a", "b", "c")), z[:1]).target == "logit of b (1)"


@pytest.mark.parametrize(
    "target", [logit(3), logit(-1), logit((0, 3)), logit((0,)), probability(99), log_odds(-2)], ids=str
)
def test_classes_that_are_not_there_are_refused(target: Target) -> None:
    with pytest.raises(BadTarget):
        METHODS["saliency"](Echo(), scores(2, 3), target)


@pytest.mark.parametrize("target", [logit(0), probability(0), log_odds(0), None], ids=str)
def test_class_targets_need_a_score_for_each_class(target: Target | None) -> None:
    with pytest.raises((BadTarget, BadModel)) as caught:
        METHODS["saliency"](Echo(), scores(2, 3, 4), target)
    assert "token" in caught.value.hint


# Positions, places, functions


def test_tokens_and_regions_and_functions() -> None:
    z = scores(2, 5, 3)
    near(value(Echo(), z, token(1, 2)), z[:, 1, 2])
    near(value(Echo(), z, token(-1, 0)), z[:, 4, 0])
    y, mask = scores(2, 3, 4, 4), torch.zeros(4, 4, dtype=torch.bool)
    mask[1, 2] = mask[3, 3] = True
    near(value(Echo(), y, region(1, mask)), (y[:, 1, 1, 2] + y[:, 1, 3, 3]) / 2)
    near(value(Echo(), y, scalar(lambda out: out.flatten(1).norm(dim=1))), y.flatten(1).norm(dim=1))


MASK = torch.ones(4, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        ((2, 5, 3), token(5, 0)),
        ((2, 5, 3), token(-6, 0)),
        ((2, 5, 3), token(0, 3)),
        ((2, 5), token(0, 0)),
        ((2, 3, 4, 4), region(1, torch.zeros(4, 4, dtype=torch.bool))),
        ((2, 3, 4, 4), region(1, torch.ones(3, 4, dtype=torch.bool))),
        ((2, 3, 4, 4), region(3, MASK)),
        ((2, 3, 4, 4), region(-1, MASK)),
        ((2, 3, 4, 4), region(0, MASK.long())),
        ((2, 3), region(0, MASK)),
        ((2, 3), scalar(lambda out: out.sum())),
        ((2, 3), scalar(lambda out: out)),
        ((2, 3), scalar(lambda out: 3.0)),
    ],
    ids=itertools.count(),
)
def test_targets_that_the_output_does_not_have_are_refused(shape: Sequence[int], target: Target) -> None:
    with pytest.raises(BadTarget):
        METHODS["saliency"](Echo(), scores(*shape), target)


# Sites


def inner(net: Net, x: Tensor) -> dict[str, Tensor]:
    """The values inside `Net`, worked out by its parts."""
    a = F.relu(net.norm(net.conv1(x)))
    b = net.conv2(a)
    return {"conv1": net.conv1(x), "act1": a, "conv2": b, "act2": F.relu(b)}


def test_channels_and_neurons() -> None:
    net, x = Net().double(), picture(0).double()
    at = inner(net, x)
    for name, v in at.items():
        near(value(net, x, channel(name, 2)), v[:, 2].mean((1, 2)).detach())
        near(value(net, x, neuron(name, 1, 5, 0)), v[:, 1, 5, 0].detach())
        near(value(net, x, neuron(name, -1, -1, -1)), v[:, -1, -1, -1].detach())
    near(value(net, x, channel("head", 1)), net(x)[:, 1].detach())
    near(value(net, x, channel("conv2:input", 3)), at["act1"][:, 3].mean((1, 2)).detach())
    near(value(net, x, channel("", 1) - logit(1)), torch.zeros(2).double())


def test_operations_inside_a_module() -> None:
    net, x = Net("functional", block="pool").double(), picture(0).double()
    at = inner(net, x)
    near(value(net, x, channel(":relu.0", 1)), at["act1"][:, 1].mean((1, 2)).detach())
    near(value(net, x, channel(":relu.1", 1)), at["act2"][:, 1].mean((1, 2)).detach())
    pooled = F.max_pool2d(at["act2"], 2)
    for spelled in (":max_pool2d", ":max_pool2d.0", ":boolean_dispatch"):
        try:
            near(value(net, x, channel(spelled, 1)), pooled[:, 1].mean((1, 2)).detach())
            break
        except (BadInput, BadModel):
            continue
    else:
        pytest.fail("max pooling has no site")
    near(
        value(Net().double(), x, channel("act2:relu", 1)), inner(Net().double(), x)["act2"][:, 1].mean((1, 2)).detach()
    )


def test_operations_are_counted_within_their_module() -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(F.relu(x) - 1)

    net = nn.Sequential(Twice(), Twice()).double()
    x = scores(3, 4) * 3
    first = F.relu(x) - 1
    near(value(net, x, channel("0:relu.1", 2)), first.relu()[:, 2])
    near(value(net, x, channel("1:relu.0", 2)), first.relu()[:, 2])
    near(value(net, x, channel("1:relu.1", 2)), (first.relu() - 1).relu()[:, 2])
    near(value(net, x, channel("1:input", 2)), first.relu()[:, 2])


def test_a_reused_module_has_a_site_for_each_of_its_calls() -> None:
    net, x = Net("reused").double(), picture(0).double()
    at = inner(net, x)
    near(value(net, x, channel("act1", 1)), at["act1"][:, 1].mean((1, 2)).detach())
    near(value(net, x, channel("act1#1", 1)), at["act2"][:, 1].mean((1, 2)).detach())
    near(value(net, x, channel("act1#1:input", 1)), at["conv2"][:, 1].mean((1, 2)).detach())
    with pytest.raises(BadModel, match="'act1#2' did not run"):
        value(net, x, channel("act1#2", 1))


def test_a_value_is_seen_before_it_is_overwritten() -> None:
    plain, written, x = Net("module").double(), Net("in place").double(), picture(0).double()
    for site in ("conv2", "norm", "act1"):
        near(value(written, x, channel(site, 1)), value(plain, x, channel(site, 1)))
        near(
            METHODS["saliency"](written, x, channel(site, 1)).values,
            METHODS["saliency"](plain, x, channel(site, 1)).values,
        )


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (channel("conv9", 0), BadInput),
        (channel("conv2", 4), BadTarget),
        (channel("conv2", -1), BadTarget),
        (neuron("conv2", 0), BadTarget),
        (neuron("conv2", 0, 0, 9), BadTarget),
        (channel(":gelu", 0), BadModel),
        (channel("conv2#1", 0), BadModel),
    ],
    ids=str,
)
@pytest.mark.parametrize("also", [False, True], ids=["alone", "beside the output"])
def test_sites_that_are_not_there_are_refused(target: Target, error: type[Exception], also: bool) -> None:
    with pytest.raises(error):
        METHODS["saliency"](Net(), picture(0), target + logit(0) if also else target)


@pytest.mark.parametrize("text", ["a#", "a#x", "a:b:c", "a#1#2", "a: b"])
def test_what_is_no_site_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a site"):
        channel(text, 0)


@given(
    st.from_regex(r"[a-z0-9_.]{0,9}", fullmatch=True),
    st.integers(0, 99),
    st.sampled_from(["output", "input", "relu", "max_pool2d.3"]),
)
def test_sites_are_read_as_they_are_written(path: str, call: int, at: str) -> None:
    assert Site.parse(str(Site(path, call, at))) == Site(path, call, at)


# A pass ends where the target has been read


class Counted(nn.Sequential):
    """Three layers that count their calls, outside of what a double copies."""

    def __init__(self, calls: list[int]) -> None:
        super().__init__(*(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3)))
        for i, layer in enumerate(self):
            layer.register_forward_hook(Count(calls, i))


class Count:
    def __init__(self, calls: list[int], i: int) -> None:
        self.calls, self.i = calls, i

    def __call__(self, *_: object) -> None:
        self.calls[self.i] += 1


@pytest.mark.parametrize(
    ("target", "ran"),
    [
        (channel("0.0", 1), (0, 0, 0)),
        (channel("0", 1), (1, 0, 0)),
        (channel("1:input", 1), (1, 0, 0)),
        (channel("1.1:relu", 1), (1, 0, 0)),
        (channel("1", 1), (1, 1, 0)),
        (channel("0", 1) + neuron("1", 2), (1, 1, 0)),
        (channel("2", 1), (1, 1, 1)),
        (channel("0", 1) + logit(2), (1, 1, 1)),
        (logit(2), (1, 1, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "gradient"])
def test_nothing_runs_after_the_last_site_of_a_target(target: Target, ran: tuple[int, ...], backward: bool) -> None:
    calls = [0, 0, 0]
    f, x = Score(Network(Counted(calls)), target), {"input": torch.randn(1, 4)}
    if backward:
        f.grad(x)
    else:
        f(x)
    assert tuple(min(n, 1) for n in calls) == ran


def test_reading_values_ends_at_the_last_of_them() -> None:
    calls = [0, 0, 0]
    net = Counted(calls)
    x = torch.randn(2, 4)
    found = Score(Network(net), logit(0)).values({"input": x}, Site("0"), Site("1", at="input"))
    near(found[Site("0")], found[Site("1", at="input")])
    assert calls[1:] == [0, 0] and calls[0] > 0
    torch.testing.assert_close(found[Site("0")], net[0](x).detach())
