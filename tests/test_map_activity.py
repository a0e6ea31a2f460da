"""What happens in a network on one input, against direct computation and planted faults."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.architecture.given import call_of
from pellucid.architecture.map import HOW
from pellucid.architecture.overlays.activity import thumbnail
from tests.networks import randomized
from tests.zoo_of_kinds import build, resnet


def at(found, name, site):
    return found.overlay.measures[name].nodes[found.graph.nodes.site.index(site)]


def test_numbers_are_those_of_the_values_that_flowed():
    model, (x,), _ = build(resnet)
    seen, hooks = {}, []
    for path in ("stem.0", "layer1.0.conv1", "layer2.1.bn2", "fc"):
        keep = partial(lambda path, module, given, out: seen.update({path: out.clone()}), path)
        hooks.append(model.get_submodule(path).register_forward_hook(keep))
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    found = pl.map(model, x)
    groups = {found.graph.site_of(g): g for g in range(len(found.graph.groups))}
    for path, value in seen.items():
        measures = {k: m.groups[groups[path]] for k, m in found.overlay.measures.items()}
        exact = value.double()
        expected = {"low": exact.min(), "high": exact.max(), "mean": exact.mean(), "spread": exact.std(correction=0)}
        for name, number in expected.items():
            assert measures[name] == pytest.approx(float(number), rel=1e-5, abs=1e-7), (path, name)


def test_planted_dead_and_saturated_units_are_found():
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Tanh(), nn.ReLU6())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([-1.0, -2, -3, 1, 2, 3, 4, 5]))  # three of eight never fire
        model[2].weight.zero_()
        model[2].bias.copy_(torch.tensor([9.0, -9, 0.1, -0.1]))  # two of four at the ends of tanh
    found = pl.map(model, torch.randn(2, 1, 6, 6))
    assert at(found, "dead", "1:relu.0") == at(found, "zeros", "1:relu.0") == 3 / 8
    assert at(found, "saturated", "3:tanh.0") == 0.5
    assert at(found, "low", "1:relu.0") == 0 and at(found, "high", "1:relu.0") == 5


def test_gradients_are_those_of_the_top_score():
    torch.manual_seed(0)
    model = randomized(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), 3, 0.7)
    x = torch.randn(4, 6)
    found = pl.map(model, x)
    middle = model[0](x).detach().requires_grad_()
    scores = model[2](torch.tanh(middle))
    (grad,) = torch.autograd.grad(scores.max(1).values.sum(), middle)
    expected = float(grad.square().sum().div(4).sqrt())
    assert at(found, "gradient", "0:linear.0") == pytest.approx(expected, rel=1e-5)


def test_receptive_fields_of_stacked_convolutions():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, stride=2), nn.Conv2d(2, 2, 5), nn.Flatten())
    found = pl.map(model, (1, 1, 32, 32))
    assert [at(found, "field", s) for s in ("0:conv2d.0", "1:conv2d.0", "2:conv2d.0")] == [3, 5, 13]
    assert at(found, "field", "3:flatten.0") == 32  # no longer apart: the whole input


def test_times_are_of_operations_and_a_group_has_the_sum_of_its_own():
    found = pl.map(
        nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2))), torch.randn(2, 4), time=True
    )
    times = found.overlay.measures["time"]
    ran = [v for v in times.nodes if v is not None]
    assert len(ran) == 3 and all(v > 0 for v in ran) and times.groups[0] == pytest.approx(sum(ran))
    assert times.nodes[0] is None  # an input takes no time


def test_a_thumbnail_holds_the_channels_that_vary_most():
    value = torch.zeros(1, 6, 48, 48)
    value[0, 4, :24] = 1.0  # half of it bright
    value[0, 2] = 7.0  # strong everywhere alike: nothing to see
    picture = thumbnail(value)
    assert picture.channels[0] == 4 and (picture.height, picture.width) == (24, 24) and not picture.signed
    first = np.frombuffer(picture.pixels, np.uint8).reshape(-1, 24, 24)[0]
    assert (picture.low, picture.high) == (0.0, 7.0)  # one scale for all that are shown
    assert (first[:12] == round(255 / 7)).all() and (first[12:] == 0).all()
    signed = thumbnail(torch.linspace(-2, 1, 64).view(1, 1, 8, 8))
    assert signed.signed and (signed.low, signed.high) == (-2.0, 2.0)
    assert thumbnail(torch.ones(3, 5)) is None


def test_the_network_is_left_as_it_was_and_random_numbers_too():
    model, (x,), _ = build(resnet)
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    pl.map(model, x, time=True)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_without_an_input_a_network_that_says_nothing_is_a_tree_with_a_note():
    found = pl.map(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
    assert not len(found.graph.edges) and found.totals.parameters == 8 and found.totals.flops is None
    assert HOW in found.notes[-1]


class Asks(nn.Module):
    def forward(self, x):
        return x + 1 if bool(x.sum() > 0) else x - 1


def test_what_cannot_be_followed_by_shapes_is_run_with_numbers_and_said():
    found = pl.map(Asks(), (2, 3))
    assert "sub" in found.graph.nodes.op and any("depends on the numbers" in n for n in found.notes)
    with pytest.raises(pl.BadModel, match="needs numbers"):
        pl.map(Asks(), (2, 3), fake=True)


def test_fake_and_real_passes_draw_the_same_graph():
    model, (x,), _ = build(resnet)
    assert pl.map(model, tuple(x.shape), fake=True).graph == pl.map(model, tuple(x.shape), fake=False).graph


@pytest.mark.parametrize("x", ["(1, 3)", 7, (), (1, -3), ((1, 2), "a"), (1.5, 2)])
def test_inputs_that_are_none_are_refused_with_a_sentence(x):
    with pytest.raises(pl.BadInput):
        call_of(x, nn.Linear(3, 2))


def test_an_input_that_does_not_fit_is_said_by_the_layer_that_refused_it():
    with pytest.raises(pl.BadInput, match="does not fit"):
        pl.map(nn.Sequential(nn.Linear(3, 2)), torch.zeros(1, 4))


def test_what_an_explanation_has_no_rule_for_is_seen_on_the_map():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Mish(), nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Softmax(1)))
    x = torch.randn(1, 3, 6, 6)
    e = pl.methods.guided_backprop(model, x, 0)
    trust = pl.map(model, x).explained_by(e)
    uncovered = {n for n, v in zip(trust.graph.nodes.op, trust.overlay.measures["trust"].nodes, strict=True) if v == 0}
    assert uncovered == {"softmax"} == set(e.without_rule)
    groups = {trust.graph.site_of(g): v for g, v in enumerate(trust.overlay.measures["trust"].groups)}
    assert groups["0"] == 1 and groups["3"] == 0.5 and groups[""] == 4 / 5


def test_an_unknown_color_is_refused_and_the_known_ones_are_listed():
    found = pl.map(nn.Linear(3, 2), (1, 3))
    with pytest.raises(pl.BadOption, match="parameters, flops, memory"):
        found.colored("jet")


@pytest.mark.parametrize("value", [torch.tensor(2.0), torch.ones(4)], ids=["number", "row"])
def test_what_has_no_places_has_no_thumbnail(value):
    assert thumbnail(value) is None


def test_a_number_among_the_operations_does_not_stop_the_map():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.register_buffer("scale", torch.tensor(2.0))

        def forward(self, x):
            return (self.conv(x) * self.scale.exp()).mean((2, 3))

    found = pl.map(Scaled(), torch.rand(1, 3, 8, 8))
    assert {found.graph.nodes.op[i] for i in found.overlay.pictures} == {"conv2d", "mul"}


@pytest.mark.parametrize(("by", "words"), [("zeros", "needs an input"), ("time", "time=True"), ("field", "its shape")])
def test_a_color_that_needs_more_says_what(by, words):
    found = pl.map(nn.Linear(3, 2))
    with pytest.raises(pl.BadOption) as said:
        found.colored(by)
    assert words in said.value.hint and "There is: parameters" in said.value.hint


class Particular(nn.Module):
    """Refuses what it was not made for, in its own words."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] != 4:
            raise KeyError("only four")
        return x


@pytest.mark.parametrize("fake", [True, False])
def test_a_shape_that_does_not_run_is_a_sentence_and_an_input_is_the_networks_own_error(fake):
    with pytest.raises(pl.BadInput, match=r"zeros of 2x3\. The error was: 'only four'") as said:
        pl.map(Particular(), (2, 3), fake=fake)
    assert isinstance(said.value.__cause__, KeyError) and said.value.hint
    with pytest.raises(pl.BadInput, match="zeros of x 2x3"):
        pl.map(Particular(), {"x": (2, 3)})
    with pytest.raises(KeyError):
        pl.map(Particular(), torch.zeros(2, 3))


def test_shapes_without_numbers_or_too_large_to_be_made_are_refused_with_their_sizes():
    with pytest.raises(pl.BadInput, match="1x0x8x8 holds no numbers"):
        pl.map(nn.Conv2d(3, 4, 3), (1, 0, 8, 8))
    side = 1 << 14  # 3 x 4 bytes x 2^28 = 3 GiB
    with pytest.raises(pl.BadInput, match=f"1x3x{side}x{side} would take 3.0 GiB; at most 2 GiB"):
        pl.map(nn.Conv2d(3, 4, 3), (1, 3, side, side))
    with torch.device("meta"):
        bare = nn.Conv2d(3, 4, 1)
    assert pl.map(bare, (1, 3, side, side)).graph.nodes.shape[-1] == (1, 4, side, side)


@pytest.mark.parametrize("given", [lambda v: v, lambda v: [v], lambda v: {"input": v}])
def test_an_array_is_refused_by_its_type_and_not_by_its_numbers(given):
    with pytest.raises(pl.BadInput) as said:
        pl.map(nn.Linear(3, 2), given(torch.full((1, 3), 0.625).numpy()))
    assert said.value.what == "A numpy.ndarray of shape (1, 3) is no input for a map."
    assert "torch.from_numpy" in said.value.hint
