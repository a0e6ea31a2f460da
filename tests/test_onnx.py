"""ONNX files opened as networks: they compute what the exported module computes, forwards and backwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.doors.onnx import load, open_file
from pellucid.doors.onnx.opened import labels
from pellucid.doors.onnx.probe import described
from tests.networks import ACTIVATIONS, BLOCKS, Net, picture, randomized
from tests.onnx_files import EXPORTERS, exported, weighted, written

# torch's newer exporter cannot express attention over a batch of free length in these networks.
EXPORTS = [(e, b) for e in EXPORTERS for b in BLOCKS if (e, b) != ("dynamo", "attention")]


def opened(model: nn.Module, x: Tensor, folder: Path, exporter: str = "older", free: bool = True) -> Network:
    return open_file(exported(model, x, folder / "net.onnx", exporter, free))


def gradient(model: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    model(x)[:, 1].sum().backward()
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize(("exporter", "block"), EXPORTS)
def test_values_and_gradients_are_those_of_the_exported_module(exporter: str, block: str, tmp_path):
    for i, activation in enumerate(ACTIVATIONS if exporter == "older" else ACTIVATIONS[:1]):
        model, x = Net("module", activation, block, 3 + i), picture(i)
        net = opened(model, x, tmp_path, exporter)
        torch.testing.assert_close(net.model(x), model(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradient(net.model, x), gradient(model, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_modules_stand_where_they_stood(exporter: str, tmp_path):
    model = nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), nn.Flatten(), nn.Linear(36, 2))
    net = opened(randomized(model, 1), picture(2), tmp_path, exporter)
    assert {"0", "0.0", "0.1", "1", "2"} <= {str(site) for site in net.sites}
    theirs = dict(net.model.named_parameters())
    for name, value in model.named_parameters():
        torch.testing.assert_close(theirs[name], value, msg=name)


def test_a_module_called_again_is_one_module(tmp_path):
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.act = nn.Linear(5, 5), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.layer(self.act(self.layer(x))))

    model, x = randomized(Again(), 3), picture(1)
    net = opened(model, x, tmp_path, "dynamo")
    assert [name for name, _ in net.model.named_children()] == ["layer", "act"]
    torch.testing.assert_close(net.model(x), model(x), rtol=1e-5, atol=1e-5)


METHODS = ("integrated_gradients", "guided_backprop", "lrp", "grad_cam", "occlusion", "deep_lift")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block", BLOCKS)
def test_methods_see_the_same_network(method: str, block: str, tmp_path):
    for activation in ("relu", "silu"):
        model, x = Net("module", activation, block, 5), picture(4)
        net = opened(model, x, tmp_path)
        ours, theirs = (getattr(pl.methods, method)(n, x, pl.logit(1)) for n in (net, pl.open(model)))
        torch.testing.assert_close(ours.values, theirs.values, rtol=1e-4, atol=1e-5)
        assert set(ours.without_rule) <= {*theirs.without_rule, "bmm", "softmax"}


def test_a_dream_is_the_same(tmp_path):
    model, x = Net("module", "relu", "plain", 5), picture(4)
    net = opened(model, x, tmp_path)
    knobs = {"steps": 4, "like": x[:1]}
    ours, theirs = (pl.dream.maximize(n, pl.channel("conv2", 1), early=1.0, **knobs) for n in (net, pl.open(model)))
    torch.testing.assert_close(ours.pictures, theirs.pictures, rtol=1e-4, atol=1e-4)
    assert "one size" in " ".join(pl.dream.maximize(net, pl.channel("conv2", 1), **knobs).notes)  # the file's own


def test_source_lines_have_no_folders(tmp_path):
    path = exported(Net(), picture(1), tmp_path / "net.onnx", "dynamo")
    sources = {node.source for node in load(path).graph.nodes}
    assert any(source.startswith("networks.py:") for source in sources)
    assert not any("/" in source or "\\" in source for source in sources)
    tape = pl.record(open_file(path), picture(1))
    assert {o.source for o in tape.operations} <= sources
    kinds = {m.path: m.kind for m in tape.modules}
    assert (kinds["conv1"], kinds["act1"]) == ("Conv", "Relu")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_number_format_is_kept(kind: torch.dtype, tmp_path):
    model, x = nn.Linear(5, 3).to(kind), torch.ones(2, 5, dtype=kind)
    net = opened(model, x, tmp_path)
    assert net.dtypes == (kind,)
    torch.testing.assert_close(net.model(x), model(x))


def test_shapes_of_any_length(tmp_path):
    text = "agraph (float[N,C,H] x) => (float[N,K] y) { s = Shape<end=1>(x) m = Constant<value_ints=[-1]>() "
    text += "t = Concat<axis=0>(s, m) y = Reshape(x, t) }"
    net = open_file(written(text, tmp_path / "net.onnx"))
    assert [net.model(torch.ones(n, 3, n)).shape for n in (1, 4)] == [(1, 3), (4, 12)]


def test_several_outputs_have_names(tmp_path):
    text = "agraph (float[N,3] x) => (float[N,3] a, float[N,3] b) { a = Relu(x) b = Neg(x) }"
    net = open_file(written(text, tmp_path / "net.onnx"))
    x = torch.randn(2, 3)
    assert list(net.model(x)) == ["a", "b"]
    torch.testing.assert_close(net.model(x=x)["b"], -x)


def test_scores_before_a_softmax_are_offered(tmp_path):
    text = "agraph (float[N,3] x) => (float[N,3] y) { s = Neg(x) y = Softmax(s) }"
    net, x = open_file(written(text, tmp_path / "net.onnx")), torch.randn(2, 3)
    torch.testing.assert_close(net.pick(net.model(x)), (-x).softmax(-1))
    assert "output='s'" in next(note for note in net.notes if "softmax" in note)
    torch.testing.assert_close(pl.open(net, output="s").pick(net.model(x)), -x)


def test_a_file_is_recorded_without_numbers(tmp_path):
    model, x = Net("module", "relu", "attention", 3), picture(4)
    net = opened(model, x, tmp_path)
    real, fake = pl.record(net, x), pl.record(net, x, fake=True)
    assert [o.shapes for o in fake.operations] == [o.shapes for o in real.operations]


def test_shapes_in_between_are_inferred(tmp_path):
    path = exported(Net("module", "relu", "pool"), picture(4), tmp_path / "net.onnx")
    values, (pool,) = described(path).graph.values, [n for n in load(path).graph.nodes if n.op == "MaxPool"]
    assert values[pool.outputs[0]].shape == ("batch", 4, 3, 2)


def test_inputs_are_named_and_checked(tmp_path):
    net = open_file(written("agraph (float[N,3] x, float[N,3] z) => (float[N,3] y) { y = Add(x, z) }", tmp_path / "n"))
    x = torch.randn(2, 3)
    assert net.inputs == ("x", "z")
    for given, said in (((x,), "needs an input 'z'"), ((x, x, x), "2 inputs, 3"), ((x, x[0]), "'z' has shape (3,)")):
        with pytest.raises(BadInput, match="model") as error:
            net.model(*given)
        assert said in error.value.what
    with pytest.raises(BadInput, match="no input 'w'"):
        net.model(x, w=x)


def test_a_file_for_one_sample_takes_many_where_it_can(tmp_path):
    model, x = Net("module", "relu", "attention", 3), picture(1, 1)
    net = opened(model, x, tmp_path, free=False)
    many = picture(1, 5)
    torch.testing.assert_close(net.model(many), model(many), rtol=1e-5, atol=1e-5)
    assert not any("exactly" in note for note in net.notes)


def test_a_file_for_one_sample_that_cannot_take_more_says_so(tmp_path):
    # It transposes the batch axis away before it flattens: two samples would be mixed up.
    text = "agraph (float[1,3,2] x) => (float[1,6] y) <int64[2] s = {1,-1}> "
    text += "{ t = Transpose<perm=[1,0,2]>(x) y = Reshape(t, s) }"
    net = open_file(written(text, tmp_path / "net.onnx"))
    assert any("exactly 1 sample" in note for note in net.notes)
    with pytest.raises(BadInput, match="exported for exactly 1"):
        net.model(torch.ones(2, 3, 2))
    assert net.model(torch.ones(1, 3, 2)).shape == (1, 6)


def test_devices_follow_the_model(tmp_path):
    """Shapes are computed on the CPU wherever the model is; the meta device stands in for one that is not there."""
    for block in BLOCKS:
        net = opened(Net("module", "silu", block, 3), picture(1), tmp_path)
        out = net.model.to("meta")(picture(1, 4).to("meta"))
        assert (out.device.type, out.shape) == ("meta", (4, 3))


LOOP = """agraph (float[N,3] x, int64 n) => (float[N,3] y, float[K,N,3] all) <float[3] w = {0.5, -2.0, 1.0}> {
t = Constant<value=bool {1}>()
y, all = Loop(n, t, x) <body = body (int64 i, bool go, float[N,3] h) => (bool on, float[N,3] out, float[N,3] seen)
{ on = Identity(go) a = Mul(h, w) b = Add(a, x) out = Tanh(b) seen = Neg(out) }> }"""


def test_loops_see_what_is_around_them_and_have_gradients(tmp_path):
    net = open_file(written(LOOP, tmp_path / "net.onnx"))
    x, w = torch.randn(2, 3, requires_grad=True), torch.tensor([0.5, -2.0, 1.0], requires_grad=True)
    h, seen = x, []
    for _ in range(3):
        h = torch.tanh(h * w + x)
        seen.append(-h)
    found = net.model(x, torch.tensor(3))
    torch.testing.assert_close(found, {"y": h, "all": torch.stack(seen)})
    (ours,) = torch.autograd.grad(found["y"].sum(), x)
    torch.testing.assert_close((ours,), torch.autograd.grad(h.sum(), x, retain_graph=True))
    (weight,) = net.model.parameters()
    torch.testing.assert_close(weight, w)


BRANCH = """agraph (float[N,3] x) => (float[N,3] y) <float[3] w = {1.0, 2.0, 3.0}> {
z = Constant<value_float=0.0>() m = ReduceMax<keepdims=0>(x) c = Greater(m, z)
y = If(c) <then_branch = a () => (float[N,3] p) { p = Mul(x, w) }, else_branch = b () => (float[N,3] q) { q = Neg(x) }>
}"""


def test_branches_are_taken_by_the_data(tmp_path):
    net, x = open_file(written(BRANCH, tmp_path / "net.onnx")), torch.rand(2, 3)
    torch.testing.assert_close(net.model(x), x * torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(net.model(-x), x)


def test_random_operators_follow_the_run(tmp_path):
    text = "agraph (float[N,3] x) => (float[N,3] y) { y = RandomNormalLike(x) }"
    net, x = open_file(written(text, tmp_path / "net.onnx")), torch.zeros(100, 3)
    before = torch.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        with running(Run(seed=seed)):
            draws.append(net.model(x))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_preparation_is_only_what_the_file_says(tmp_path):
    text = "agraph (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }"
    silent = open_file(written(text, tmp_path / "a.onnx"))
    assert silent.preparation is None and any("does not say how pictures" in note for note in silent.notes)
    said = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
    stated = open_file(written(text, tmp_path / "b.onnx", **said)).preparation
    assert stated is not None and (stated.size, stated.bgr) == (8, True)
    torch.testing.assert_close(stated.normalize(torch.ones(1, 3, 1, 1)), torch.full((1, 3, 1, 1), 255.0))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'cat', 1: 'dog'}", ("cat", "dog")),
        ('["cat", "dog"]', ("cat", "dog")),
        ("cat\ndog", ("cat", "dog")),
        ("{0: 'cat', 7: 'dog'}", ()),
        ("__import__('os').system('true')", ("__import__('os').system('true')",)),
    ],
)
def test_labels_are_read_and_never_run(text: str, names: tuple[str, ...]):
    assert labels({"names": text}) == names


def test_weights_beside_the_file(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(8) + torch.arange(4.0).numpy().tobytes())
    net = open_file(weighted(tmp_path / "net.onnx", location="w.bin", offset="8", length="16"))
    torch.testing.assert_close(net.model(torch.zeros(1, 4)), torch.arange(4.0)[None])


FUNCTIONS = """agraph (float[N,3] x) => (float[N,3] y) { y = local.twice<by=3.0>(x) }
<domain: "local", opset_import: ["" : 18, "local" : 1]> twice <by> (a) => (b) { h = local.once<by: float = @by>(a)
b = local.once<by: float = @by>(h) }
<domain: "local", opset_import: ["" : 18]> once <by> (a) => (b) {
c = Constant<value_float: float = @by>() b = Mul(a, c) }
"""


def test_functions_of_the_model_become_modules(tmp_path):
    net = open_file(written(FUNCTIONS, tmp_path / "net.onnx"))
    x = torch.randn(2, 3)
    torch.testing.assert_close(net.model(x), 9 * x)
    assert "twice" in dict(net.model.named_children())


def test_values_are_let_go_after_their_last_use(tmp_path):
    net = opened(Net(block="residual"), picture(1), tmp_path)
    for block in (m for m in net.model.modules() if hasattr(m, "plans")):
        for plan in block.plans:
            last = {slot: i for i, step in enumerate(plan.steps) for slot in (*step.takes, *step.gives)}
            freed = {slot: i for i, step in enumerate(plan.steps) for slot in step.frees}
            assert freed == {slot: i for slot, i in last.items() if slot not in plan.results and slot >= 0}


def test_the_graph_is_read_without_torch(tmp_path):
    path = weighted(tmp_path / "net.onnx")
    program = "import sys; from pathlib import Path; from pellucid.doors.onnx import load; "
    program += f"print(load(Path({str(path)!r})).graph.nodes[0].op, 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "Add False\n"


def test_a_weight_that_is_one_expanded_number_has_a_fingerprint():
    model = torch.nn.Linear(1, 1, bias=False)
    model.weight = torch.nn.Parameter(torch.tensor(3.0).expand(1, 1), requires_grad=False)
    model.weight.data = torch.tensor([3.0]).as_strided((1, 1), (0, 0))
    plain = torch.nn.Linear(1, 1, bias=False)
    plain.weight.data = torch.full((1, 1), 3.0)
    assert pl.open(model).fingerprint == pl.open(plain).fingerprint


def test_an_input_that_the_file_was_not_made_for_is_refused_with_both_shapes(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 4 * 4, 5)).eval()
    net = pl.open(exported(model, torch.zeros(1, 3, 6, 6), tmp_path / "fixed.onnx"))
    with pytest.raises(pl.BadInput, match=r"\[batch, 3, 9, 9\] does not fit: the file was made for \[batch, 3, 6, 6\]"):
        pl.methods.saliency(net, torch.rand(2, 3, 9, 9), 0)
    with pytest.raises(pl.BadInput) as said:
        pl.map(net, (1, 3, 2, 2))
    assert "--preparation size=6" in said.value.typed
