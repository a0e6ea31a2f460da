"""LRP through transformers and memories: the modified gradient that it is, each rule by hand, what conserves."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from tests.networks import randomized, seeded
from tests.test_deep_lift import Former, Of, lively

lrp = pl.methods.lrp


class Held(torch.autograd.Function):
    """The value of `y`; to `x` flows what came, times `slope`."""

    @staticmethod
    def forward(ctx: object, x: Tensor, y: Tensor, slope: Tensor) -> Tensor:
        ctx.slope = slope  # type: ignore[attr-defined]
        return y

    @staticmethod
    def backward(ctx: object, up: Tensor) -> tuple[Tensor, None, None]:
        return up * ctx.slope, None, None  # type: ignore[attr-defined]


def bent(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A bend with the slope y / x."""
    return Held.apply(x, f(x).detach(), (f(x) / x).detach())


def part(x: Tensor, by: float) -> Tensor:
    """The same value, of which only a part of the gradient flows back."""
    return Held.apply(x, x.detach(), torch.full_like(x, by))


def normalized(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    spread = (centered.square().mean(-1, keepdim=True) + norm.eps).sqrt().detach()
    return centered / spread * norm.weight + norm.bias


def by_modified_gradient(net: Former, x: Tensor, target: int) -> Tensor:
    """Input times gradient with the changes that Achtibat et al. 2024 name, on the weights of `net`."""
    x = x.clone().requires_grad_()
    tokens = net.patches(x).flatten(2).mT
    for layer in net.body.layers:
        attention, heads = layer.self_attn, layer.self_attn.num_heads
        mixed = F.linear(normalized(tokens, layer.norm1), attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = (m.unflatten(-1, (heads, -1)).transpose(1, 2) for m in mixed.chunk(3, -1))
        scores = part(q, 0.5) @ part(k, 0.5).mT / math.sqrt(q.shape[-1])
        read = part(scores.softmax(-1), 0.5) @ part(v, 0.5)
        tokens = tokens + attention.out_proj(read.transpose(1, 2).flatten(2))
        tokens = tokens + layer.linear2(bent(F.gelu, layer.linear1(normalized(tokens, layer.norm2))))
    score = net.head(normalized(tokens, net.norm).mean(1))[:, target].sum()
    return x.detach() * torch.autograd.grad(score, x)[0]


@pytest.mark.parametrize("first", [True, False], ids=["batch first", "sequence first"])
def test_attention_is_input_times_the_modified_gradient(first: bool) -> None:
    net, x = lively(Former(first)).double(), torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=seeded(1))
    found = lrp(net, x, 2, preset="attention")
    right = by_modified_gradient(lively(Former()).double(), x, 2)
    torch.testing.assert_close(found.values, right, rtol=0, atol=1e-3 * float(right.abs().max()))  # the stabilizer
    assert found.without_rule == () and lrp(net, x, 2, preset="attention", strict=True).values.any()


def test_softmax_by_its_expansion() -> None:
    """R_i = x_i (R_i - s_i sum R) (proposition 3.1): with all relevance s_0 at the first output."""
    x = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    s = x.softmax(1)
    right = x * (torch.eye(3, dtype=torch.float64)[:1] * s[:, 0] - s * s[:, 0])
    torch.testing.assert_close(lrp(Of(lambda v: v.softmax(1)), x, 0).values, right)


def test_masked_logits_have_no_share() -> None:
    x = torch.randn(2, 4, dtype=torch.float64, generator=seeded(2))
    hidden = torch.tensor([False, True, False, False])
    for f in (
        lambda v: v.masked_fill(hidden, -torch.inf),
        lambda v: v + torch.zeros(4).masked_fill(hidden, -torch.inf),
    ):
        found = lrp(Of(lambda v, f=f: f(v).softmax(1)), x, 0).values
        assert found.isfinite().all() and not found[:, 1].any() and found[:, 0].all()


@pytest.mark.parametrize(
    "formula",
    [
        lambda v: F.rms_norm(v, (4,)), lambda v: v * torch.rsqrt(v.square().mean(1, keepdim=True) + 1e-6),
        lambda v: v / v.norm(dim=1, keepdim=True), F.normalize, lambda v: v / (v.abs().sum(1, keepdim=True)),
        F.gelu, F.silu, lambda v: F.max_pool1d(v[:, None], 4)[:, :, 0], lambda v: v.amax(1, keepdim=True),
        torch.logsumexp,
    ],
    ids=["rms norm", "by hand", "quotient", "unit length", "shares", "gelu", "silu", "pool", "maximum", "logsumexp"],
)  # fmt: skip
def test_what_passes_on_all_of_it(formula: Callable[..., Tensor]) -> None:
    x = torch.randn(3, 4, dtype=torch.float64, generator=seeded(3))
    f = (lambda v: v.logsumexp(1, keepdim=True)) if formula is torch.logsumexp else formula
    found = lrp(Of(f), x, 0)
    torch.testing.assert_close(found.values.sum(1), f(x)[:, 0], rtol=1e-5, atol=1e-8)
    assert found.without_rule == ()


def test_a_normalization_gives_each_value_its_own() -> None:
    x = torch.randn(3, 4, dtype=torch.float64, generator=seeded(4))
    found = lrp(Of(lambda v: F.rms_norm(v, (4,))), x, 1).values
    torch.testing.assert_close(found[:, 1], F.rms_norm(x, (4,))[:, 1])
    assert not found[:, [0, 2, 3]].any()


def test_layer_normalization_without_a_shift_conserves() -> None:
    norm = nn.LayerNorm(6, bias=False).double()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(6, generator=seeded(5)))
    x = torch.randn(3, 6, dtype=torch.float64, generator=seeded(6))
    found = lrp(norm, x, 2).values
    torch.testing.assert_close(found.sum(1), norm(x)[:, 2].detach(), rtol=1e-4, atol=1e-6)


def test_both_factors_of_attention_are_worth_half() -> None:
    """Through values and through weights goes half each; of the weights' half softmax keeps what its expansion says."""
    v = torch.randn(1, 3, 4, dtype=torch.float64, generator=seeded(7))
    a = torch.rand(1, 3, 3, dtype=torch.float64, generator=seeded(8))

    class Read(nn.Module):
        def forward(self, a: Tensor, v: Tensor) -> Tensor:
            return (a @ v).flatten(1)

    found = lrp(Read(), (a, v), 5).maps
    whole = (a @ v)[0, 1, 1]
    torch.testing.assert_close(found["a"][0, 1], a[0, 1] * v[0, :, 1] / 2, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(found["v"][0, :, 1], a[0, 1] * v[0, :, 1] / 2, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(found["a"].sum() + found["v"].sum(), whole, rtol=1e-4, atol=1e-8)


# Recurrent layers


class Remembers(nn.Module):
    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


class Steps(nn.Module):
    """A cell, step by step."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.head(state[0] if isinstance(state, tuple) else state)


MEMORIES: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: Remembers(nn.LSTM(4, 6, 2, batch_first=True, bidirectional=True), 12),
    "projected": lambda: Remembers(nn.LSTM(4, 6, batch_first=True, proj_size=3, bias=False), 3),
    "gru": lambda: Remembers(nn.GRU(4, 6, 2, batch_first=True, dropout=0.3), 6),
    "plain": lambda: Remembers(nn.RNN(4, 6, batch_first=True, nonlinearity="relu"), 6),
    "lstm cell": lambda: Steps(nn.LSTMCell(4, 6)), "gru cell": lambda: Steps(nn.GRUCell(4, 6)),
    "plain cell": lambda: Steps(nn.RNNCell(4, 6)),
}  # fmt: skip


@pytest.mark.parametrize("kind", MEMORIES)
def test_deep_lift_adds_up_over_time(kind: str) -> None:
    net = randomized(MEMORIES[kind](), 2, 0.6).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64, generator=seeded(9))
    for rule in ("rescale", "reveal_cancel"):
        found = pl.methods.deep_lift(net, x, 1, baseline=0.2, rule=rule, strict=True)
        with torch.no_grad():
            change = (net(x) - net(torch.full_like(x, 0.2)))[:, 1]
        torch.testing.assert_close(found.values.flatten(1).sum(1), change, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", MEMORIES)
def test_lrp_goes_through_memories(kind: str) -> None:
    net = randomized(MEMORIES[kind](), 2, 0.6).double()
    found = lrp(net, torch.randn(2, 5, 4, dtype=torch.float64, generator=seeded(9)), 1, strict=True)
    assert found.without_rule == () and found.values.any()


def test_a_memory_without_biases_conserves() -> None:
    """A rectified recurrent layer is linear and bends at zero: nothing is lost but to the stabilizer."""
    net = randomized(Remembers(nn.RNN(4, 6, batch_first=True, nonlinearity="relu", bias=False), 6), 3, 0.6).double()
    with torch.no_grad():
        net.head.bias.zero_()
    x = torch.randn(2, 5, 4, dtype=torch.float64, generator=seeded(10))
    torch.testing.assert_close(lrp(net, x, 1).values.flatten(1).sum(1), net(x)[:, 1].detach(), rtol=1e-4, atol=1e-6)
