"""Layers that exporters spell out are joined where the graph says exactly that, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.doors.onnx import functions, load, open_file
from pellucid.doors.onnx.graph import Graph, Model, Node
from pellucid.doors.onnx.joined import fused
from pellucid.doors.onnx.joined.reading import Reading
from pellucid.doors.onnx.running import build
from pellucid.doors.onnx.running.module import OnnxModule
from tests.networks import randomized, seeded
from tests.onnx_files import exported, written

NUMBERS = """float one = {1}, float two = {2}, float three = {3}, float half = {0.5}, float tenth = {0.1},
    float root = {1.4142135}, float inverse = {0.70710677}, float cubic = {0.044715}, float bent = {0.7978846},
    float six = {6}, float sixth = {0.16666667}, float none = {0}, float eps = {0.00001}, float minus = {-0.5},
    float[5] gain = {0.5, 1, 1.5, 2, 2.5}, float[5] shift = {1, 2, 3, 4, 5}, int64[1] last = {-1}"""
SCALE, SHIFT = torch.arange(1, 6) / 2, torch.arange(1.0, 6)
MEAN = "m = ReduceMean <axes = [-1]> (x) d = Sub(x, m) "
SQUARED = "s = Pow(d, two) v = ReduceMean <axes = [-1]> (s) e = Add(v, eps) r = Sqrt(e) "
TANH = "p = Pow(x, three) c = Mul(p, cubic) a = Add(x, c) b = Mul(a, bent) t = Tanh(b) u = Add(t, one) "


def plain_layer(x: Tensor) -> Tensor:
    return F.layer_norm(x, (5,))


def root_mean_square(x: Tensor) -> Tensor:
    return F.rms_norm(x, (5,), SCALE, 1e-5)


# Name: the nodes, what they are joined to, what they compute.
SPELLED = {
    "silu": ("s = Sigmoid(x) y = Mul(s, x)", "Swish", F.silu),
    "mish": ("s = Softplus(x) t = Tanh(s) y = Mul(x, t)", "Mish", F.mish),
    "gelu": ("a = Div(x, root) e = Erf(a) u = Add(e, one) g = Mul(x, u) y = Mul(g, half)", "Gelu", F.gelu),
    "gelu, half first": ("h = Mul(half, x) a = Mul(x, inverse) e = Erf(a) u = Add(one, e) y = Mul(h, u)", "Gelu",
                         F.gelu),
    "gelu, half inside": ("a = Div(x, root) e = Erf(a) u = Add(e, one) g = Mul(half, u) y = Mul(x, g)", "Gelu", F.gelu),
    "gelu by tanh": (TANH + "h = Mul(x, half) y = Mul(h, u)", "Gelu", lambda x: F.gelu(x, approximate="tanh")),
    "gelu by tanh, factored": (
        "q = Mul(x, x) c = Mul(q, cubic) a = Add(one, c) w = Mul(x, bent) b = Mul(w, a) t = Tanh(b) u = Add(t, one)"
        " h = Mul(x, half) y = Mul(h, u)",
        "Gelu",
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    "hard sigmoid": ("a = Add(x, three) c = Clip(a, none, six) y = Div(c, six)", "HardSigmoid", F.hardsigmoid),
    "hard swish": ("a = Add(x, three) c = Clip(a, none, six) g = Mul(x, c) y = Div(g, six)", "HardSwish", F.hardswish),
    "hard swish, by a sixth": (
        "a = Add(three, x) c = Clip(a, none, six) g = Mul(c, sixth) y = Mul(g, x)", "HardSwish", F.hardswish,
    ),
    "hard swish of a hard sigmoid": ("h = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul(x, h)", "HardSwish",
                                     F.hardswish),
    "layer": (MEAN + SQUARED + "n = Div(d, r) g = Mul(n, gain) y = Add(g, shift)", "LayerNormalization",
              lambda x: F.layer_norm(x, (5,), SCALE, SHIFT)),
    "layer, gain on the left": (MEAN + SQUARED + "n = Div(d, r) g = Mul(gain, n) y = Add(shift, g)",
                                "LayerNormalization", lambda x: F.layer_norm(x, (5,), SCALE, SHIFT)),
    "layer without gain": (MEAN + SQUARED + "y = Div(d, r)", "LayerNormalization", plain_layer),
    "layer, squared by itself": (
        MEAN + "s = Mul(d, d) v = ReduceMean <axes = [-1]> (s) e = Add(eps, v) r = Sqrt(e) y = Div(d, r)",
        "LayerNormalization", plain_layer,
    ),
    "layer, subtracted twice": (
        MEAN + "k = Sub(x, m) s = Pow(k, two) v = ReduceMean <axes = [-1]> (s) e = Add(v, eps) r = Sqrt(e)"
        " y = Div(d, r)",
        "LayerNormalization", plain_layer,
    ),
    "layer, axes counted from the left": (
        "m = ReduceMean <axes = [2]> (x) d = Sub(x, m) s = Pow(d, two) v = ReduceMean <axes = [-1]> (s) e = Add(v, eps)"
        " r = Sqrt(e) y = Div(d, r)",
        "LayerNormalization", plain_layer,
    ),
    "root mean square": (
        "s = Pow(x, two) v = ReduceMean <axes = [-1]> (s) e = Add(v, eps) r = Sqrt(e) i = Reciprocal(r) n = Mul(x, i)"
        " y = Mul(gain, n)",
        "RMSNormalization", root_mean_square,
    ),
    "root mean square, one over it": (
        "s = Mul(x, x) v = ReduceMean <axes = [-1]> (s) e = Add(v, eps) r = Sqrt(e) i = Div(one, r) n = Mul(i, x)"
        " y = Mul(n, gain)",
        "RMSNormalization", root_mean_square,
    ),
    "root mean square by a power": (
        "s = Pow(x, two) v = ReduceMean <axes = [-1]> (s) e = Add(v, eps) i = Pow(e, minus) n = Mul(x, i)"
        " y = Mul(n, gain)",
        "RMSNormalization", root_mean_square,
    ),
}  # fmt: skip
# Name: nodes that look like it and are not.
OTHERWISE = {
    "another half": "a = Div(x, root) e = Erf(a) u = Add(e, one) g = Mul(x, u) y = Mul(g, tenth)",
    "another root": "a = Div(x, two) e = Erf(a) u = Add(e, one) g = Mul(x, u) y = Mul(g, half)",
    "another power": "p = Pow(x, two) c = Mul(p, cubic) a = Add(x, c) b = Mul(a, bent) t = Tanh(b) u = Add(t, one)"
    " h = Mul(x, half) y = Mul(h, u)",
    "a gate of something else": "n = Neg(x) s = Sigmoid(n) y = Mul(s, x)",
    "another clip": "a = Add(x, three) c = Clip(a, none, three) g = Mul(x, c) y = Div(g, six)",
    "another mean": "q = Abs(x) m = ReduceMean <axes = [-1]> (q) d = Sub(x, m) s = Mul(d, x)"
    " v = ReduceMean <axes = [-1]> (s) e = Add(v, eps) r = Sqrt(e) y = Div(d, r)",
    "another axis": "m = ReduceMean <axes = [1]> (x) d = Sub(x, m) s = Pow(d, two) v = ReduceMean <axes = [1]> (s)"
    " e = Add(v, eps) r = Sqrt(e) y = Div(d, r)",
    "no epsilon": MEAN + "s = Pow(d, two) v = ReduceMean <axes = [-1]> (s) r = Sqrt(v) y = Div(d, r)",
}
NAMES = {joined for _, joined, _ in SPELLED.values()} | {"Attention"}


def model(nodes: str, folder: Path, outputs: str = "float[N,L,5] y") -> Model:
    text = f"agraph (float[N,L,5] x) => ({outputs}) <{NUMBERS}> {{ {nodes} }}"
    return functions.inlined(load(written(text, folder / "net.onnx", 13)))


def modules(found: OnnxModule) -> list[str]:
    return [m.op for m in found.modules() if hasattr(m, "op")]


def both(given: Model) -> tuple[OnnxModule, OnnxModule]:
    """As it is written, and joined."""
    return build.module(given), build.module(fused.fused(given))


def values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded(3)) * 3


@pytest.mark.parametrize("name", SPELLED)
def test_what_is_spelled_out_is_one_module_that_computes_the_same(name: str, tmp_path):
    nodes, op, function = SPELLED[name]
    apart, joined = both(model(nodes, tmp_path))
    assert modules(joined) == [op]
    x = values(2, 3, 5)
    torch.testing.assert_close(joined(x), apart(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(joined(x), function(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_is_something_else_stays(name: str, tmp_path):
    apart, joined = both(model(OTHERWISE[name], tmp_path))
    assert modules(joined) == modules(apart) and not NAMES & set(modules(joined))


@pytest.mark.parametrize("inside", ["e", "u", "g"])
def test_what_is_read_elsewhere_stays(inside: str, tmp_path):
    nodes = SPELLED["gelu"][0]
    also_read = model(f"{nodes} z = Neg({inside})", tmp_path, "float[N,L,5] y, float[N,L,5] z")
    put_out = model(nodes, tmp_path, f"float[N,L,5] y, float[N,L,5] {inside}")
    for given in (also_read, put_out):
        assert "Gelu" not in modules(both(given)[1])


HEADS = "k = Transpose <perm = [0, 1, 3, 2]> (x) s = MatMul(x, k) "
GUARD = "n = IsNaN(p) w = Where(n, none, p) c = Cast <to = 1> (w) "
ATTENTION = {
    "scaled": (HEADS + "t = Mul(s, tenth) p = Softmax <axis = -1> (t) y = MatMul(p, x)", 0.1, False),
    "divided": (HEADS + "t = Div(s, three) p = Softmax <axis = 3> (t) y = MatMul(p, x)", 1 / 3, False),
    "masked": (HEADS + "t = Mul(s, tenth) a = Add(t, mask) p = Softmax <axis = -1> (a) y = MatMul(p, x)", 0.1, True),
    "mask first": (HEADS + "a = Add(mask, s) p = Softmax <axis = -1> (a) y = MatMul(p, x)", 1.0, True),
    "guarded": (HEADS + "t = Mul(s, tenth) p = Softmax <axis = -1> (t) " + GUARD + "y = MatMul(c, x)", 0.1, False),
    "keys turned and scaled": (
        "k = Transpose <perm = [0, 1, 3, 2]> (x) h = Mul(k, half) s = MatMul(x, h) p = Softmax <axis = -1> (s)"
        " y = MatMul(p, x)", 0.5, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_joined(name: str, tmp_path):
    nodes, scale, masked = ATTENTION[name]
    text = f"agraph (float[N,2,L,5] x, float[N,1,L,L] mask) => (float[N,2,L,5] y) <{NUMBERS}> {{ {nodes} }}"
    apart, joined = both(functions.inlined(load(written(text, tmp_path / "net.onnx", 13))))
    assert [op for op in modules(joined) if op not in ("Transpose", "Mul")] == ["Attention"]
    x, mask = values(2, 2, 4, 5), values(2, 1, 4, 4)
    torch.testing.assert_close(joined(x, mask), apart(x, mask), rtol=1e-6, atol=1e-6)
    wanted = F.scaled_dot_product_attention(x, x, x, mask if masked else None, scale=scale)
    torch.testing.assert_close(joined(x, mask), wanted, rtol=1e-5, atol=1e-6)


def test_classes_that_weigh_rows_are_no_attention(tmp_path):
    text = f"agraph (float[N,5] x) => (float[N,5] y) <{NUMBERS}, float[5,5] w = {{{', '.join(['1'] * 25)}}}>"
    nodes = "{ s = MatMul(x, w) p = Softmax <axis = -1> (s) y = MatMul(p, w) }"
    given = functions.inlined(load(written(f"{text} {nodes}", tmp_path / "net.onnx", 13)))
    assert "Attention" not in modules(both(given)[1])


class Block(nn.Module):
    """A transformer's block that takes what a picture's corner of four places tells."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.act, self.fc = nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8)
        self.attend, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 8, 4).transpose(1, 2)
        h = self.norm(x)
        x = x + self.attend(h, h, h, need_weights=False)[0]
        out: Tensor = self.head(self.act(self.fc(self.norm(x))).mean(1))
        return out


@pytest.fixture(scope="module")
def block() -> nn.Module:
    return randomized(Block(), 4)


def test_rules_see_the_layers_of_the_module(block: nn.Module, tmp_path):
    x = values(1, 2, 4, 4)
    path = exported(block, x, tmp_path / "net.onnx", version=14)
    assert not {"LayerNormalization", "Gelu", "Attention"} & {node.op for node in load(path).graph.nodes}
    net = open_file(path)
    assert {"LayerNormalization", "Gelu", "Attention"} <= set(modules(net.model))  # type: ignore[arg-type]
    norm = net.model.get_submodule("norm")
    torch.testing.assert_close(norm.weight, block.norm.weight)
    torch.testing.assert_close(norm.bias, block.norm.bias)
    for method in ("lrp", "deep_lift"):
        ours, theirs = (getattr(pl.methods, method)(n, x, pl.logit(1)).values for n in (net, pl.open(block)))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("links", [50, 100])
def test_the_work_grows_with_the_nodes_and_not_faster(links: int, monkeypatch):
    """A chain of products, each a factor of the next: every look back is bounded."""
    looks = 0
    seen = Reading.maker

    def counted(self: Reading, name: str, *ops: str) -> Node | None:
        nonlocal looks
        looks += 1
        return seen(self, name, *ops)

    monkeypatch.setattr(Reading, "maker", counted)
    nodes = tuple(Node("Mul", (f"v{i}", f"v{i}"), (f"v{i + 1}",)) for i in range(links))
    fused.fused(Model(Graph("chain", (), (), nodes, {}, {}), {}, {}))
    assert looks < 60 * links
