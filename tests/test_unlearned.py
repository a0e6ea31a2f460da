"""Drawing weights anew and shifting the input: which weights, in which order, and that nothing else changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pellucid.core.network import Network
from pellucid.trials.shifted import shifted
from pellucid.trials.unlearned import layers_of, unlearned
from tests.networks import randomized


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Small(nn.Module):
    """A vision transformer of one block: parameters of its own, inside torch's attention, and in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(8, 3)  # defined first, read last
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 5, 8))
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.loose = [nn.Parameter(torch.randn(8, 8))]

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1) + self.pos
        tokens = tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]
        return self.head((self.norm(tokens) @ self.loose[0])[:, 0])


X = {"x": torch.randn(2, 3, 8, 8, generator=seeded(1))}


def test_every_parameter_is_drawn_anew_whoever_owns_it() -> None:
    net = Network(Small())
    twin = unlearned(net, X).model
    for name in ("cls", "pos", "attend.in_proj_weight", "attend.out_proj.weight", "patches.weight", "head.weight"):
        before, after = net.model.get_parameter(name), twin.get_parameter(name)
        assert float((before == after).float().mean()) < 0.05, name
        assert float(after.detach().std()) == pytest.approx(float(before.detach().std()), rel=0.5)
    assert not torch.equal(net.model.loose[0], twin.loose[0])


def test_layers_come_in_the_order_in_which_a_pass_reads_them() -> None:
    net = Network(Small())
    layers = layers_of(net, X)
    names = [layer.name for layer in layers]
    assert names[0] == "patches" and names[-1] == "head" and names[1] == ""
    assert names.index("attend") < names.index("norm") < names.index("(unregistered 0)")
    assert sorted(n for layer in layers for n in layer.parameters) == sorted(
        [*dict(net.model.named_parameters()), "(unregistered 0)"]
    )


def test_a_layer_drawn_alone_changes_no_other_and_gets_what_it_gets_among_all() -> None:
    net = Network(Small())
    every = unlearned(net, X).model.state_dict()
    for layer in layers_of(net, X):
        alone = unlearned(net, X, only=[layer]).model.state_dict()
        for name, value in net.model.state_dict().items():
            wanted = every[name] if name in layer.parameters else value
            assert torch.equal(alone[name], wanted), (layer.name, name)


def test_equal_layers_are_drawn_differently() -> None:
    one, other = nn.Linear(6, 6), nn.Linear(6, 6)
    other.load_state_dict(one.state_dict())
    twin = unlearned(Network(nn.Sequential(one, nn.ReLU(), other)), {"input": torch.ones(1, 6)}).model
    assert not torch.equal(twin[0].weight, twin[2].weight)


def normalized() -> nn.Module:
    return randomized(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten(),
            nn.Linear(64, 3),
        ), 2,
    )  # fmt: skip


def test_only_statistics_behind_what_was_drawn_are_measured_again() -> None:
    net, given = Network(normalized()), {"input": X["x"]}
    layers = {layer.name: layer for layer in layers_of(net, given)}
    for drawn, again in (("6", ()), ("3", ("4",)), ("0", ("1", "4"))):
        twin = unlearned(net, given, only=[layers[drawn]]).model
        for norm in ("1", "4"):
            same = torch.equal(twin.get_buffer(f"{norm}.running_mean"), net.model.get_buffer(f"{norm}.running_mean"))
            assert same != (norm in again)
            assert twin.get_submodule(norm).momentum == 0.1 and not twin.get_submodule(norm).training


@pytest.mark.parametrize("wrap", [lambda m: m, fx.symbolic_trace], ids=["module", "borrowed"])
def test_the_users_network_is_left_as_it_is(wrap: object) -> None:
    model = wrap(normalized()).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    net = Network(model)
    given = {net.inputs[0]: X["x"]}
    unlearned(net, given, only=layers_of(net, given)[:2])
    assert shifted(net, given, net.inputs[0], 0.5) is not None
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


# Another zero

FIRST = {
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(75, 4)), (3, 5, 5)),
    "without a bias": (lambda: nn.Conv2d(3, 4, 3, padding=1, bias=False), (3, 5, 5)),
    "strided": (lambda: nn.Conv2d(3, 4, (5, 3), stride=2, padding=(2, 1)), (3, 8, 9)),
    "same": (lambda: nn.Conv2d(3, 4, 4, padding="same", dilation=2), (3, 9, 9)),
    "valid": (lambda: nn.Conv2d(3, 4, 3, padding="valid"), (3, 5, 5)),
    "reflected": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (3, 5, 5)),
    "grouped": (lambda: nn.Conv2d(4, 8, 3, padding=1, groups=2), (4, 5, 5)),
    "series": (lambda: nn.Conv1d(3, 4, 3, padding=1), (3, 9)),
    "volume": (lambda: nn.Conv3d(1, 4, 3, padding=(1, 0, 1)), (1, 4, 5, 6)),
}


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("deep", [False, True])
def test_the_shifted_network_computes_the_same_of_the_shifted_input(first: str, deep: bool) -> None:
    make, shape = FIRST[first]
    model = randomized(make(), 3)
    net = Network(nn.Sequential(model, nn.Tanh()) if deep else model)
    x = torch.randn(3, *shape, generator=seeded(5))
    other, folded = shifted(net, {"input": x}, "input", 2.5)
    assert folded
    torch.testing.assert_close(other.model(x + 2.5), net.model(x), atol=2e-5, rtol=1e-4)
    fresh = torch.randn(2, *shape, generator=seeded(6))  # not only for the input that it was tried on
    torch.testing.assert_close(other.model(fresh + 2.5), net.model(fresh), atol=2e-5, rtol=1e-4)


class Around(nn.Module):
    """The input takes a second way, past the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 4)

    def forward(self, input: Tensor) -> Tensor:
        return self.line(input) + input


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 4)

    def forward(self, input: Tensor) -> Tensor:
        return self.line(F.layer_norm(input, (4,)))


@pytest.mark.parametrize(
    "model",
    [Around(), Normed(), nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)), nn.Tanh()],
    ids=["twice read", "normalized", "batch norm", "no layer"],
)
def test_a_network_that_cannot_undo_a_shift_is_found_out_and_has_it_taken_off_in_front(model: nn.Module) -> None:
    net, x = Network(randomized(model, 1)), torch.randn(2, 4, generator=seeded(0))
    other, folded = shifted(net, {"input": x}, "input", 1.0)
    assert not folded and other.sites == net.sites
    with other.lease() as double:
        torch.testing.assert_close(double(input=x + 1.0), net.model(x))
        torch.testing.assert_close(double(x + 1.0), net.model(x))
