"""Methods that read attention: closed forms, planted truth, rules written out anew, and every method's promises."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadModel, BadOption, Stopped
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.score import Score
from pellucid.core.target import Target, log_odds, logit, scalar
from pellucid.core.tensors import Tensors
from pellucid.methods import all_methods
from tests.attention_models import ALIKE, NOTED, Block, Two, ViT, by_matmul, pictures, words
from tests.networks import randomized
from tests.traces import fingerprint

METHODS = {n: m for n, m in all_methods().items() if m.family == "attention"}
every_method = pytest.mark.parametrize("name", METHODS)


def maps(name: str, net: nn.Module | Network, x: Any, target: Target | int | None = 1, **options: Any) -> Tensors:
    return METHODS[name](net, x, target, **options).maps


def values(name: str, net: nn.Module | Network, x: Any, target: Target | int | None = 1, **options: Any) -> Tensor:
    (found,) = maps(name, net, x, target, **options).values()
    return found


def patches(v: Tensor, grid: tuple[int, int] = (3, 2)) -> Tensor:
    """A map as it was before it was enlarged by a whole factor: bilinear, so it is asked of an enlarged basis."""
    size = v.shape[-2:]
    basis = torch.eye(grid[0] * grid[1], dtype=v.dtype).view(-1, 1, *grid)
    large = F.interpolate(basis, size, mode="bilinear", align_corners=False).flatten(1)
    return torch.linalg.lstsq(large.T, v.flatten(1).T).solution.T


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


def relevance_of_one(noted_: Any, grads: Any) -> Any:
    """The rule for self-attention as the paper writes it, `[batch, tokens, tokens]`."""
    r = np.eye(noted_[0].shape[-1])[None].repeat(len(noted_[0]), 0)
    for a, g in zip(noted_, grads, strict=True):
        r = r + np.maximum(g.astype(np.float64) * a, 0).mean(1) @ r
    return r


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


# Planted truth


class Planted(nn.Module):
    """The class token looks at the patch that is brightest in channel 0, and its value decides the class."""

    def __init__(self, prefix: int = 1, sharp: float = 6.0) -> None:
        super().__init__()
        self.prefix, self.sharp = prefix, sharp
        self.cut = nn.Conv2d(2, 2, 2, 2, bias=False)
        with torch.no_grad():
            self.cut.weight.zero_()
            self.cut.weight[0, 0] = self.cut.weight[1, 1] = 0.25

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.zeros_like(tokens[:, :1]).expand(-1, self.prefix, -1), tokens], 1)
        for _ in range(2):
            bright, value = tokens[..., :1], tokens[..., 1:]
            query = torch.zeros_like(bright)
            query[:, 0] = self.sharp
            looked = F.scaled_dot_product_attention(query, bright, value, scale=1.0)
            tokens = torch.cat([bright, torch.cat([value[:, :1] + looked[:, :1], value[:, 1:]], 1)], -1)
        return torch.cat([tokens[:, 0, 1:], -tokens[:, 0, 1:]], 1)


@every_method
@pytest.mark.parametrize("prefix", [1, 2, 5])
def test_the_patch_that_decides_is_found(name: str, prefix: int) -> None:
    x = torch.zeros(6, 2, 6, 4)
    for place in range(6):
        row, column = divmod(place, 2)
        x[place, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 1
    found = METHODS[name](Planted(prefix), x, 0)
    assert patches(found.values).argmax(1).tolist() == list(range(6))
    assert found.facts["tokens before the patches"] == prefix and found.resolution == (3, 2)


@pytest.mark.parametrize("name", ["attention_relevance", "le_grad"])
def test_what_speaks_against_the_target_is_cut_away(name: str) -> None:
    x = torch.zeros(1, 2, 6, 4)
    x[:, :, 2:4, 2:4] = 1
    assert patches(values(name, Planted(), x, 0)).argmax(1).tolist() == [3]
    assert patches(values(name, Planted(), x, 1))[0, 3] <= 1e-7


class Answering(nn.Module):
    """The first word looks at the patch whose channel 0 is the word's number; the answer is its channel 1."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.cut = nn.Embedding(8, 2), nn.Conv2d(2, 2, 2, 2, bias=False)
        with torch.no_grad():
            self.table.weight.copy_(torch.stack([torch.arange(8.0), torch.zeros(8)], 1))
            self.cut.weight.zero_()
            self.cut.weight[0, 0] = self.cut.weight[1, 1] = 0.25

    def forward(self, words: Tensor, picture: Tensor) -> Tensor:
        t, i = self.table(words)[..., :1], self.cut(picture).flatten(2).transpose(1, 2)
        weights = (-4 * (t - i[..., :1].transpose(1, 2)).square()).softmax(-1)
        answer = t + weights @ i[..., 1:]
        return torch.cat([answer[:, 0], -answer[:, 0]], 1)


@pytest.mark.parametrize("name", ["raw_attention", "attention_relevance"])
def test_the_patch_that_a_word_asks_for_is_found(name: str) -> None:
    picture = torch.stack([torch.arange(6.0).view(3, 2), torch.ones(3, 2)])[None].repeat(4, 1, 1, 1)
    x = {"words": torch.tensor([[0, 5], [2, 5], [3, 1], [5, 0]]), "picture": F.interpolate(picture, scale_factor=2)}
    found = maps(name, Answering(), x, 0)["picture"]
    assert patches(found).argmax(1).tolist() == [0, 2, 3, 5]


class Next(nn.Module):
    """A causal model of words that is read at its last one, or one that the target names."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(11, 8), nn.Linear(8, 11)
        randomized(self, 0)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        h = F.scaled_dot_product_attention(x, x, x, is_causal=True)
        return self.head(x + h)


@every_method
def test_what_comes_after_the_position_that_is_read_gets_nothing(name: str) -> None:
    ids = words(3, 6)
    for at in (2, 4):
        found = values(name, Next(), ids, pl.token(at, 3))
        assert found.shape == (3, 6, 1)
        assert bool(found[:, : at + 1].any()) and not bool(found[:, at + 1 :].any())
    first = values("raw_attention", Next(), ids, pl.token(4, 3), position=0)
    torch.testing.assert_close(first[:, :, 0], torch.eye(6)[:1].repeat(3, 1))


@every_method
def test_an_inner_value_is_explained_by_the_attention_before_it(name: str) -> None:
    net, x = Network(ViT()), pictures()
    whole = METHODS[name](net, x, 1)
    found = METHODS[name](net, x, pl.channel("blocks.1", 3))
    assert (found.facts["layers"], whole.facts["layers"]) == (2, 3)
    both = METHODS[name](net, x, pl.channel("blocks.1", 3) + pl.logit(1))
    assert both.facts["layers"] == 3


# What cannot be done is said


class Windows(nn.Module):
    """Attention within four windows of four patches, as Swin has it."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.head = nn.Conv2d(2, 8, 2, 2), nn.Linear(8, 3)
        randomized(self, 0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x)
        b, c, h, w = x.shape
        x = x.view(b, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 3, 5, 1).reshape(b * 4, 1, h * w // 4, c)
        x = (x @ x.mT).softmax(-1) @ x
        return self.head(x.reshape(b, -1, c).mean(1))


@every_method
def test_windows_are_refused(name: str) -> None:
    with pytest.raises(BadModel, match="within 4 windows"):
        METHODS[name](Windows(), torch.randn(2, 2, 8, 8), 1)


class Channels(nn.Module):
    """Channels that look at each other (cross-covariance attention), as many as there are patches and one."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.head = nn.Conv2d(2, 14, 2, 2), nn.Linear(14, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x).flatten(2).unflatten(1, (2, 7))
        x = (x @ x.mT).softmax(-1) @ x
        return self.head(x.flatten(1, 2).mean(2))


@every_method
def test_channels_that_look_at_each_other_are_no_tokens(name: str) -> None:
    with pytest.raises(BadModel, match=r"over 7 things at ':softmax\.0' that are no tokens"):
        METHODS[name](Channels(), pictures(), 1)


class Pooled(nn.Module):
    """Two resolutions, pooled by a convolution between them."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.pool, self.head = nn.Conv2d(2, 8, 2, 2), nn.Conv2d(8, 8, (1, 2)), nn.Linear(8, 3)
        self.first, self.second = Block(8), Block(8)
        randomized(self, 0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.cut(x).flatten(2).transpose(1, 2))
        x = self.pool(x.transpose(1, 2).unflatten(2, (3, 2)))
        return self.head(self.second(x.flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("name", ["attention_rollout", "attention_relevance"])
def test_tokens_that_are_handed_on_by_something_else_are_not_followed(name: str) -> None:
    with pytest.raises(BadModel, match="hands 6 tokens on to 3 others"):
        METHODS[name](Pooled(), pictures(), 1)


def test_le_grad_says_which_layers_it_leaves_out() -> None:
    found = METHODS["le_grad"](Pooled(), pictures(), 1)
    assert found.resolution == (3, 1) and found.facts["layers"] == 1
    assert any("1 of 2 layers" in note for note in found.notes)


@every_method
def test_a_network_without_attention_is_refused(name: str) -> None:
    with pytest.raises(BadModel, match="no attention that can be seen"):
        METHODS[name](nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(45, 3)), pictures(), 1)


@every_method
def test_inputs_that_cannot_be_told_apart_are_refused(name: str) -> None:
    with pytest.raises(BadModel, match="both 6 tokens"):
        METHODS[name](Two(), {"words": words(count=6), "picture": pictures()}, 1)


def test_rollout_leaves_looking_at_others_to_relevance() -> None:
    with pytest.raises(BadModel, match="attention_relevance"):
        METHODS["attention_rollout"](Two(), {"words": words(), "picture": pictures()}, 1)


@pytest.mark.parametrize(
    ("name", "options"),
    [("raw_attention", {"layer": 3}), ("raw_attention", {"layer": -4}), ("raw_attention", {"head": 2}),
     *((n, {"position": 7}) for n in ("raw_attention", "attention_rollout", "attention_relevance"))],
)  # fmt: skip
def test_options_beyond_the_network_are_refused(name: str, options: dict[str, Any]) -> None:
    (key,) = options
    with pytest.raises(BadOption, match=f"^{key}="):
        METHODS[name](ViT(), pictures(), 1, **options)


@pytest.mark.parametrize("name", ["attention_relevance", "le_grad"])
def test_a_score_that_does_not_depend_on_attention_is_refused(name: str) -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit, self.head = ViT(), nn.Linear(48, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.vit(x)
            return self.head(x.flatten(1))

    with pytest.raises(BadModel, match="does not depend"):
        METHODS[name](Beside(), pictures(), 1)


@pytest.mark.parametrize("name", ["raw_attention", "attention_rollout"])
def test_where_it_cannot_be_told_what_is_read_every_row_counts(name: str) -> None:
    class Detached(ViT):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    x = pictures()
    rows = [values(name, ViT(), x, position=i) for i in range(7)]
    torch.testing.assert_close(values(name, Detached(), x), torch.stack(rows).mean(0))


# Definitions


VARIANTS: dict[str, list[dict[str, Any]]] = {
    "raw_attention": [{}, {"layer": 0, "head": 1}, {"position": 2}],
    "attention_rollout": [{}, {"heads": "max", "discard": 0.3}, {"heads": "min", "position": 2}],
    "attention_relevance": [{}, {"layers": 2}, {"position": 1}],
    "le_grad": [{}, {"layers": 1}, {"readout": "score"}],
}


@pytest.mark.parametrize(("name", "options"), [(n, o) for n in METHODS for o in VARIANTS[n]])
@pytest.mark.parametrize("read", ["first", "all"])
def test_the_method_is_its_definition(name: str, options: dict[str, Any], read: str) -> None:
    net, x = ViT("by_bmm", read=read).double(), pictures().double()
    target = logit(1) - 0.5 * log_odds(0)
    reference = importlib.import_module(f"pellucid.methods.{name}").reference
    slow = reference(Score(Network(net), target), {"x": x}, **options)
    assert slow["x"].abs().max() > 0
    torch.testing.assert_close(values(name, net, x, target, **options), slow["x"], rtol=1e-8, atol=1e-12)


# What every method promises, here on networks that have attention (tests/test_promises.py holds the others to it)


def test_a_class_activation_map_beside_words() -> None:
    model, x = Two(), {"words": words(), "picture": pictures()}
    found = pl.methods.grad_cam(model, x, 1)
    seen: list[Tensor] = []
    handle = model.get_submodule(found.facts["site"]).register_forward_hook(lambda _m, _x, out: seen.append(out))
    (slope,) = torch.autograd.grad(model(**x)[:, 1].sum(), seen)
    handle.remove()
    assert seen[0].shape == (2, 6, 8) and bool(slope.any()), "the last patches that the score depends on"
    cam = torch.einsum("bc,bpc->bp", slope.mean(1), seen[0].detach()).relu()
    torch.testing.assert_close(patches(found.maps["picture"]), cam, rtol=1e-3, atol=1e-5)


def close(a: Tensor, b: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(float(b.abs().max()), 1e-4))


@every_method
@pytest.mark.parametrize("spelling", [*ALIKE, "mha"])
def test_spelling_does_not_matter(name: str, spelling: str) -> None:
    x = pictures()
    close(values(name, ViT(spelling), x), values(name, ViT("by_matmul"), x), 1e-4)


@every_method
@pytest.mark.parametrize("read", ["first", "all"])
def test_a_sample_does_not_see_its_neighbors(name: str, read: str) -> None:
    net, x, classes = Network(ViT(read=read, layers=2).double()), pictures(4).double(), (0, 1, 2, 1)
    together = values(name, net, x, logit(classes))
    alone = [values(name, net, v[None], c) for v, c in zip(x, classes, strict=True)]
    close(torch.cat(alone), together, 1e-9)
    for limits in ({"max_batch": 1}, {"memory": 1}, {"max_batch": 3}, {"channels_last": False}):
        with running(Run(**limits)):
            close(values(name, net, x, logit(classes)), together, 1e-9)


@every_method
def test_same_bits_again_and_in_three_threads(name: str) -> None:
    net, x = Network(ViT("mha", layers=1)), [pictures(seed=s) for s in range(3)]
    want = [values(name, net, v) for v in x]
    got: list[list[Tensor]] = [[], [], []]

    def work(i: int) -> None:
        got[i].extend(values(name, net, x[i]) for _ in range(2))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(g) == 2 and all(torch.equal(v, w) for v in g) for g, w in zip(got, want, strict=True))


@every_method
def test_a_stop_raises_stopped_and_progress_reaches_its_total(name: str) -> None:
    heard: list[Any] = []
    with running(Run(progress=heard.append)):
        whole = METHODS[name](ViT(), pictures(), 1)
    assert heard and heard[-1].done == heard[-1].total and whole.cost.forwards == whole.cost.backwards == 2
    with running(Run(stop=lambda: True)), pytest.raises(Stopped):
        METHODS[name](ViT(), pictures(), 1)


@every_method
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_the_map_has_the_models_type(name: str, kind: torch.dtype) -> None:
    x = pictures()
    found = values(name, ViT().to(kind), x)
    assert found.dtype == kind
    whole = values(name, ViT(), x)
    close(found.float(), whole, {torch.float16: 0.05, torch.bfloat16: 0.3}.get(kind, 1e-5))


@every_method
def test_an_explanation_says_where_it_comes_from_and_saves(name: str, tmp_path: Any) -> None:
    found = METHODS[name](ViT(), pictures(), None)
    assert found.method == name and set(found.options) == {o.name for o in METHODS[name].options}
    assert found.values.shape == (2, 1, 6, 4) and not found.signed and found.facts["layers"] == 3
    again = pl.load(found.save(tmp_path / "why.pellucid")).rerun(Network(ViT()))
    assert torch.equal(again.values, found.values)


@every_method
def test_the_trust_card_tests_it(name: str) -> None:
    found = pl.explain(ViT(), pictures(1), 1, method=name)
    assert [c for c in found.checks if c.value == c.value], "at least one check measured something"


def test_the_chain_of_a_model_that_draws_is_the_same_again() -> None:
    class Draws(ViT):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = F.dropout(super().forward(x), 0.5, training=True)
            return out

    net, x = Network(Draws().train()), pictures()
    before = fingerprint(net.model, x)
    first = METHODS["attention_relevance"](net, x, 1).values
    assert torch.equal(METHODS["attention_relevance"](net, x, 1).values, first)
    assert fingerprint(net.model, x) == before


# Transformers of the transformers package, against the attention that it puts out itself


TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def bert(kind: str) -> tuple[nn.Module, Tensors, Callable[[Any], Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(vocab_size=30, num_labels=3, attn_implementation=kind, **TINY)
    torch.manual_seed(0)
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    x = {"input_ids": torch.randint(3, 30, (2, 6)), "attention_mask": mask}
    return transformers.BertForSequenceClassification(config).eval(), x, lambda y: y.logits[:, 1]


def gpt2(kind: str) -> tuple[nn.Module, Tensors, Callable[[Any], Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=30, attn_implementation=kind,
                                     bos_token_id=1, eos_token_id=2)  # fmt: skip
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    return model, {"input_ids": torch.randint(0, 30, (2, 6))}, lambda y: y.logits[:, -1, 3]


def llama(kind: str) -> tuple[nn.Module, Tensors, Callable[[Any], Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(**TINY | {"num_attention_heads": 4}, num_key_value_heads=2, vocab_size=30,
                                      attn_implementation=kind)  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    return model, {"input_ids": torch.randint(0, 30, (2, 6))}, lambda y: y.logits[:, -1, 3]


def hf_vit(kind: str) -> tuple[nn.Module, Tensors, Callable[[Any], Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(**TINY, image_size=16, patch_size=4, num_labels=3, attn_implementation=kind)
    torch.manual_seed(0)
    x = {"pixel_values": torch.randn(2, 3, 16, 16)}
    return transformers.ViTForImageClassification(config).eval(), x, lambda y: y.logits[:, 1]


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
@pytest.mark.parametrize("build", [bert, gpt2, llama, hf_vit])
def test_transformers_attention_and_its_relevance(build: Any, kind: str) -> None:
    model, x, score = build(kind)
    oracle, _, _ = build("eager")
    out = oracle(**x, output_attentions=True)
    grads = torch.autograd.grad(score(out).sum(), out.attentions, retain_graph=True)
    arrays = [a.detach().numpy() for a in out.attentions]
    r = relevance_of_one(arrays, [g.numpy() for g in grads])
    at = -1 if build in (gpt2, llama) else 0
    net, own = Network(model), build is hf_vit

    def tokens(name: str) -> Any:
        found = next(iter(METHODS[name](net, x, scalar(score)).maps.values()))
        return patches(found, (4, 4)).numpy() if own else found[:, :, 0].numpy()

    identity = np.eye(r.shape[-1])[at]
    np.testing.assert_allclose(tokens("attention_relevance"), (r[:, at] - identity)[:, own:], rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(tokens("raw_attention"), arrays[-1].mean(1)[:, at, own:], rtol=1e-4, atol=1e-6)
    product = np.eye(r.shape[-1])
    for a in arrays:
        product = (0.5 * a.mean(1) + 0.5 * np.eye(r.shape[-1])) @ product
    np.testing.assert_allclose(tokens("attention_rollout"), product[:, at, own:], rtol=1e-4, atol=1e-6)


def test_clip_has_a_map_of_words_and_one_of_patches() -> None:
    from tests.zoo_of_kinds import build, clip

    model, _, x = build(clip)

    def score(out: Any) -> Tensor:
        similarity: Tensor = out.logits_per_image.diagonal()
        return similarity

    model.set_attn_implementation("eager")
    out = model(**x, output_attentions=True)
    found = METHODS["attention_relevance"](Network(model), x, scalar(score)).maps
    end = int(x["input_ids"].argmax(1))  # where this version of CLIP reads the words
    for name, part, at in (("input_ids", out.text_model_output, end), ("pixel_values", out.vision_model_output, 0)):
        grads = torch.autograd.grad(score(out).sum(), part.attentions, retain_graph=True, allow_unused=True)
        r = relevance_of_one([a.detach().numpy() for a in part.attentions], [g.numpy() for g in grads])
        row = (r[:, at] - np.eye(r.shape[-1])[at])[:, name == "pixel_values" :]
        own = patches(found[name], (4, 4)) if name == "pixel_values" else found[name][:, :, 0]
        np.testing.assert_allclose(own, row, rtol=1e-3, atol=1e-6)
