"""The tape: complete (it can be run again, bit for bit), named as the model names things, and true about costs."""

import copy
import threading
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from pellucid.core.errors import BadInput, BadModel
from pellucid.core.recording.record import record_module
from pellucid.core.site import Site
from pellucid.core.structure import named_tensors, rebuilt
from tests import modules_of_kinds
from tests import zoo_of_kinds as zoo
from tests.zoo_of_kinds import KINDS, PEERS, build


def plain_run(model, args, kwargs):
    """The model's own answer.  Observed, torch keeps off the fused inference paths that it takes unobserved."""

    class Observed(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Observed():
        return model(*copy.deepcopy(args), **copy.deepcopy(kwargs))


def same(a, b):
    left, right = dict(named_tensors(a)), dict(named_tensors(b))
    assert type(a) is type(b) and left.keys() == right.keys() and left
    for name, v in left.items():
        assert v.dtype == right[name].dtype and torch.equal(v, right[name]), name


@pytest.mark.parametrize("kind", [*KINDS, *PEERS], ids=lambda k: k.__name__)
def test_the_tape_run_again_gives_the_output_bit_for_bit(kind):
    model, args, kwargs = build(kind)
    before = rebuilt((args, kwargs), lambda v: v.clone(), deep=True)
    tape = record_module(model, args, kwargs)
    same((args, kwargs), before)  # the model may write into its input; the user's stays
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with torch.no_grad():
        same(tape.replay(model, args, kwargs), plain_run(model, args, kwargs))
    assert len({op.site for op in tape.operations}) == len(tape.operations)
    assert all(maker < reader for maker, reader, _ in tape.edges)


# networks that look at their input's numbers before they decide, and one that holds weights nobody can name
LOOKING = {"detector", "branching", "writing", "scripted", "opaque", "bert", "tv_maskrcnn"}


@pytest.mark.parametrize("kind", [k for k in KINDS if k.__name__ not in LOOKING], ids=lambda k: k.__name__)
def test_on_other_inputs_and_other_weights_the_tape_is_the_network(kind):
    model, args, kwargs = build(kind)
    tape = record_module(model, args, kwargs)
    assert not tape.data_dependent
    args, kwargs = rebuilt(
        (args, kwargs), lambda v: v.flip(-1) * 0.5 if v.is_floating_point() else v.flip(-1), deep=True
    )
    with torch.no_grad():
        for p in (p for p in model.parameters() if p.is_floating_point()):
            p.add_(0.01 * torch.randn_like(p))
        same(tape.replay(model, args, kwargs), plain_run(model, args, kwargs))


@pytest.mark.parametrize("name", ["detector", "branching", "writing", "scripted", "opaque"])
def test_a_tape_of_a_network_that_looks_at_numbers_says_so(name):
    assert record_module(*build(getattr(zoo, name))).data_dependent


def test_reading_what_does_not_depend_on_the_input_is_no_dependence():
    class Fixed(nn.Module):
        def forward(self, x):
            return x * 2 if torch.zeros_like(x).sum() < torch.arange(3).max() else x

    tape = record_module(Fixed(), (torch.randn(2, 2),), {})
    assert any(op.reads for op in tape.operations) and not tape.data_dependent


def test_operations_say_where_they_ran():
    tape = record_module(*build(zoo.resnet))
    relu = [op for op in tape.operations if op.path == "layer1.0.relu"]
    assert [(op.name, op.call, op.ordinal, op.mutates, op.pointwise) for op in relu] == [
        ("relu", 0, 0, True, True), ("relu", 1, 0, True, True),
    ]  # fmt: skip
    (add,) = [op for op in tape.operations if op.path == "layer1.0" and op.name == "add_"]
    assert add.site == Site("layer1.0", 0, "add_.0") and add.mutates
    file, _, line = add.source.rpartition(":")
    assert file.endswith("modules_of_kinds.py")
    assert Path(modules_of_kinds.__file__).read_text().splitlines()[int(line) - 1].strip() == "out += identity"
    conv = next(op for op in tape.operations if op.name == "conv2d")
    assert conv.parameters == (("stem.0.weight", 8 * 3 * 7 * 7),) and conv.shapes == ((1, 8, 32, 32),)
    assert conv.arguments.startswith("x, stem.0.weight, None, (2, 2), (3, 3)")
    assert conv.bytes == 4 * (3 * 64 * 64 + 8 * 3 * 49 + 8 * 32 * 32)


def test_sums_in_place_join_two_ways():
    tape = record_module(*build(zoo.resnet))
    ways = {op.index: {maker for maker, reader, _ in tape.edges if reader == op.index} for op in tape.operations}
    assert [len(ways[op.index]) for op in tape.operations if op.name == "add_"] == [2, 2, 2, 2]


def test_calls_and_modules_make_the_hierarchy():
    model, args, kwargs = build(zoo.branching)
    tape = record_module(model, args, kwargs)
    assert [(c.path, c.call, c.parent) for c in tape.calls if c.path == "cell"] == [
        ("cell", i, ("", 0)) for i in range(6)
    ]
    kinds = {m.path: (m.kind, m.calls) for m in tape.modules}
    assert kinds["cell"] == ("GRUCell", 6) and kinds["a"][1] + kinds["b"][1] == 1
    assert tape.parameters == sum(p.numel() for p in model.parameters())
    assert tape.values[tape.output(Site("cell", 5))].shape == (1, 8)


def test_a_write_makes_new_values_of_every_view():
    class Views(nn.Module):
        def forward(self, x):
            h = x * 1
            row = h[0]
            row.add_(1)
            return h.sum() + row.sum()

    tape = record_module(Views(), (torch.zeros(2, 2),), {})
    write = next(op for op in tape.operations if op.name == "add_")
    readers = {tape.operations[reader].index for maker, reader, _ in tape.edges if maker == write.index}
    assert readers == {op.index for op in tape.operations if op.name == "sum"}
    (made,) = tape.operations[0].outputs
    with pytest.raises(BadInput, match="written over"):
        tape.value(made)
    assert torch.equal(tape.value(tape.output(Site(""))), torch.tensor(4.0))


def test_layers_of_keras_have_names():
    tape = record_module(*build(zoo.keras_cnn))
    paths = [m.path for m in tape.modules]
    assert {"conv", "inner", "dense"} < set(paths) and sum(p.startswith("inner.") for p in paths) >= 2
    assert all(m.calls == 1 for m in tape.modules if m.kind not in ("InputLayer", "Sequential", "Functional"))
    used = {name for op in tape.operations for name, _ in op.parameters}
    assert {"conv/kernel", "conv/bias", "dense/kernel"} < used
    assert not any(v.origin == "constant" and len(v.shape) > 1 for v in tape.values)


@pytest.mark.parametrize("kind", [zoo.resnet, zoo.mobilenet, zoo.unet, zoo.gpt2, zoo.bert], ids=lambda k: k.__name__)
def test_flops_are_torchs_own_count(kind):
    model, args, kwargs = build(kind)
    if hasattr(model, "config"):
        model.config._attn_implementation = "eager"  # torch's counter passes over attention on the CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*args, **kwargs)
    assert record_module(model, args, kwargs).flops == counter.get_total_flops() > 0


def test_flops_that_torch_does_not_count():
    tape = record_module(*build(zoo.vit))
    attention = [op.flops for op in tape.operations if op.name == "scaled_dot_product_attention"]
    assert attention == [2 * (2 * 2 * 17 * 17 * 8)] * 3  # q·k and p·v, two heads of width 8, 17 tokens
    tape = record_module(*build(zoo.lstm))
    (lstm,) = [op for op in tape.operations if op.name == "lstm"]
    layers = [(8 + 12) * 48, (24 + 12) * 48]  # four gates of 12
    assert lstm.flops == 2 * 7 * 2 * sum(layers)


FAKE = (
    zoo.resnet,
    zoo.mobilenet,
    zoo.unet,
    zoo.vit,
    zoo.torch_transformer,
    zoo.lstm,
    zoo.gpt2,
    zoo.llama,
    zoo.clip,
    zoo.keras_cnn,
)


@pytest.mark.parametrize("kind", FAKE, ids=lambda k: k.__name__)
def test_a_fake_pass_maps_the_same_network(kind):
    model, args, kwargs = build(kind)
    real, fake = record_module(model, args, kwargs), record_module(model, args, kwargs, fake=True)

    def row(op):
        return op.name, op.path, op.call, op.shapes, op.dtypes, op.parameters, op.inputs, op.outputs, op.mutates

    assert [row(op) for op in fake.operations] == [row(op) for op in real.operations]
    assert fake.calls == real.calls and fake.modules == real.modules
    if kind is not zoo.lstm:  # without numbers torch takes an LSTM apart into products
        assert fake.flops == real.flops
    with pytest.raises(BadInput, match="without numbers"):
        fake.replay(model, args, kwargs)


@pytest.mark.parametrize("way", ["meta", "fake"])
def test_a_network_larger_than_memory_is_mapped(way):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=8192, num_hidden_layers=8, num_attention_heads=64, num_key_value_heads=8, intermediate_size=28672,
        vocab_size=128256,
    )  # fmt: skip
    with FakeTensorMode(allow_non_fake_inputs=True) if way == "fake" else torch.device("meta"):
        model = transformers.LlamaForCausalLM(config).eval()
    ids = torch.zeros(1, 16, dtype=torch.long)
    tape = record_module(model, (), {"input_ids": ids}, fake=True)
    layer = 2 * 8192 * 8192 + 2 * 8192 * 1024 + 3 * 8192 * 28672
    assert tape.parameters == 2 * 128256 * 8192 + 8 * (layer + 2 * 8192) + 8192
    attention = 2 * 2 * 64 * 16 * 16 * 128
    assert tape.flops == 2 * 16 * (8 * layer + 128256 * 8192) + 8 * attention
    assert tape.values[tape.output(Site("lm_head"))].shape == (1, 16, 128256)


def test_a_fake_pass_that_asks_for_numbers_says_what_to_do():
    with pytest.raises(BadModel, match=r"needs numbers.*fake=False"):
        record_module(*build(zoo.branching), fake=True)


def test_what_the_model_raises_passes_through_and_hooks_are_gone():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 4))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        record_module(model, (torch.zeros(1, 3),), {})
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_failure_that_the_model_catches_does_not_mix_up_the_hierarchy():
    class Trying(nn.Module):
        def __init__(self):
            super().__init__()
            self.wrong, self.right = nn.Linear(4, 4), nn.Linear(3, 3)

        def forward(self, x):
            try:
                return self.wrong(x)
            except RuntimeError:
                return torch.relu(self.right(x))

    tape = record_module(Trying(), (torch.zeros(1, 3),), {})
    assert [(op.name, op.path) for op in tape.operations] == [("linear", "right"), ("relu", "")]


def test_refusals():
    with pytest.raises(BadInput, match="no tensor among the arguments"):
        record_module(nn.Identity(), (3,), {})
    tape = record_module(nn.Linear(3, 2), (torch.zeros(1, 3),), {}, keep_values=False)
    with pytest.raises(BadInput, match="not kept"):
        tape.value(tape.output(Site("")))
    with pytest.raises(BadInput, match=r"no parameter 'weight'"):
        tape.replay(nn.Identity(), (torch.zeros(1, 3),))
    with pytest.raises(BadInput, match=r"No tensor was put out at 'nowhere'"):
        tape.output(Site("nowhere"))


def test_two_threads_record_without_seeing_each_other():
    tapes = {}

    def work(name):
        model, x = nn.Sequential(*[nn.Linear(4, 4) if name else nn.Tanh() for _ in range(40)]), torch.zeros(1, 4)
        tapes[name] = record_module(model, (x,), {})

    threads = [threading.Thread(target=work, args=(name,)) for name in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [{op.name for op in tapes[i].operations} for i in (0, 1)] == [{"tanh"}, {"linear"}]
    assert [len(tapes[i].operations) for i in (0, 1)] == [40, 40]
