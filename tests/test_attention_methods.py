"""Methods that read attention, against the rules of their papers written out anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.attention_methods import METHODS, maps, patches, relevance_of_one, values
from tests.attention_models import NOTED, Block, Two, ViT, by_matmul, pictures, words
from tests.networks import randomized


def weights_and_gradients(model: nn.Module, x: Tensor, score: Callable[[Tensor], Tensor]) -> tuple[Any, Any]:
    """What a hand-written model notes of itself, and autograd's gradient, `[layer][batch, heads, queries, keys]`."""
    NOTED.clear()
    out = score(model(x.clone().requires_grad_())).sum()
    noted_ = list(NOTED)
    grads = torch.autograd.grad(out, noted_, allow_unused=True)
    return [w.detach().numpy() for w in noted_], [None if g is None else g.numpy() for g in grads]


# Closed forms, in numpy, on what the model itself notes


@pytest.mark.parametrize(
    ("heads", "discard", "read"),
    [("mean", 0.0, "first"), ("mean", 0.4, "all"), ("max", 0.0, "all"), ("max", 0.4, "first"), ("min", 0.2, "first")],
)
def test_rollout_is_the_product_of_its_matrices(heads: str, discard: float, read: str) -> None:
    model, x = ViT("by_matmul", read=read).double(), pictures(3).double()
    noted_, _ = weights_and_gradients(model, x, lambda y: y[:, 1])
    found = patches(values("attention_rollout", model, x, heads=heads, discard=discard))
    for b in range(3):
        product = np.eye(7)
        for layer in noted_:
            a = {"mean": np.mean, "max": np.max, "min": np.min}[heads](layer[b], axis=0)
            a[a < np.sort(a, axis=None)[int(discard * a.size)]] = 0
            a = 0.5 * a + 0.5 * np.eye(7)
            product = (a / a.sum(1, keepdims=True)) @ product
        row = product[0, 1:] if read == "first" else product[1:, 1:].mean(0)
        np.testing.assert_allclose(found[b], row, rtol=1e-9)


@pytest.mark.parametrize(("layer", "head", "position"), [(-1, None, None), (0, 1, None), (1, 0, 3), (-3, None, 0)])
def test_raw_attention_is_a_row_of_it(layer: int, head: int | None, position: int | None) -> None:
    model, x = ViT("by_matmul").double(), pictures().double()
    noted_, _ = weights_and_gradients(model, x, lambda y: y[:, 1])
    a = noted_[layer].mean(1) if head is None else noted_[layer][:, head]
    found = values("raw_attention", model, x, layer=layer, head=head, position=position)
    np.testing.assert_allclose(patches(found), a[:, position or 0, 1:], rtol=1e-9)


@pytest.mark.parametrize("layers", [None, 1, 2])
def test_relevance_is_the_papers_rule(layers: int | None) -> None:
    model, x = ViT("by_matmul").double(), pictures(3).double()
    noted_, grads = weights_and_gradients(model, x, lambda y: y[:, 1])
    r = relevance_of_one(noted_[-(layers or 3) :], grads[-(layers or 3) :])
    found = values("attention_relevance", model, x, layers=layers)
    np.testing.assert_allclose(patches(found), r[:, 0, 1:], rtol=1e-8, atol=1e-12)


def test_without_a_class_token_the_rows_of_all_that_are_read_count_and_the_identity_does_not() -> None:
    model, x = ViT("by_matmul", read="all", prefix=0).double(), pictures(3).double()
    r = relevance_of_one(*weights_and_gradients(model, x, lambda y: y[:, 1]))
    found = values("attention_relevance", model, x)
    np.testing.assert_allclose(patches(found), (r - np.eye(6)).mean(1), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("layers", [None, 2])
def test_le_grad_reads_the_score_from_each_layer_by_itself(layers: int | None) -> None:
    model, x = ViT("by_matmul").double(), pictures(3).double()
    outputs: list[Tensor] = []
    for block in model.blocks:
        block.register_forward_hook(lambda _m, _x, out: outputs.append(out))
    NOTED.clear()
    model(x.clone().requires_grad_())
    slopes = []
    for z, a in list(zip(outputs, list(NOTED), strict=True))[-(layers or 3) :]:
        (grad,) = torch.autograd.grad(model.read_out(z)[:, 1].sum(), a, retain_graph=True)
        slopes.append(grad.clamp(min=0).mean((1, 2))[:, 1:])
    assert len(slopes) == (layers or 3)
    for block in model.blocks:
        block._forward_hooks.clear()
    found = METHODS["le_grad"](model, x, 1, layers=layers)
    np.testing.assert_allclose(patches(found.values), torch.stack(slopes).mean(0), rtol=1e-8, atol=1e-12)
    assert found.facts["read from"] == ["blocks.0", "blocks.1", "blocks.2"] and not found.notes


def test_le_grad_of_the_score_itself() -> None:
    model, x = ViT("by_matmul").double(), pictures(3).double()
    _, grads = weights_and_gradients(model, x, lambda y: y[:, 1])
    expected = np.mean([np.maximum(g, 0).mean((1, 2)) for g in grads], 0)[:, 1:]
    found = METHODS["le_grad"](model, x, 1, readout="score")
    np.testing.assert_allclose(patches(found.values), expected, rtol=1e-8, atol=1e-12)
    assert found.facts["read from"] == []


class Plain(nn.Module):
    """All layers in one forward, so that there are no blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 3)
        randomized(self, 0)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = x + by_matmul(x[:, None], x[:, None], x[:, None])[:, 0]
        return self.mix(x[:, 0])


def test_le_grad_says_when_layers_cannot_be_read_one_by_one() -> None:
    x = torch.randn(2, 5, 4)
    found = METHODS["le_grad"](Plain(), x, 1)
    assert any("one by one" in note for note in found.notes)
    torch.testing.assert_close(found.values, values("le_grad", Plain(), x, readout="score"))


# Two inputs: the bi-modal rules written out once more, sample by sample, as the paper has them


def normalized(r: Any) -> Any:
    gained = r - np.eye(len(r))
    sums = gained.sum(1, keepdims=True)
    return gained / np.where(sums == 0, 1, sums) + np.eye(len(r))


def bi_modal(way: str, noted_: Any, grads: Any, b: int) -> tuple[Any, Any]:
    """R_tt and R_ti after two layers, by the names of the paper: t words, i patches."""
    cams = [None if g is None else np.maximum(g * a, 0)[b].mean(0) for a, g in zip(noted_, grads, strict=True)]
    cam, n, m = iter(cams), 4, 6
    tt, ii, ti, it = np.eye(n), np.eye(m), np.zeros((n, m)), np.zeros((m, n))

    def self_t(c: Any) -> None:
        nonlocal tt, ti
        tt, ti = tt + c @ tt, ti + c @ ti

    def self_i(c: Any) -> None:
        nonlocal ii, it
        ii, it = ii + c @ ii, it + c @ it

    if way == "decoder":
        for _ in range(2):
            self_i(next(cam))
        for _ in range(2):
            self_t(next(cam))
            c = next(cam)
            ti, tt = ti + normalized(tt).T @ c @ normalized(ii), tt + c @ it
        return tt, ti
    for layer in range(2):
        self_t(next(cam))
        self_i(next(cam))
        c_ti, c_it = next(cam), next(cam)
        if way == "together":
            d_ti, d_tt = normalized(tt).T @ c_ti @ normalized(ii), c_ti @ it
            d_it, d_ii = (0, 0) if c_it is None else (normalized(ii).T @ c_it @ normalized(tt), c_it @ ti)
            ti, tt, it, ii = ti + d_ti, tt + d_tt, it + d_it, ii + d_ii
        else:
            ti, tt = ti + normalized(tt).T @ c_ti @ normalized(ii), tt + c_ti @ it
            if c_it is not None:
                it, ii = it + normalized(ii).T @ c_it @ normalized(tt), ii + c_it @ ti
        assert c_it is not None or layer == 1, "in the last layer nothing reads the patches any more"
    return tt, ti


@pytest.mark.parametrize("way", ["together", "in turn", "decoder"])
def test_two_inputs_get_the_papers_relevance_each(way: str) -> None:
    model, x = Two(way).double(), {"words": words(), "picture": pictures().double()}
    for block in model.own:
        block.heads.spelling = "by_matmul"  # which notes its weights
    NOTED.clear()
    out = model(x["words"], x["picture"].clone().requires_grad_())[:, 1].sum()
    noted_ = list(NOTED)
    grads = [None if g is None else g.numpy() for g in torch.autograd.grad(out, noted_, allow_unused=True)]
    expected = [bi_modal(way, [a.detach().numpy() for a in noted_], grads, b) for b in range(2)]
    for block in model.own:
        block.heads.spelling = "fused"
    found = METHODS["attention_relevance"](model, x, 1)
    assert list(found.maps) == ["words", "picture"] and found.resolution == (3, 2)
    for b, (tt, ti) in enumerate(expected):
        np.testing.assert_allclose(found.maps["words"][b, :, 0], tt[0] - np.eye(4)[0], rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(patches(found.maps["picture"])[b], ti[0], rtol=1e-7, atol=1e-12)


def test_two_towers_have_a_map_each() -> None:
    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.text, self.picture = nn.Embedding(11, 8), Block(8, "by_matmul"), ViT("by_matmul")
            randomized(self, 2)

        def forward(self, words: Tensor, picture: Tensor) -> Tensor:
            t = self.text(self.table(words))[:, -1, :3]
            return (t * self.picture(picture)).cumsum(1)

    model, x = Towers().double(), {"words": words(), "picture": pictures().double()}
    NOTED.clear()
    out = model(x["words"], x["picture"].clone().requires_grad_())[:, 1].sum()
    noted_ = list(NOTED)
    grads = [g.numpy() for g in torch.autograd.grad(out, noted_)]
    arrays = [a.detach().numpy() for a in noted_]
    found = maps("attention_relevance", model, x)
    text, picture = relevance_of_one(arrays[:1], grads[:1]), relevance_of_one(arrays[1:], grads[1:])
    np.testing.assert_allclose(found["words"][:, :, 0], text[:, -1] - np.eye(4)[-1], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(patches(found["picture"]), picture[:, 0, 1:], rtol=1e-8, atol=1e-12)
    rolled = maps("attention_rollout", model, x)
    np.testing.assert_allclose(rolled["words"].sum((1, 2)), 1, rtol=1e-9)
