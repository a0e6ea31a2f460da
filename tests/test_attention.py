"""The attention weights of any model, caught in one pass: against models that give their weights themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.attention.catch import Attention, attended
from pellucid.core.attention.passes import attention, attention_of
from pellucid.core.errors import BadModel
from pellucid.core.method import Method
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import Target, logit, scalar
from pellucid.core.tensors import Tensors
from pellucid.methods import all_methods
from tests.attention_models import ALIKE, NOTED, SPELLINGS, Heads, ViT, noted, pictures
from tests.networks import randomized
from tests.traces import fingerprint

METHODS = {n: m for n, m in all_methods().items() if m.family == "attention"}


def caught(f: Score, x: Tensors, since: int | None = 0) -> tuple[list[Tensor], list[Tensor | None]]:
    """The weights and gradients of every attention operation."""
    gradients: list[bool] = []

    def read(found: Sequence[Attention]) -> Tensors:
        gradients[:] = [a.grad is not None for a in found]
        weights = {f"weights {i}": a.weights for i, a in enumerate(found)}
        return weights | {f"grad {i}": a.grad for i, a in enumerate(found) if a.grad is not None}

    found = attention(f, x, read, since=since)
    return [found[f"weights {i}"] for i in range(len(gradients))], [
        found.get(f"grad {i}") for i in range(len(gradients))
    ]


def score(model: nn.Module, target: Target | None = None) -> Score:
    return Score(Network(model), target or logit(1))


# Written out


def masks() -> dict[str, Tensor]:
    some = torch.rand(5, 7, generator=torch.Generator().manual_seed(1)) > 0.4
    nothing = some.clone()
    nothing[2] = False
    return {
        "some": some,
        "nothing": nothing,
        "added": torch.randn(2, 1, 5, 7, generator=torch.Generator().manual_seed(2)),
        "infinite": torch.zeros(5, 7).masked_fill(~nothing, float("-inf")),
    }


@pytest.mark.parametrize("mask", [None, *masks()])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"scale": 0.3}, {"is_causal": True}, {"enable_gqa": True}], ids=str)
def test_attention_written_out_is_torchs(options: dict[str, Any], kind: torch.dtype, mask: str | None) -> None:
    if mask is not None and "is_causal" in options:
        return
    torch.manual_seed(0)
    few = 2 if "enable_gqa" in options else 4
    q, k, v = (torch.randn(2, h, n, d).to(kind) for h, n, d in ((4, 5, 8), (few, 7, 8), (few, 7, 6)))
    given = None if mask is None else masks()[mask]
    if given is not None:
        options = {**options, "attn_mask": given.to(kind) if given.is_floating_point() else given}
    expected = F.scaled_dot_product_attention(q, k, v, **options)
    seen = list[Tensor]()
    found = attended(q, k, v, **options, weighed=lambda w: (seen.append(w), w)[1])
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-6}.get(kind, 4e-3)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    empty = torch.zeros(5, dtype=torch.bool)
    empty[2] = mask in ("nothing", "infinite")
    torch.testing.assert_close(seen[0].double().sum(-1), (~empty).double().expand(2, 4, 5), rtol=0, atol=1e-5)


def test_a_query_that_may_look_at_nothing_has_a_gradient() -> None:
    q, k, v = (torch.randn(1, 1, 3, 4, requires_grad=True) for _ in range(3))
    mask = torch.tensor([[True, False, True], [False] * 3, [True] * 3])
    for g in torch.autograd.grad(attended(q, k, v, mask).sum(), (q, k, v)):
        assert bool(torch.isfinite(g).all())


# Caught, however it is spelled


@pytest.mark.parametrize("spelling", [*SPELLINGS, "mha"])
@pytest.mark.parametrize("since", [None, 0, 1])
def test_the_weights_are_those_that_the_model_uses(spelling: str, since: int | None) -> None:
    model, x = ViT(spelling).double(), pictures().double()
    if spelling == "written_into":
        model = model.float()
        x = x.float()
    found, _ = caught(score(model), {"x": x}, since)
    NOTED.clear()
    with torch.no_grad():
        (ViT("by_matmul").double() if spelling == "mha" else model)(x)
    assert len(found) == len(NOTED) == 3
    for weights, expected in zip(found, NOTED, strict=True):
        torch.testing.assert_close(weights, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("spelling", [*SPELLINGS, "mha"])
def test_the_pass_puts_out_what_a_plain_one_does(spelling: str) -> None:
    model, x = ViT(spelling), pictures(3)
    outputs = list[Tensor]()

    def note(y: Tensor) -> Tensor:
        outputs.append(y.detach().clone())
        return y[:, 0]

    caught(score(model, scalar(note)), {"x": x})
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(outputs), model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spelling", ["by_matmul", "by_einsum", "turned", "written_into"])
def test_the_gradients_are_autograds(spelling: str) -> None:
    model, x = ViT(spelling), pictures()
    _, found = caught(score(model), {"x": x})
    NOTED.clear()
    out = model(x.requires_grad_())[:, 1].sum()
    expected = torch.autograd.grad(out, list(NOTED))
    assert any(bool(g.any()) for g in expected)
    for grad, true in zip(found, expected, strict=True):
        torch.testing.assert_close(grad, true, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("spelling", [*ALIKE, "mha"])
def test_the_gradients_do_not_depend_on_the_spelling(spelling: str) -> None:
    x = {"x": pictures().double()}
    _, expected = caught(score(ViT("by_matmul").double()), x)
    _, found = caught(score(ViT(spelling).double()), x)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("since", [1, 2])
def test_gradients_from_some_layer_on_are_the_same_ones(since: int) -> None:
    f, x = score(ViT("by_bmm")), {"x": pictures()}
    _, every = caught(f, x)
    _, some = caught(f, x, since)
    assert some[:since] == [None] * since
    for a, b in zip(some[since:], every[since:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


# Torch's own layers


class Own(nn.Module):
    """Torch's multi-head attention with an option of its own."""

    def __init__(self, made: dict[str, Any], called: dict[str, Any]) -> None:
        super().__init__()
        self.attention, self.called = nn.MultiheadAttention(8, 2, **made), called
        randomized(self, 3)

    def run(self, x: Tensor, **more: Any) -> tuple[Tensor, Tensor]:
        first = self.attention.batch_first
        s = x if first else x.transpose(0, 1)
        called = {**self.called, **more}
        if called.pop("padded", False):
            called["key_padding_mask"] = x[:, :, 0] > 0.7
        out, weights = self.attention(s, s, s, **called)
        return (out if first else out.transpose(0, 1)), weights

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]


UPPER = torch.ones(5, 5, dtype=torch.bool).triu(1)


@pytest.mark.parametrize("made", [{}, {"batch_first": True}, {"batch_first": True, "add_zero_attn": True},
                                  {"batch_first": True, "bias": False}, {"add_bias_kv": True}], ids=str)  # fmt: skip
@pytest.mark.parametrize(
    "called",
    [{}, {"need_weights": False}, {"padded": True}, {"padded": True, "need_weights": False}, {"attn_mask": 0.3 * UPPER},
     {"attn_mask": UPPER, "need_weights": False}, {"attn_mask": UPPER, "is_causal": True, "need_weights": False}],
    ids=lambda c: ",".join(c),
)  # fmt: skip
def test_torchs_multi_head_attention_is_looked_into(made: dict[str, Any], called: dict[str, Any]) -> None:
    if "is_causal" in called and {"add_zero_attn", "add_bias_kv"} & set(made):
        return  # torch itself computes something else when it is asked for the weights
    model, x = Own(made, called), torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(4))
    outputs = list[Tensor]()

    def note(y: Tensor) -> Tensor:
        outputs.append(y)
        return y[:, 0, 0]

    with torch.no_grad():
        plain = model.eval()(x)  # by the fused kernel, where torch finds that it may
        expected = model.run(x, need_weights=True, average_attn_weights=False)[1]
    (found,), _ = caught(score(model, scalar(note)), {"x": x})
    torch.testing.assert_close(torch.cat(outputs), plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm_first", [True, False])
def test_torchs_encoder_is_looked_into_though_it_has_a_faster_way(norm_first: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x, ran = torch.randn(2, 5, 8), list[Tensor]()
    handles = [m.self_attn.register_forward_pre_hook(lambda _m, args: ran.append(args[0])) for m in model.layers]
    model(x.requires_grad_())  # with a hook and a gradient it takes the slow way
    for handle in handles:
        handle.remove()
    expected = [m.self_attn(h, h, h, average_attn_weights=False)[1] for m, h in zip(model.layers, ran, strict=True)]
    before, flag = fingerprint(model, x), torch.backends.mha.get_fastpath_enabled()
    found, _ = caught(score(model, scalar(lambda y: y[:, 0, 0])), {"src": x.detach()}, since=None)
    assert fingerprint(model, x) == before and torch.backends.mha.get_fastpath_enabled() == flag
    for weights, true in zip(found, expected, strict=True):
        torch.testing.assert_close(weights, true.detach(), rtol=1e-5, atol=1e-6)


# What is none


class Softmaxes(nn.Module):
    """Class probabilities a word, soft words, a gate, a mean: softmax of many kinds, none of them attention."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Parameter(torch.randn(6, 4)), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        words = self.mix(x).softmax(-1)
        soft = words @ self.table  # values that are the same for every sample
        gate = x.softmax(1) * x
        means = (x.softmax(-1) * x).sum(-1, keepdim=True)
        return (soft + gate + means + x.log_softmax(-1)).mean(1)


def test_a_softmax_that_averages_nothing_is_no_attention() -> None:
    with pytest.raises(BadModel, match="no attention that can be seen"):
        attention_of(score(Softmaxes()), {"x": torch.randn(2, 5, 4)})


class Talking(nn.Module):
    """Heads that are mixed after the softmax (CaiT), by a linear layer over the heads."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(2, 2)
        randomized(self, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x.unflatten(-1, (2, -1)).transpose(1, 2)
        weights = noted((h @ h.mT).softmax(-1))
        weights = self.mix(weights.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return (weights @ h).transpose(1, 2).flatten(2).mean(1)


def test_heads_that_are_mixed_after_the_softmax() -> None:
    x = torch.randn(2, 5, 8)
    (found,), _ = caught(score(Talking()), {"x": x})
    NOTED.clear()
    Talking()(x)
    torch.testing.assert_close(found, NOTED[0], rtol=1e-5, atol=1e-7)


# Sites, changes, rules, batches


def test_an_attention_is_named_by_its_operation() -> None:
    sites = [str(a.site) for a in attention_of(score(ViT("fused", layers=2)), {"x": pictures()})]
    assert sites == [f"blocks.{i}.heads:scaled_dot_product_attention.0" for i in range(2)]
    sites = [str(a.site) for a in attention_of(score(ViT("mha", layers=1)), {"x": pictures()})]
    assert sites == ["blocks.0.heads.own:multi_head_attention_forward.0"]
    sites = [str(a.site) for a in attention_of(score(ViT("by_bmm", layers=1)), {"x": pictures()})]
    assert sites == ["blocks.0.heads:softmax.0"]
    model = ViT("fused", layers=1)
    found = score(model).values({"x": pictures()}, Site.parse("blocks.0.heads:scaled_dot_product_attention.0"))
    assert len(found) == 1, "the name is that of a site which can be read"


def test_each_operation_knows_which_it_depends_on() -> None:
    assert [sorted(a.after) for a in attention_of(score(ViT()), {"x": pictures()})] == [[], [0], [0, 1]]


def test_a_change_at_a_site_changes_the_attention_behind_it() -> None:
    model, x = ViT("by_matmul"), pictures()
    f = score(model).do({Site("blocks.0"): partial(torch.mul, torch.tensor(2.0))})
    found, _ = caught(f, {"x": x})
    NOTED.clear()
    with torch.no_grad():
        model.blocks[0].register_forward_hook(lambda _m, _x, out: 2 * out)
        model(x)
    for weights, true in zip(found, NOTED, strict=True):
        torch.testing.assert_close(weights, true, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spelling", [*ALIKE, "mha"])
def test_a_rule_on_softmax_acts_behind_the_weights(spelling: str) -> None:
    from pellucid.core.rule import Rule

    blind = Rule("blind", {"softmax": lambda step: tuple(torch.zeros_like(v) for v in step.x)})
    f, x = score(ViT(spelling, layers=2).double()), {"x": pictures().double()}
    _, plain = caught(f, x)
    _, found = caught(f.under(blind), x)
    torch.testing.assert_close(found[1], plain[1])
    assert not torch.allclose(found[0], plain[0])  # through the later layer's weights, nothing flows back
    _, expected = caught(score(ViT("by_matmul", layers=2).double()).under(blind), x)
    torch.testing.assert_close(found[0], expected[0])


@pytest.mark.parametrize("limits", [{"max_batch": 1}, {"memory": 1}, {"memory": 30_000}, {"max_batch": 3}], ids=str)
def test_the_size_of_passes_does_not_matter(limits: dict[str, Any]) -> None:
    f, x = score(ViT("by_einsum").double(), logit((0, 1, 2, 0, 1))), {"x": pictures(5).double()}
    weights, grads = caught(f, x)
    with running(Run(**limits)):
        again, others = caught(f, x)
    for a, b in zip([*weights, *grads], [*again, *others], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


# The model stays as it was


class Failing(nn.Module):
    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.heads = Heads(8, spelling)

    def forward(self, x: Tensor) -> Tensor:
        self.heads(x, x)
        raise KeyError("in the middle")


@pytest.mark.parametrize("spelling", [*SPELLINGS, "mha"])
@pytest.mark.parametrize("name", METHODS)
def test_no_trace(name: str, spelling: str) -> None:
    method: Method[...] = METHODS[name]
    model, x, kernel = ViT(spelling).train(), pictures(), F.scaled_dot_product_attention
    model.blocks[0].register_forward_hook(lambda *_: None)
    model(x).sum().backward()
    before = fingerprint(model, x)
    method(model, x, 1)
    assert fingerprint(model, x) == before
    broken, tokens = Failing(spelling).train(), torch.randn(2, 5, 8)
    before = fingerprint(broken, tokens)
    with pytest.raises(KeyError):
        method(broken, tokens, scalar(lambda y: y[:, 0, 0]))
    assert fingerprint(broken, tokens) == before
    assert F.scaled_dot_product_attention is kernel and torch.backends.mha.get_fastpath_enabled()
