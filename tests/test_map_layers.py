"""Networks of different formats beside each other: the same network is the same, and a planted change the only one."""

from __future__ import annotations

import copy
import json
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.architecture.compared.applied import applied
from pellucid.architecture.compared.layers import layers
from pellucid.core.recording.record import record_module
from pellucid.render.terminal import terminal
from pellucid.surfaces.facts import facts
from pellucid.surfaces.show import words_of
from pellucid.views.difference import changes

SHAPE = (2, 3, 12, 12)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=2)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))) + x)


def trained(model, seed=0):
    """With statistics that folding has something to do with."""
    g = torch.Generator().manual_seed(seed)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
            m.running_mean.copy_(torch.randn(m.num_features, generator=g) * 0.3)
            m.running_var.copy_(torch.rand(m.num_features, generator=g) * 2 + 0.2)
            m.weight.data.copy_(torch.rand(m.num_features, generator=g) + 0.5)
            m.bias.data.copy_(torch.randn(m.num_features, generator=g) * 0.2)
    return model.eval()


def convolutional():
    torch.manual_seed(0)
    stem = (nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    blocks = nn.Sequential(Residual(8), Residual(8))
    return trained(nn.Sequential(*stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)))


def exported(model, path, x, **how):
    pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {"dynamo": False, **how}
        torch.onnx.export(model, (x,), path, input_names=["x"], verbose=False, **given)
    return str(path)


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """One network, and the files that two exporters write of it, folded and not."""
    model, x = convolutional(), torch.zeros(SHAPE)
    folder = tmp_path_factory.mktemp("twins")
    files = {
        "folded": exported(model, folder / "folded.onnx", x, dynamic_axes={"x": {0: "batch"}}),
        "apart": exported(model, folder / "apart.onnx", x, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE),
        "program": str(folder / "program.pt2"),
    }  # fmt: skip
    torch.export.save(torch.export.export(model, (x,)), files["program"])
    return model, files


def is_the_same(found):
    p = found.parts
    assert not (p.changed or p.added or p.removed)
    assert all(pair.rounded and pair.values < 1e-5 for pair in found.layers)
    assert all(w.relative < 1e-6 for w in found.weights)


@pytest.mark.parametrize("which", ["folded", "apart", "program"])
def test_a_network_is_the_same_as_what_was_exported_of_it(twins, which):
    model, files = twins
    found = pl.map_difference(model, files[which], SHAPE)
    is_the_same(found)
    assert len(found.layers) == 6 and {pair.kind for pair in found.layers} == {"linear"}
    folds = [pair.folded for pair in found.layers]
    assert folds == (["second"] * 5 + [""] if which == "folded" else [""] * 6)
    back = pl.map_difference(files[which], model, SHAPE)
    is_the_same(back)
    assert [pair.folded for pair in back.layers] == ["first" if side else "" for side in folds]


def test_two_exports_are_compared_where_normalization_stands_in_one_alone(twins):
    _, files = twins
    found = pl.map_difference(files["apart"], files["folded"], SHAPE)
    is_the_same(found)
    assert sum(pair.folded == "second" for pair in found.layers) == 5


def weight(model):
    with torch.no_grad():
        model[4][1].conv1.weight[2] *= 1.01


def shift(model):
    with torch.no_grad():
        model[4][0].bn2.bias[3] += 0.01


def epsilon(model):
    model[1].eps = 0.01


@pytest.mark.parametrize(("plant", "where"), [(weight, "4.1.conv1"), (shift, "4.0.conv2"), (epsilon, "0")])
def test_a_planted_change_of_weights_is_the_only_one_that_is_shown(twins, plant, where):
    model, files = twins
    other = copy.deepcopy(model)
    plant(other)
    found = pl.map_difference(other, files["folded"], SHAPE)
    assert [pair.site for pair in found.layers if not pair.rounded] == [where]
    p = found.parts
    assert not (p.changed or p.added or p.removed)
    assert all(pair.values < 1e-5 for pair in found.layers if pair.site != where)
    dark = changes(found, second=False)
    sites = [found.a.graph.site_of(g) for g in range(len(found.a.graph.groups))]
    leaves = {site for site, v in zip(sites, dark.groups, strict=True) if v and not any(
        s.startswith(site + ".") or not site for s in sites if s != site)}  # fmt: skip
    assert leaves == {where}


def test_the_relative_change_is_that_of_the_filter_that_was_scaled(twins):
    model, files = twins
    other = copy.deepcopy(model)
    weight(other)
    block = model[4][1]
    folded = block.conv1.weight / (block.bn1.running_var + block.bn1.eps).sqrt()[:, None, None, None]
    folded = (folded * block.bn1.weight[:, None, None, None]).detach()
    changed = folded.clone()
    changed[2] *= 1.01
    expected = float((folded - changed).norm() / changed.norm())
    found = pl.map_difference(other, files["folded"], SHAPE)
    (pair,) = [pair for pair in found.layers if not pair.rounded]
    assert pair.weights == pytest.approx(expected, rel=1e-3)


def planted(model, what):
    if what == "activation":
        model[2] = nn.Tanh()
    elif what == "pooling":
        model[3] = nn.AvgPool2d(2)
    elif what == "dilation":
        model[4][1].conv1.padding = model[4][1].conv1.dilation = (2, 2)
    elif what == "head":
        model[7] = nn.Linear(8, 9)
    elif what == "softmax":
        model.append(nn.Softmax(1))
    else:
        model[4][1] = nn.Identity()
    return model


@pytest.mark.parametrize(
    ("what", "site", "said"),
    [
        ("activation", "4.0.conv1", "before it tanh, now relu"),
        ("pooling", "4.0.conv1", "before it avg_pool2d 2, stride 2, now max_pool2d 2, stride 2"),
        ("dilation", "4.1.conv1", "conv2d padding 2, dilation 2, now padding 1"),
        ("softmax", "output", "before it softmax dim 1 no more"),
        ("head", "7", "weights 9x8, now 5x8"),
        ("block", "7", "before it also relu ×2, add"),
    ],
)
def test_a_planted_change_of_structure_is_the_only_one_that_is_shown(twins, what, site, said):
    model, files = twins
    found = pl.map_difference(planted(copy.deepcopy(model), what), files["folded"], SHAPE)
    assert [(c.site, c.what) for c in found.parts.changed] == [(site, (said,))]
    assert found.parts.removed == () and len(found.parts.added) == (2 if what == "block" else 0)
    assert all(pair.rounded for pair in found.layers)


def test_activations_are_compared_after_normalization_wherever_it_is(twins):
    model, files = twins
    x = torch.randn(9, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    found = pl.map_difference(model, files["folded"], x)
    assert ("1", "0") in {pair.places for pair in found.layers}
    assert len(found.apart) == 6 and max(found.apart.values()) < 1e-5
    assert all(found.similarity.diagonal() > 1 - 1e-6)
    with torch.no_grad():
        other = copy.deepcopy(model)
        other[1].weight *= 2
        other[1].bias *= 2
        wanted = float((model[:2](x) - other[:2](x)).norm() / other[:2](x).norm())
    again = pl.map_difference(other, files["folded"], x)
    assert again.apart["1", "0"] == pytest.approx(wanted, rel=1e-4)


def test_the_comparison_is_short_and_says_what_is_folded(twins):
    model, files = twins
    found = pl.map_difference(model, files["folded"], SHAPE)
    lines = terminal(words_of(found, 80), width=80).split("\n")
    assert max(map(len, lines)) <= 80 and len(lines) < 32
    assert "normalization folded into 5 of folded" in " ".join(lines)
    data = json.loads(json.dumps(facts(found)))
    assert [pair["folded"] for pair in data["layers"]] == ["second"] * 5 + [""]


class Attention(nn.Module):
    """Queries, keys and values by one layer or by three, with the same weights."""

    def __init__(self, fused):
        super().__init__()
        self.fused = fused
        self.norm, self.qkv = nn.LayerNorm(8), nn.Linear(8, 24)
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.out, self.act = nn.Linear(8, 8), nn.GELU()

    def forward(self, x):
        y = self.norm(x)
        q, k, v = self.qkv(y).chunk(3, -1) if self.fused else (self.q(y), self.k(y), self.v(y))
        return x + self.act(self.out(F.scaled_dot_product_attention(q, k, v)))


def test_weights_that_are_stored_turned_and_split_are_the_same(tmp_path):
    torch.manual_seed(0)
    fused, apart = Attention(fused=True).eval(), Attention(fused=False).eval()
    with torch.no_grad():
        for i, name in enumerate("qkv"):
            getattr(apart, name).weight.copy_(fused.qkv.weight[8 * i : 8 * i + 8])
            getattr(apart, name).bias.copy_(fused.qkv.bias[8 * i : 8 * i + 8])
    apart.norm, apart.out = fused.norm, fused.out
    x = torch.randn(2, 5, 8)
    file = exported(fused, tmp_path / "fused.onnx", x)
    found = pl.map_difference(fused, file, (2, 5, 8))
    is_the_same(found)
    assert [pair.site for pair in found.layers] == ["norm", "qkv", "out"]
    split = pl.map_difference(apart, file, (2, 5, 8))
    is_the_same(split)
    assert split.otherwise == 4  # three layers there, one here, and the same values after them


def test_a_convolution_of_one_axis_is_one_of_two_of_which_one_is_flat():
    torch.manual_seed(0)
    one = nn.Conv1d(3, 4, 5, padding=2)
    two = nn.Conv2d(3, 4, (1, 5), padding=(0, 2))
    with torch.no_grad():
        two.weight.copy_(one.weight[:, :, None])
        two.bias.copy_(one.bias)
    (a,) = layers(record_module(one, (torch.zeros(1, 3, 9),), {}))
    (b,) = layers(record_module(two, (torch.zeros(1, 3, 1, 9),), {}))
    assert (a.kind, a.shape, a.groups) == (b.kind, b.shape, b.groups) == ("linear", (4, 3, 5), 1)


@pytest.mark.parametrize("groups", [1, 2])
def test_what_is_applied_is_what_the_layer_does(groups):
    torch.manual_seed(1)
    for conv in (nn.Conv2d(4, 6, 3, groups=groups), nn.ConvTranspose2d(4, 6, 3, groups=groups)):
        model = trained(nn.Sequential(conv, nn.BatchNorm2d(6))).double()
        tape = record_module(model, (torch.zeros(1, 4, 5, 5, dtype=torch.double),), {}, keep_values=True)
        (layer,) = layers(tape)
        held = {v.id: dict(model.named_parameters()) | dict(model.named_buffers()) for v in tape.values}
        held = {v.id: held[v.id][v.name] for v in tape.values if v.name in held[v.id]}
        found = applied(layer, held, ("w", "b"))
        weight = torch.cat(list(found.rows())).reshape(6, 4 // groups, 3, 3)
        x = torch.randn(2, 4, 5, 5, dtype=torch.double)
        if isinstance(conv, nn.ConvTranspose2d):
            turned = (
                weight.reshape(groups, 6 // groups, 4 // groups, 3, 3).transpose(1, 2).reshape(4, 6 // groups, 3, 3)
            )
            y = F.conv_transpose2d(x, turned, found.shift, groups=groups)
        else:
            y = F.conv2d(x, weight, found.shift, groups=groups)
        assert torch.allclose(y, model(x), atol=1e-12)


def test_layers_of_one_shape_are_told_apart_by_their_weights(tmp_path):
    """Two branches that a file runs in the other order."""

    class Branches(nn.Module):
        def __init__(self, *, turned):
            super().__init__()
            self.a, self.b, self.turned = nn.Linear(4, 4), nn.Linear(4, 4), turned

        def forward(self, x):
            if self.turned:
                y = torch.tanh(self.b(x))
                return self.a(x) * y
            return self.a(x) * torch.tanh(self.b(x))

    torch.manual_seed(0)
    one = Branches(turned=False)
    two = copy.deepcopy(one)
    two.turned = True
    file = exported(two, tmp_path / "turned.onnx", torch.zeros(1, 4))
    found = pl.map_difference(one, file, (1, 4))
    is_the_same(found)
    assert {(pair.site, pair.other.partition(".")[0]) for pair in found.layers} == {("a", "a"), ("b", "b")}
