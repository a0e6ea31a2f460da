"""Receptive fields against the oracle that defines them: where the input's gradient is not zero."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pellucid.core.errors import BadInput
from pellucid.core.recording.receptive_field import ReceptiveField, receptive_field, receptive_fields
from pellucid.core.recording.record import record_module
from pellucid.core.site import Site
from tests.modules_of_kinds import ResNet
from tests.zoo_of_kinds import build, keras_cnn, unet, vit


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def positive(model):
    """Weights above zero: then no two ways from a pixel to an output cancel."""
    for p in model.parameters():
        nn.init.uniform_(p, 0.1, 1.0)
    return model.double().eval()


def support(model, x, position):
    """The smallest box of input pixels that the output at a position depends on; None when there is none."""
    x = x.clone().requires_grad_()
    out = model(x)
    (grad,) = torch.autograd.grad(out[(0, slice(None), *position)].sum(), x)
    touched = grad[0].abs().sum(0).nonzero()
    return (
        None
        if len(touched) == 0
        else tuple(slice(int(a), int(b) + 1) for a, b in zip(touched.amin(0), touched.amax(0), strict=True))
    )


def found(model, x, **options):
    tape = record_module(model, (x,), {})
    return receptive_fields(tape, **options)[tape.output(Site(""))]


def positions(out):
    h, w = out.shape[2:]
    return {(0, 0), (h // 2, w // 2), (h - 1, w - 1), (0, w // 2)}


def inside(box, limit):
    return box is None or all(
        limit_.start <= b.start and b.stop <= limit_.stop for b, limit_ in zip(box, limit, strict=True)
    )


convolutions = st.builds(
    lambda k, s, p, d: nn.Conv2d(1, 1, k, s, tuple(min(p, n // 2) for n in k), d),
    st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2),
)  # fmt: skip
pools = st.builds(
    lambda k, s, p: nn.AvgPool2d(k, s, min(p, k // 2)), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1)
)


@given(st.lists(st.one_of(convolutions, pools), min_size=1, max_size=4))
def test_of_stacks_of_convolution_and_pooling_the_field_is_exact(layers):
    model, x = positive(nn.Sequential(*layers)), torch.rand(1, 1, 90, 81, dtype=torch.double)
    out, field = model(x), found(model, x)
    for position in positions(out):
        box = support(model, x, position)
        pixels = field.pixels(position, x.shape[2:])
        assert inside(box, pixels)
        start = [o + s * p for o, s, p in zip(field.offset, field.stride, position, strict=True)]
        if all(a >= 0 and a + size <= n for a, size, n in zip(start, field.size, x.shape[2:], strict=True)):
            assert box == pixels


def _cat(x):
    return torch.cat([F.avg_pool2d(x, 3, 1, 1), F.pad(x, (2, 0, 0, 1))[..., 1:, :-2]], 1)


OTHERS = {
    "transposed": nn.ConvTranspose2d(1, 1, 3, 2, 1),
    "transposed, wide": nn.ConvTranspose2d(1, 1, (5, 4), 3, 1, dilation=2),
    "nearest": nn.Upsample(scale_factor=3),
    "nearest, odd": nn.Upsample(size=(23, 31)),
    "nearest, exact": nn.Upsample(size=(23, 31), mode="nearest-exact"),
    "nearest, smaller": nn.Upsample(size=(6, 5)),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear, corners": nn.Upsample(size=(25, 31), mode="bilinear", align_corners=True),
    "bilinear, smaller": nn.Upsample(size=(7, 9), mode="bilinear"),
    "bicubic": nn.Upsample(size=(21, 21), mode="bicubic"),
    "antialiased": Lambda(lambda x: F.interpolate(x, size=(5, 6), mode="bilinear", antialias=True)),
    "area": Lambda(lambda x: F.interpolate(x, size=(5, 6), mode="area")),
    "adaptive": nn.AdaptiveAvgPool2d((5, 4)),
    "shuffle": nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2)),
    "unshuffle": nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3)),
    "same": nn.Sequential(nn.Conv2d(1, 1, 4, dilation=2, padding="same"), nn.Conv2d(1, 1, 3, padding="valid")),
    "reflect": nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(1, 1, 3)),
    "replicate": nn.Sequential(nn.ReplicationPad2d((3, 1, 0, 2)), nn.Conv2d(1, 1, 3)),
    "circular": nn.Sequential(nn.CircularPad2d(1), nn.Conv2d(1, 1, 3)),
    "max": nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    "cat and slices": Lambda(_cat),
    "every second": Lambda(lambda x: x[:, :, 1::2, ::3] * 2 + x[:, :, ::2, ::3]),
    "turned": Lambda(lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (1,)).abs().transpose(1, 3).swapaxes(2, 3) + x),
    "axes changed": Lambda(lambda x: x.transpose(2, 3).reshape(1, 1, 1, *x.shape[:1:-1]).squeeze(1).mT),
    "hardswish": nn.Sequential(nn.Hardswish(), nn.Hardswish(inplace=True), nn.Conv2d(1, 1, 2)),
    "squeeze and excitation": Lambda(lambda x: x * x.mean((2, 3), keepdim=True)),
    "one row": Lambda(lambda x: x - x.mean(3, keepdim=True)),
    "group norm": nn.GroupNorm(1, 1),
    "softmax": Lambda(lambda x: x.softmax(2)),
    "flip": Lambda(lambda x: x.flip(3)),
    "attention": Lambda(lambda x: (x.flatten(2).transpose(1, 2) @ x.flatten(2)).softmax(-1)[:, None, :16, :16]),
    "linear over a row": Lambda(lambda x: F.linear(x, torch.ones(3, x.shape[-1], dtype=x.dtype))),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_no_operation_sees_more_than_its_field(name):
    model, x = positive(OTHERS[name]), torch.rand(1, 1, 18, 20, dtype=torch.double)
    out, field = model(x), found(model, x)
    for position in positions(out):
        assert inside(support(model, x, position), field.pixels(position, x.shape[2:])), (position, field)


@pytest.mark.parametrize(
    ("name", "size"),
    [("transposed", (2, 2)), ("nearest", (1, 1)), ("bilinear", (2, 2)), ("shuffle", (3, 3)), ("unshuffle", (6, 6)),
     ("turned", (1, 1)), ("every second", (2, 1)), ("cat and slices", (3, 4)), ("axes changed", (1, 1)),
     ("hardswish", (2, 2)),     ("squeeze and excitation", (None, None)), ("one row", (1, None))],
)  # fmt: skip
def test_fields_are_not_much_wider_than_they_must_be(name, size):
    field = found(positive(OTHERS[name]), torch.rand(1, 1, 18, 20, dtype=torch.double))
    assert tuple(None if s is None else math.floor(s) for s in field.size) == size


def test_a_residual_network_by_hand():
    tape = record_module(ResNet().eval(), (torch.rand(1, 3, 64, 64),), {})
    # conv 7/2: 7, step 2; pool 3/2: +2*2 = 11, step 4; two convs 3/1 a block: +2*2*4 = 27, then 43
    assert receptive_field(tape, Site("stem")) == ReceptiveField((7, 7), (2, 2), (-3, -3))
    assert receptive_field(tape, Site("pool")) == ReceptiveField((11, 11), (4, 4), (-5, -5))
    assert receptive_field(tape, Site("layer1.0")) == ReceptiveField((27, 27), (4, 4), (-13, -13))
    assert receptive_field(tape, Site("layer1")) == ReceptiveField((43, 43), (4, 4), (-21, -21))
    # a block of step 2: +2*4 = 51, step 8, +2*8 = 67; another: +2*8*2 = 99; centered on the pixel all the way
    assert receptive_field(tape, Site("layer2")) == ReceptiveField((99, 99), (8, 8), (-49, -49))
    assert receptive_field(tape, Site("layer2.0.downsample")) == ReceptiveField((43, 43), (8, 8), (-21, -21))
    assert receptive_field(tape, Site("fc")) == ReceptiveField((None, None), (None, None), (None, None))
    assert tape.last_spatial == Site("layer2")


def test_of_whole_networks():
    model, args, kwargs = build(unet)
    field = found(positive(model), args[0].double())
    out = model(args[0].double())["mask"]
    box = support(lambda x: model(x)["mask"], args[0].double(), (13, 17))
    assert (
        out.shape[2:] == args[0].shape[2:] and inside(box, field.pixels((13, 17), (32, 32))) and field.stride == (1, 1)
    )
    model, args, kwargs = build(vit)
    tape = record_module(model, args, kwargs)
    assert receptive_field(tape, Site("patch")) == ReceptiveField((8, 8), (8, 8), (0, 0))
    assert receptive_field(tape, Site("blocks.0")).size == (None, None)
    model, args, kwargs = build(keras_cnn)
    tape = record_module(model, args, kwargs)
    field = receptive_fields(tape, axes=(1, 2))[tape.output(Site("conv"))]
    assert field == ReceptiveField((3, 3), (1, 1), (-1, -1))


def test_inputs_without_positions_are_refused():
    tape = record_module(nn.Linear(3, 2), (torch.rand(1, 3),), {})
    with pytest.raises(BadInput, match="No input has positions"):
        receptive_fields(tape)
