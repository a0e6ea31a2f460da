"""What modes cannot follow by themselves is followed or said: branches and loops of torch, transforms, nesting."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.core.branches import names_branches
from tests.networks import randomized

X = torch.linspace(-2, 3, 16).view(2, 8)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = nn.Linear(8, 3)


class Either(Base):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: self.b(self.a(y).tanh()), lambda y: self.b(y), (x,))


class PlainEither(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).tanh()) if x.sum() > 0 else self.b(x)


def helped(x: Tensor, yes: nn.Module, no: nn.Module) -> Tensor:
    return torch.cond(x.sum() > 0, lambda y: yes(y).tanh(), lambda y: no(y), (x,))


class Helped(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(helped(x, self.a, nn.Identity()))


class Loop(Base):
    def forward(self, x: Tensor) -> Tensor:
        def more(i: Tensor, y: Tensor) -> Tensor:
            return i < 3

        def step(i: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return i + 1, self.a(y).tanh()

        return self.b(torch.while_loop(more, step, (torch.tensor(0), x))[1])


class PlainLoop(Base):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.a(x).tanh()
        return self.b(x)


class Vmapped(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.vmap(lambda row: row.sin() * self.a(row))(x))


class PlainVmapped(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(x.sin() * self.a(x))


class Slope(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.vmap(torch.func.grad(lambda row: self.a(row).sin().sum()))(x))


class PlainSlope(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).cos() @ self.a.weight)


PAIRS = [(Either, PlainEither), (Helped, PlainEither), (Loop, PlainLoop), (Vmapped, PlainVmapped), (Slope, PlainSlope)]


@pytest.mark.parametrize(("inside", "plain"), PAIRS)
@pytest.mark.parametrize("sign", [1, -1])
def test_they_are_explained_as_the_same_network_written_in_python(inside, plain, sign):
    model, twin = randomized(inside(), 0), randomized(plain(), 0)
    x = (sign * X).clone().requires_grad_()
    each = torch.cat([twin(row[None]) for row in x])  # a condition is asked of every sample by itself
    (expected,) = torch.autograd.grad(each[:, 1].sum(), x)
    torch.testing.assert_close(pl.methods.saliency(model, sign * X, 1).maps["x"], expected.abs(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("inside", "plain"), PAIRS[:3])
def test_every_operation_in_them_is_on_the_map(inside, plain):
    model, twin = randomized(inside(), 0), randomized(plain(), 0)
    found, other = pl.map(model, X), pl.map(twin, X)

    def layers(of: pl.Architecture) -> list[tuple[str, int | None, float | None]]:
        nodes = zip(of.graph.nodes.op, of.graph.nodes.flops, of.overlay.measures["gradient"].nodes, strict=True)
        return [(op, flops, grad and round(grad, 5)) for op, flops, grad in nodes if op in ("linear", "tanh")]

    assert layers(found) == layers(other)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(X)
    assert found.totals.flops == counter.get_total_flops()


def test_what_a_condition_read_is_noted():
    assert any("depends on the numbers of the input" in note for note in pl.map(Either(), X).notes)


def test_a_part_of_a_model_that_is_called_cond_is_not_torchs():
    class Conditioned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cond = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.cond(x))

    assert not names_branches(Conditioned()) and names_branches(Helped())


@pytest.mark.parametrize(("inside", "plain"), PAIRS[3:])
def test_a_transform_is_recorded_by_the_kernels_that_run(inside, plain):
    model = randomized(inside(), 0)
    tape = pl.record(model, X)
    with torch.no_grad():
        torch.testing.assert_close(tape.replay(model, (2 * X,)), randomized(plain(), 0)(2 * X))
    assert "aten.sin" in [op.name for op in tape.operations]
    assert pl.map(model, X).notes == ()


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype:UserWarning")
def test_nested_tensors_are_recorded_with_their_longest_parts():
    class Nested(Base):
        def forward(self, x: Tensor) -> Tensor:
            rows = torch.nested.as_nested_tensor([x[:1], x])
            return self.b(self.a(rows).relu()).to_padded_tensor(0.0)[:, 0]

    model = randomized(Nested(), 0)
    found = pl.map(model, X)
    shapes = dict(zip(found.graph.nodes.op, found.graph.nodes.shape, strict=True))
    assert shapes["relu"] == (2, 2, 8) and shapes["to_padded_tensor"] == (2, 2, 3)
    assert found.notes == ()


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype:UserWarning")
def test_what_runs_but_cannot_be_followed_is_a_tree_with_a_sentence_and_unchanged():
    class Jagged(Base):
        def forward(self, x: Tensor) -> Tensor:
            rows = torch.nested.as_nested_tensor([x[:1], x], layout=torch.jagged)
            return torch.stack([part.sum(0) for part in self.b(self.a(rows)).unbind()])

    model = randomized(Jagged(), 0).train()
    before = {name: (v.clone(), v._version, v.requires_grad) for name, v in model.named_parameters()}
    found = pl.map(model, X)
    assert found.graph.nodes.op == ("Linear", "Linear") and found.totals.parameters == 8 * 8 + 8 + 8 * 3 + 3
    assert any("It runs, but was not followed: its modules alone are shown." in note for note in found.notes)
    assert model.training
    for name, v in model.named_parameters():
        assert torch.equal(v, before[name][0]) and (v._version, v.requires_grad) == before[name][1:]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_what_the_model_itself_raises_comes_through():
    class Raises(Base):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("two of the same")

    with pytest.raises(ValueError, match="two of the same"):
        pl.map(Raises(), X)
