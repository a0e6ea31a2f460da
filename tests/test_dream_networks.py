"""Dreams of every kind of network: what they leave behind (nothing), and what they run on."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.network import Network
from pellucid.core.run import Run, current, running
from pellucid.dream.recipe import Recipe
from tests.dreamed import PLAIN, QUICK, convolutions, like
from tests.networks import randomized
from tests.traces import fingerprint

# What is left behind


class Boom(Exception):
    """Something of the model's own."""


class Bursting(nn.Module):
    """Runs so many times, then raises."""

    def __init__(self, runs: int, error: Exception) -> None:
        super().__init__()
        self.net, self.left, self.error = convolutions(), [runs], error

    def forward(self, x: Tensor) -> Tensor:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise self.error
        return self.net(x)


def in_training(net: nn.Module) -> nn.Module:
    net.train()
    net.requires_grad_(True)
    next(net.parameters()).grad = torch.ones_like(next(net.parameters()))
    return net


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made: nn.Module = torch.jit.script(convolutions())
    return made


NETS = {
    "plain": lambda: convolutions(),
    "in training": lambda: in_training(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(0.5))),
    "scripted": lambda: scripted(),
}


@pytest.mark.parametrize("what", NETS)
def test_a_dream_leaves_nothing_behind(what: str) -> None:
    """Lucent leaves its hooks, and gradients in all weights, which add up."""
    net, x = NETS[what](), like()
    before = fingerprint(net, x)
    target = pl.logit(1) if what != "in training" else pl.channel("1", 1)
    for _ in range(2):
        pl.dream.maximize(net, [target, target], like=x, recipe=QUICK)
        assert fingerprint(net, x) == before
    watching = pl.dream.watch(net, target, like=x, recipe=QUICK)
    for _ in range(2):
        next(watching)
        assert fingerprint(net, x) == before  # between the steps too


def test_a_model_in_training_mode_is_dreamed_as_in_evaluation() -> None:
    net = convolutions()
    calm = pl.dream.maximize(net, pl.logit(0), like=like(), recipe=QUICK)
    excited = pl.dream.maximize(net.train(), pl.logit(0), like=like(), recipe=QUICK)
    assert torch.equal(calm.pictures, excited.pictures) and net.training


@pytest.mark.parametrize("error", [Boom("mine"), RuntimeError("out of memory"), ValueError("mine"), KeyError("mine")])
@pytest.mark.parametrize("runs", [0, 1, 4])
def test_an_error_of_the_model_comes_through_and_leaves_nothing_behind(runs: int, error: Exception) -> None:
    """Lucent swallows each RuntimeError and goes on with the values of an earlier step."""
    net, x, outside = Bursting(runs, error), like(), current()
    before = fingerprint(net.net, x)
    with pytest.raises(type(error)) as caught:
        pl.dream.maximize(net, pl.logit(1), like=x, recipe=QUICK)
    assert caught.value is error
    assert fingerprint(net.net, x) == before and current() == outside


# Units that are off


@pytest.mark.parametrize(
    ("activation", "bias"),
    [(nn.ReLU(), -6.0), (nn.ReLU(inplace=True), -6.0), (nn.ReLU6(), -6.0), (F.relu, -6.0), (nn.ReLU6(), 20.0)],
    ids=["ReLU", "ReLU in place", "ReLU6", "function", "ReLU6 above"],
)
def test_a_unit_that_is_off_at_the_start_is_reached(activation: Any, bias: float) -> None:
    class Off(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(1, 2, 3), activation
            nn.init.constant_(self.conv.bias, bias)
            nn.init.constant_(self.conv.weight, 2.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.conv(x)).mean((2, 3))

    x = torch.rand(1, 1, 8, 8)
    x.view(-1)[0], x.view(-1)[1] = -1, 1
    target, recipe = (pl.logit(0) if bias < 0 else -pl.logit(0)), PLAIN.but(steps=40, rate=0.3)
    found = pl.dream.maximize(Off(), target, like=x, recipe=recipe)
    stuck = pl.dream.maximize(Off(), target, like=x, recipe=recipe, redirect=0.0)
    assert stuck.scores[0] == stuck.state.scores[0, 0] and stuck.state.redirected == 0
    assert found.scores[0] > stuck.scores[0] + 0.5 and found.state.redirected > 0


# Sizes and shapes


class Strict(nn.Module):
    """A network that asserts its input's size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[2:] == like().shape[2:], "another size than in training"
        return x.sum((2, 3))


def test_a_network_of_one_size_is_run_at_it_from_the_start_and_says_so() -> None:
    net = randomized(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 10 * 10, 3)), 0)
    found = pl.dream.maximize(net, pl.logit(1), like=like(), steps=3, early=0.5)
    assert found.notes == ("The network takes inputs of one size: the first part is not run on smaller ones.",)
    strict = pl.dream.maximize(Strict(), pl.logit(1), like=like(), steps=3, early=0.5)  # as transformers of timm do
    assert strict.notes == found.notes
    free = pl.dream.maximize(net, pl.channel("1", 1), like=like(), steps=3, early=0.5)
    assert free.notes == ()  # the pass ends before what would not fit


def test_the_first_part_runs_smaller_where_the_target_allows_it() -> None:
    seen: list[int] = []

    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.shape[-1])
            return self.conv(x)

    pl.dream.maximize(Sized(), pl.channel("conv", 1), like=like(3, 20, 20), steps=10, early=0.5, part=0.5)
    assert set(seen) == {10, 20} and seen[-2:] == [20, 20]
    seen.clear()
    for target in (pl.neuron("conv", 1, 4, 4), pl.neuron("conv", 1, 15, 15)):
        found = pl.dream.maximize(Sized(), target, like=like(3, 20, 20), steps=4, early=0.5)
        assert set(seen) == {20} and "places" in found.notes[0]


class Patches(nn.Module):
    """A small transformer over patches of 4 pixels, with a class token and learned positions."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.first, self.positions = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.zeros(1, 10, 8))
        self.block, self.head = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], 1) + self.positions
        return self.head(self.block(tokens)[:, 0])


def test_a_transformer_over_patches() -> None:
    torch.manual_seed(1)
    net = Patches().eval()
    targets = [pl.logit(1), pl.channel("block", 3, -1), pl.neuron("block", 0, 2)]
    found = pl.dream.maximize(net, targets, like=like(), steps=30, rate=0.1)
    assert found.pictures.shape == (3, 3, 12, 12) and "places" in found.notes[0]
    assert bool((found.state.scores[-3:].mean(0) > found.state.scores[:3].mean(0)).all())


class Signals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 4, 5, padding=2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().mean(2))


class Volumes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv3d(1, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().mean((2, 3, 4)))


SHAPES: dict[str, tuple[Any, Tensor]] = {
    "grey": (lambda: convolutions(1), like(1, 16, 16)),
    "five channels": (lambda: convolutions(5), like(5, 16, 16)),
    "not square": (lambda: convolutions(3), like(3, 12, 31)),
    "signals": (Signals, like(2, 40)),
    "volumes": (Volumes, like(1, 6, 8, 10)),
    "double": (lambda: convolutions().double(), like().double()),
    "scripted": (lambda: scripted(), like()),
    "half": (lambda: convolutions().bfloat16(), like().bfloat16()),
}


@pytest.mark.parametrize("what", SHAPES)
def test_inputs_of_every_shape_and_type(what: str) -> None:
    make, x = SHAPES[what]
    torch.manual_seed(0)
    net = make()
    ways = ("fourier", "pixels", "laplacian", "phase") if what in ("signals", "volumes", "grey") else ("fourier",)
    for way in ways:
        found = pl.dream.maximize(net, [pl.logit(1), -pl.logit(1)], like=x, steps=12, parametrization=way, rate=0.3)
        assert found.pictures.shape == (2, *x.shape[1:])
        assert found.pictures.dtype == torch.promote_types(x.dtype, torch.float32)
        assert found.x[found.canvas.input].dtype == x.dtype
        assert found.scores[0] > -found.scores[1]  # the same class, wanted and not wanted


def test_tables_are_dreamed_as_pixels() -> None:
    net, x = nn.Linear(4, 2), torch.tensor([[0.0, -1, 2, 5], [1, 1, 1, 1]])
    found = pl.dream.maximize(net, pl.logit(0), like=x, recipe=PLAIN, steps=60, rate=0.5)
    expected = torch.where(net.weight[0] > 0, 5.0, -1.0)  # the ends of the example's range
    assert torch.allclose(found.x["input"][0], expected, atol=0.1)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.other = convolutions(), nn.Linear(2, 4)

    def forward(self, pixels: Tensor, facts: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(pixels) + self.other(facts), "facts": facts}


def test_of_several_inputs_the_first_is_dreamed_and_the_others_are_held() -> None:
    net, facts = Pair(), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    x = {"pixels": like(), "facts": facts}
    found = pl.dream.maximize(net, [pl.logit(1)] * 3, like=x, recipe=QUICK)
    assert torch.equal(found.x["facts"], facts[:1].expand(3, 2))
    with torch.no_grad():
        expected = net(found.pictures, facts[:1].expand(3, 2))["logits"][:, 1]
    assert found.scores == pytest.approx(expected.tolist(), abs=1e-4)
    nudged = pl.dream.nudge(net, x, 2, steps=2)  # real pictures keep their own
    assert torch.equal(nudged.x["facts"], facts)


def test_a_network_that_draws_is_dreamed_the_same_each_time_and_the_process_is_not_touched() -> None:
    class Drawing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = convolutions()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x + 0.1 * torch.randn_like(x))

    net = Drawing()
    state = torch.get_rng_state()
    first, second = (pl.dream.maximize(net, pl.logit(0), like=like(), recipe=QUICK) for _ in range(2))
    assert torch.equal(first.pictures, second.pictures) and torch.equal(torch.get_rng_state(), state)
    with running(Run(seed=9)):
        assert not torch.equal(pl.dream.maximize(net, pl.logit(0), like=like(), recipe=QUICK).pictures, first.pictures)


def test_the_networks_own_preparation_stands_before_it() -> None:
    """Lucent prepares for torchvision whatever the network wants."""
    p = pl.Preparation(12, mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 1.0), bgr=True)
    net = Network(convolutions(), preparation=p)
    found = pl.dream.maximize(net, pl.logit(1), recipe=QUICK)
    by_hand = (found.pictures - torch.tensor(p.mean).view(3, 1, 1)) / torch.tensor(p.std).view(3, 1, 1)
    with torch.no_grad():
        assert found.scores[0] == pytest.approx(float(net.model(by_hand.flip(1))[0, 1]), abs=1e-4)


def test_what_has_no_gradient_or_runs_on_nothing_is_told() -> None:
    class Rounded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)

    with pytest.raises(BadModel, match="does not depend differentiably"):
        pl.dream.maximize(Rounded(), pl.logit(0), like=like(), recipe=QUICK)
    with pytest.raises(BadInput):
        pl.dream.maximize(convolutions(), pl.logit(0), like=like(4), recipe=QUICK)
    with pytest.raises(BadInput, match="like=x"):
        pl.dream.maximize(convolutions(), pl.logit(0), recipe=Recipe())
