"""Resuming behind a cut is a whole pass with the value replaced, without computing what comes before the cut."""

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pellucid.core.errors import BadInput
from pellucid.core.names import module_paths
from pellucid.core.recording.record import record_module
from pellucid.core.recording.resume import Cut
from pellucid.core.site import Site
from pellucid.core.structure import leaves, rebuilt
from tests.zoo_of_kinds import (
    bert,
    branching,
    build,
    gpt2,
    keras_cnn,
    llama,
    lstm,
    mobilenet,
    opaque,
    resnet,
    scripted,
    torch_transformer,
    unet,
    vit,
)  # fmt: skip


def whole(model, args, kwargs, site, new, samples=3):
    """The oracle: the input repeated, everything computed, the value replaced by a hook."""
    runs = iter(range(99))

    def swap(_module, _args, out):
        if next(runs) != site.call:
            return None
        return new.clone() if isinstance(out, torch.Tensor) else (new.clone(), *out[1:])

    args, kwargs = rebuilt((args, kwargs), lambda v: v.repeat(samples, *[1] * (v.ndim - 1)), deep=True)
    hook = module_paths(model)[site.path].register_forward_hook(swap)
    try:
        with torch.no_grad():
            return model(*args, **kwargs)
    finally:
        hook.remove()


CASES = [
    (resnet, "stem"), (resnet, "layer1.0"), (resnet, "layer1.1.conv2"), (resnet, "layer1.1.bn1"),
    (resnet, "layer2.0.downsample"), (resnet, "layer2.1.relu"), (resnet, "layer2.1.relu#1"),
    (resnet, "layer1.0.conv1"), (resnet, "layer2"),
    (mobilenet, "0"), (mobilenet, "1.down"), (mobilenet, "1.drop"), (mobilenet, "2.depth"), (mobilenet, "2.project.1"),
    (unet, "d2"), (unet, "bottom"), (unet, "u2"), (unet, "c2.0"),
    (vit, "patch"), (vit, "blocks.0"), (vit, "blocks.1.qkv"), (vit, "blocks.2.mlp.0"), (vit, "norm"),
    (torch_transformer, "encoder.layers.0"), (torch_transformer, "encoder.layers.1.linear1"),
    (lstm, "embed"), (lstm, "lstm"), (branching, "cell#3"), (scripted, "head"), (opaque, "0"), (opaque, "1"),
    (bert, "encoder.layer.1.attention.output"), (gpt2, "transformer.h.1.mlp"), (llama, "model.layers.1.mlp"),
    (keras_cnn, "inner"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "place"), CASES, ids=lambda v: getattr(v, "__name__", v))
def test_resuming_is_a_whole_pass_with_the_value_replaced(kind, place):
    model, args, kwargs = build(kind)
    site = Site.parse(place)
    cut = Cut(model, args, kwargs, site)
    assert cut.exact, cut.reason
    three = torch.cat([cut.value] * 3, cut.axis)
    for new in (three, three * torch.rand_like(three)):
        kept = new.clone()
        with torch.no_grad():
            resumed = cut.run(model, new)
        oracle = whole(model, args, kwargs, site, new)
        assert type(resumed) is type(oracle)
        for a, b in zip(leaves(resumed, deep=True), leaves(oracle, deep=True), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        assert torch.equal(new, kept)


@pytest.mark.parametrize(
    ("kind", "place"),
    [(resnet, "layer1.0:relu.0"), (resnet, "layer2.0.conv1:conv2d"), (vit, "blocks.1:add.1"), (unet, ":cat.0"),
     (branching, ":item.0")],
    ids=lambda v: getattr(v, "__name__", v),
)  # fmt: skip
def test_operations_are_sites_too(kind, place):
    model, args, kwargs = build(kind)
    site = Site.parse(place)
    tape = record_module(model, args, kwargs)
    if site not in tape.operation_sites:
        with pytest.raises(BadInput, match="No tensor was put out"):
            Cut(model, args, kwargs, site)
        return
    cut = Cut(model, args, kwargs, site)
    assert cut.exact, cut.reason
    with torch.no_grad():
        again = leaves(cut.run(model, torch.cat([cut.value, 2 * cut.value], cut.axis)), deep=True)[0]
    recorded = leaves(model(*args, **kwargs), deep=True)[0]
    torch.testing.assert_close(again[:1], recorded, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(again[1:], recorded)


class Count(TorchFunctionMode):
    """How many samples went through convolutions and matrix products."""

    def __init__(self):
        super().__init__()
        self.samples = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in ("conv2d", "linear", "conv_transpose2d"):
            self.samples += len(args[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("kind", "place", "left"),
    # resnet: the second convolution of layer2.1 and the classifier; behind the downsampling, layer2's other four, too
    [(resnet, "layer2.1.conv1", 2), (resnet, "layer2.0.downsample", 5), (unet, "bottom", 4), (vit, "blocks.2.mlp.0", 2),
     (vit, "blocks.1.qkv", 8)],
    ids=lambda v: getattr(v, "__name__", v),
)  # fmt: skip
def test_what_comes_before_the_cut_is_not_computed(kind, place, left):
    model, args, kwargs = build(kind)
    cut = Cut(model, args, kwargs, Site.parse(place))
    new = cut.value.repeat(5, *[1] * (cut.value.ndim - 1))
    with torch.no_grad(), Count() as count:  # entered first, so it is asked last: it sees what really runs
        cut.run(model, new)
    assert count.samples == 5 * left and cut.exact


def test_a_network_that_turns_elsewhere_is_computed_whole():
    class Turning(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 1), nn.Linear(3, 1)

        def forward(self, x):
            before = torch.tanh(x)
            h = self.first(x)
            return self.a(h) if h.sum() > 0 else self.b(torch.relu(before))

    torch.manual_seed(0)
    model, x = Turning(), torch.rand(1, 3)
    cut = Cut(model, (x,), {}, Site("first"))
    assert cut.exact
    towards_a, towards_b = torch.ones(2, 3), -torch.ones(2, 3)
    here, there = (towards_a, towards_b) if cut.value.sum() > 0 else (towards_b, towards_a)
    for new, exact in ((here, True), (there, False)):
        torch.testing.assert_close(cut.run(model, new), whole(model, (x,), {}, Site("first"), new, 2))
        assert cut.exact is exact
    assert "went another way" in cut.reason


def test_a_mean_over_the_samples_is_taken_over_as_many_as_run():
    class Mixing(nn.Module):
        def forward(self, x):
            return torch.relu(x).mean(0, keepdim=True) + torch.tanh(x)

    torch.manual_seed(0)
    model, x, new = (
        nn.Sequential(nn.Linear(3, 3), Mixing(), nn.Linear(3, 3), Mixing()),
        torch.rand(1, 3),
        torch.rand(4, 3),
    )
    for place in ("0", "1", "2"):
        cut = Cut(model, (x,), {}, Site(place))
        torch.testing.assert_close(cut.run(model, new), model[int(place) + 1 :](new))
        assert cut.exact


def test_written_views_before_the_cut_are_written_again():
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            h = self.fc(x)
            left, right = h.chunk(2, 1)
            left.add_(1)
            right.mul_(2)
            y = self.head(h)
            h += 1
            return y, left, h

    torch.manual_seed(0)
    model, x = Written(), torch.rand(1, 4)
    cut, new = Cut(model, (x,), {}, Site("head")), torch.rand(3, 2)
    resumed, oracle = cut.run(model, new), whole(model, (x,), {}, Site("head"), new)
    for a, b in zip(resumed, oracle, strict=True):
        torch.testing.assert_close(a, b)


def test_refusals():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    with pytest.raises(BadInput, match="several"):
        Cut(model, (torch.zeros(2, 3),), {}, Site("0"))
    with pytest.raises(BadInput, match="an input"):
        Cut(model, (torch.zeros(1, 3),), {}, Site("0", 0, "input"))
    cut = Cut(model, (torch.zeros(1, 3),), {}, Site("0"))
    with pytest.raises(BadInput, match=r"\(5, 4\), expected \('batch', 3\)"):
        cut.run(model, torch.zeros(5, 4))
