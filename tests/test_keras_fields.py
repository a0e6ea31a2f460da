"""Keras keeps channels last and torch keeps them first: what each place looks at is the same, where it was planted."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.architecture.overlays.channels import channel_axes
from pellucid.core.network import Network
from pellucid.core.recording.receptive_field import ReceptiveField, receptive_field
from pellucid.core.recording.resume import Cut
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors
from tests.keras_networks import cnn, keras, layers, picture, twin

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # keras reading its own
KINDS = ("channels last", "channels first", "torch")


def network(kind: str) -> Network:
    model = cnn(end="")
    if kind == "torch":
        return pl.open(twin(model))
    if kind == "channels last":
        return pl.open(model)
    first = cnn(last=False, end="")
    first.set_weights(model.get_weights())
    return pl.open(first)


def seeing_colors(kind: str) -> Network:
    """One convolution of 3 x 3 places: channel k adds up color k there, the middle nine times."""
    weight = torch.zeros(5, 3, 3, 3)
    for color in range(3):
        weight[color, color] = 1
        weight[color, color, 1, 1] = 9
    if kind == "torch":
        plain = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.AdaptiveMaxPool2d(1), nn.Flatten())
        plain.load_state_dict({"0.weight": weight})
        return pl.open(plain)
    last = kind == "channels last"
    order = {"data_format": "channels_last" if last else "channels_first"}
    convolution = layers.Conv2D(5, 3, use_bias=False, name="0", **order)
    start = keras.Input((12, 14, 3) if last else (3, 12, 14), name="picture")
    model = keras.Sequential([start, convolution, layers.GlobalMaxPooling2D(**order)])
    convolution.kernel.assign(weight.permute(2, 3, 1, 0))
    return pl.open(model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_is_where_a_color_was_planted(kind: str) -> None:
    spots = {0: (3, 8), 1: (10, 1), 2: (6, 11)}  # color -> where it is, in the sample of that number
    x = torch.zeros(3, 3, 12, 14)
    for color, (row, column) in spots.items():
        x[color, color, row, column] = 1
    found = pl.dream.patches(seeing_colors(kind), x, "0", [0, 1, 2], count=1)
    for color, (row, column) in spots.items():
        patch = found.top[found.row(color)][0]
        assert (patch.sample, patch.value, patch.position) == (color, 9.0, (row - 1, column - 1))
        assert patch.field == patch.part == ((row - 1, row + 2), (column - 1, column + 2))
        assert patch.crop.shape == (3, 3, 3) and patch.crop[color, 1, 1] == 1 and patch.crop.sum() == 1


# shape, and size and stride of the field along both axes, by hand: 3; 3 + 1, every other place; 4 + 2 * 2
BY_HAND = {
    "first": ((5, 10, 12), 3, 1),
    "norm": ((5, 10, 12), 3, 1),
    "pool": ((5, 5, 6), 4, 2),
    "last": ((6, 3, 4), 8, 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_fields_and_shapes_at_sites_by_hand(kind: str) -> None:
    net = network(kind)
    tape = pl.record(net, picture())
    assert [v.name for v in tape.values if v.origin == "input"] == list(net.inputs)
    for path, (shape, size, stride) in BY_HAND.items():
        found = receptive_field(tape, Site(path))
        assert tape.shape(Site(path)) == (1, *shape)
        assert found == ReceptiveField((size, size), (stride, stride), (0, 0)) and found.axes == (2, 3)
    assert tape.last_spatial == Site("last")


@pytest.mark.parametrize("kind", KINDS[:2])
def test_patches_and_kernels_are_those_of_the_same_network_in_torch(kind: str) -> None:
    mine, theirs = network(kind), network("torch")
    for at in BY_HAND:
        tops = [pl.dream.patches(n, picture(6), at, count=3).top for n in (mine, theirs)]
        for one, other in zip(*tops, strict=True):
            assert [(p.sample, p.position, p.field) for p in one] == [(p.sample, p.position, p.field) for p in other]
            assert all(torch.equal(p.crop, q.crop) for p, q in zip(one, other, strict=True))
    kernels = [pl.dream.expanded_weights(n, "first", "last", picture()) for n in (mine, theirs)]
    assert kernels[0].kernel.shape == (6, 5, 6, 6) and kernels[0].stride == (2, 2)
    assert torch.allclose(kernels[0].kernel, kernels[1].kernel, atol=1e-6)


def winding(last: bool) -> Any:
    """Layers of Keras that pad, skip, enlarge and cut; every weight is above zero, so that no two ways cancel."""
    order, axis = {"data_format": "channels_last" if last else "channels_first"}, -1 if last else 1
    given = keras.Input((17, 23, 3) if last else (3, 17, 23), name="picture")
    h = layers.ZeroPadding2D(((0, 1), (0, 1)), name="padded", **order)(given)
    h = layers.Conv2D(4, 3, strides=2, name="strided", **order)(h)
    h = layers.BatchNormalization(axis=axis, name="normalized")(h)
    h = layers.DepthwiseConv2D(3, strides=2, padding="same", name="depthwise", **order)(h)
    h = layers.AveragePooling2D(2, strides=1, padding="same", name="averaged", **order)(h)
    h = layers.UpSampling2D(3, name="enlarged", **order)(h)
    h = layers.Cropping2D(((2, 0), (1, 3)), name="cropped", **order)(h)
    h = layers.Concatenate(axis=axis, name="joined")([h, layers.Conv2D(2, 1, **order)(h)])
    h = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="widened", **order)(h)
    model = keras.Model(given, layers.GlobalAveragePooling2D(**order)(h))
    for weight in model.weights:
        weight.assign(0.1 + torch.rand(tuple(weight.shape)))
    return model


@pytest.mark.parametrize("last", [True, False], ids=KINDS[:2])
def test_fields_hold_all_that_gradients_reach(last: bool) -> None:
    """The oracle is the definition: the box of pixels whose slope is not zero lies in the field, at its very size."""
    net, x = pl.open(winding(last)), torch.rand(1, 3, 17, 23)
    tape = pl.record(net, x)
    for path in (
        "padded",
        "strided",
        "normalized",
        "depthwise",
        "averaged",
        "enlarged",
        "cropped",
        "joined",
        "widened",
    ):
        field, shape = receptive_field(tape, Site(path)), tape.shape(Site(path))
        assert field.axes == (2, 3) and None not in field.size
        for at in ((shape[2] // 2, shape[3] // 2), (1, shape[3] - 2)):
            slope = pl.methods.saliency(net, x, pl.neuron(path, 0, *at)).values
            rows, columns = slope[0].sum(0).nonzero().T
            seen = field.pixels(at, (17, 23))
            assert seen[0].start <= int(rows.min()) and int(rows.max()) < seen[0].stop
            assert seen[1].start <= int(columns.min()) and int(columns.max()) < seen[1].stop
    exact = receptive_field(tape, Site("depthwise")).pixels((2, 2), (17, 23))
    slope = pl.methods.saliency(net, x, pl.neuron("depthwise", 0, 2, 2)).values[0].sum(0)
    outside = slope.clone()
    outside[exact] = 0
    assert bool((slope[exact] > 0).all()) and not outside.any()


class Turned(nn.Module):
    """A network in torch that keeps channels last inside, and says so."""

    channels_last_sites = frozenset({"inner"})

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.second = nn.Conv2d(3, 5, 3), nn.LayerNorm(5), nn.Conv2d(5, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        inside = self.inner(self.first(x).permute(0, 2, 3, 1))
        out: Tensor = self.second(inside.permute(0, 3, 1, 2)).mean((2, 3))
        return out


def test_a_pass_resumes_with_values_as_they_are_seen() -> None:
    model, x = Turned().eval(), torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        inside = model.inner(model.first(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        cut = Cut(model, (x,), {}, Site("inner"))
        assert torch.equal(cut.value, inside) and cut.exact
        new = torch.rand(4, *inside.shape[1:])
        assert torch.allclose(cut.run(model, new), model.second(new).mean((2, 3)), atol=1e-6)
    why = pl.methods.occlusion(model, x, 1, at="inner", window=1, stride=1, fill="constant", value=0.0)
    with torch.no_grad():
        falls = torch.zeros(7, 6)
        for row, column in itertools.product(range(7), range(6)):
            without = inside.clone()
            without[..., row, column] = 0
            falls[row, column] = (model(x) - model.second(without).mean((2, 3)))[0, 1]
    assert torch.allclose(why.maps["inner"][0, 0], falls, atol=1e-5)


def test_channels_of_recorded_values() -> None:
    """Behind the first convolution every map has, along the axis that is found, its layer's number of channels."""
    tape = pl.record(network("channels last"), picture())
    axes, counts = channel_axes(tape), {"first": 5, "norm": 5, "pool": 5, "last": 6}
    maps = [op for op in tape.operations if op.path in counts and op.outputs and len(op.shapes[0]) == 4]
    varying = [op for op in maps if tape.values[op.outputs[0]].varies]
    found = {op.site: op.shapes[0][axes[op.outputs[0]]] for op in varying}
    before = {"first": 3, "last": 5}  # what a convolution is given, on the way to it
    made = {op.path: op.index for op in varying if op.name == "conv2d"}
    for op in varying:
        given = op.path in made and op.index < made[op.path]
        assert found[op.site] == (before if given else counts)[op.path], op.site
    assert {op.shapes[0].index(found[op.site], 1) for op in varying if op.path == "norm"} == {3}


# Several inputs


def two_inputs() -> Any:
    scan, age = keras.Input((8, 10, 3), name="scan"), keras.Input((5,), name="age")
    h = layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3, name="seen")(scan))
    return keras.Model([scan, age], layers.Dense(2)(layers.Concatenate()([h, age])))


def test_inputs_are_recorded_by_name() -> None:
    net, x = pl.open(two_inputs()), {"scan": torch.rand(6, 3, 8, 10), "age": torch.rand(6, 5)}
    one: Tensors = {k: v[:1] for k, v in x.items()}
    tape = pl.record(net, **one)
    assert [v.name for v in tape.values if v.origin == "input"] == ["scan", "age"]
    assert receptive_field(tape, Site("seen"), "scan") == ReceptiveField((3, 3), (1, 1), (0, 0))
    assert receptive_field(tape, Site("seen")).axes == (2, 3)
    with torch.no_grad():
        assert torch.equal(tape.replay(net.model, tuple(one.values())), net.model(**one))


class Apart(keras.Model):  # type: ignore[misc]  # keras is not typed
    """A subclassed model that takes two arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = layers.Conv2D(4, 3, name="conv"), layers.Dense(2, name="head")

    def call(self, scan: Any, age: Any, training: bool = False) -> Any:
        seen = keras.ops.mean(keras.ops.relu(self.conv(scan)), (1, 2))
        return self.head(keras.ops.concatenate([seen, age], 1))


class Listed(Apart):
    """... one list of two."""

    def call(self, both: Any) -> Any:
        return super().call(*both)


class Keyed(Apart):
    """... one dictionary of two."""

    def call(self, given: Any) -> Any:
        return super().call(given["scan"], given["age"])


@pytest.mark.parametrize(
    ("kind", "names"), [(Apart, ("scan", "age")), (Listed, ("both_0", "both_1")), (Keyed, ("age", "scan"))]
)
def test_subclassed_models_of_two_inputs(kind: Any, names: tuple[str, str]) -> None:
    model, scan, age = kind(), torch.rand(2, 9, 7, 3), torch.rand(2, 5)
    both: dict[str, Any] = {"scan": scan, "age": age}
    wanted = {Apart: lambda: model(scan, age), Listed: lambda: model([scan, age]), Keyed: lambda: model(both)}[kind]()
    net = pl.open(model)
    assert net.inputs == names
    first, second = (scan.permute(0, 3, 1, 2), age) if kind is not Keyed else (age, scan.permute(0, 3, 1, 2))
    with torch.no_grad():
        assert torch.allclose(net.model(first, second), wanted)
    why = pl.methods.input_x_gradient(net, dict(zip(names, (first, second), strict=True)), 1)
    assert {k: v.shape for k, v in why.maps.items()} == dict(zip(names, (first.shape, second.shape), strict=True))
