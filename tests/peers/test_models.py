"""The networks of torchvision and timm: their doors, their tapes, their preparation, and every gradient method."""

from __future__ import annotations

import copy
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import Missing
from pellucid.methods import all_methods
from tests.test_record import plain_run, same
from tests.traces import fingerprint
from tests.zoo_of_kinds import PEERS, build, tv_maskrcnn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import huggingface_hub
    import timm
    import torchvision
    from timm.models import _builder
    from torchvision.models._api import WeightsEnum

pytestmark = pytest.mark.filterwarnings("ignore:::torchvision", "ignore:::timm", "ignore:::huggingface_hub")

METHODS = all_methods()
CLASS = 3


# The doors


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a network, on which nothing was ever downloaded."""

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for module in [m for name, m in list(sys.modules.items()) if name.startswith("huggingface_hub.") and m]:
        if "HF_HUB_CACHE" in vars(module):
            monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda _: None)  # their client waits between its attempts


NAMES = ("torchvision:resnet18", "torchvision:deeplabv3_resnet50", "timm:mobilenetv3_small_100")


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_cannot_be_reached_are_said_to_be_missing(name: str, far_away: None) -> None:
    with pytest.raises(Missing) as caught:
        pl.open(name)
    assert caught.value.what == f"The weights of {name} are not on this machine and could not be downloaded."
    assert "efficientnet_lite0" in caught.value.hint


def test_offline_mode_is_the_same_to_a_person(far_away: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Missing, match=r"The weights of timm:efficientnet_b0 .* could not be downloaded"):
        pl.open("timm:efficientnet_b0")


@pytest.mark.parametrize(
    ("name", "near"), [("torchvision:resnet5", "resnet50"), ("timm:mobilenetv3_smal_100", "mobilenetv3_small_100")]
)
def test_a_name_that_neither_package_has_is_answered_with_near_ones(name: str, near: str, far_away: None) -> None:
    with pytest.raises(Missing, match="has no pretrained network") as caught:
        pl.open(name)
    assert near in caught.value.hint


@pytest.fixture
def random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both packages with everything of theirs but the trained numbers."""

    def state(self: WeightsEnum, *_: object, **__: object) -> dict[str, Tensor]:
        return torchvision.models.get_model(type(self).__name__.removesuffix("_Weights").lower()).state_dict()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", state)
    monkeypatch.setattr(_builder, "load_pretrained", lambda *_, **__: None)


def theirs_for(name: str, model: nn.Module) -> Callable[[Image.Image], Tensor]:
    package, _, architecture = name.partition(":")
    if package == "torchvision":
        return torchvision.models.get_model_weights(architecture).DEFAULT.transforms()
    return timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)


@pytest.mark.parametrize(
    "name",
    [
        *("torchvision:resnet18", "torchvision:efficientnet_b0", "torchvision:swin_t"),
        *("timm:mobilenetv3_small_100", "timm:vit_tiny_patch16_224", "timm:tf_efficientnet_lite0"),
    ],
)
@pytest.mark.parametrize("size", [(500, 333), (240, 310)])
def test_pictures_are_prepared_as_the_package_prepares_them(
    name: str, size: tuple[int, int], random_weights: None
) -> None:
    """To one grey level: they round to whole levels between the steps.  The picture is pale, so that nothing clips."""
    net = pl.open(name)
    noise = np.random.default_rng(0).integers(90, 165, (30, 40, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    assert net.preparation is not None
    levels = torch.tensor(net.preparation.std)[:, None, None] * 255
    apart = (net.read(picture)[0] - theirs_for(name, net.model)(picture)).abs() * levels
    assert float(apart.max()) < 1.5 and float(apart.mean()) < 0.4


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:mobilenetv3_small_100"])
def test_an_opened_network_is_theirs_with_its_names(name: str, random_weights: None) -> None:
    net = pl.open(name)
    assert len(net.labels) == 1000 and "goldfish" in net.label(1)
    assert not net.model.training and net.source == name
    x = torch.randn(1, 3, 64, 64)
    top = int(net.model(x).argmax())
    assert METHODS["saliency"](net, x).of.classes == METHODS["saliency"](net, x, top).of.classes


# The tapes


@pytest.fixture
def suppression(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Detectors call torchvision's compiled `nms`; where it does not load, the definition stands in for it."""
    if torchvision.extension._has_ops():
        yield
        return

    def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
        overlap, kept = torchvision.ops.box_iou(boxes, boxes).tolist(), []
        for i in scores.argsort(descending=True, stable=True).tolist():
            if all(overlap[i][j] <= threshold for j in kept):
                kept.append(i)
        return torch.tensor(kept, dtype=torch.long)

    library = torch.library.Library("torchvision", "IMPL")
    library.impl("nms", nms, "CPU")
    monkeypatch.setattr(torchvision.extension, "_has_ops", lambda: True)
    with torch.compiler.set_stance("force_eager"):  # without its own roi_align, torchvision compiles a substitute
        yield
    library._destroy()


@pytest.mark.parametrize("kind", PEERS, ids=lambda k: k.__name__)
def test_the_tape_of_a_network_of_theirs_is_the_network(kind: Callable, suppression: None) -> None:
    model, args, kwargs = build(kind)
    if kind is tv_maskrcnn:  # fewer proposals than a thousand: the stand-in for nms looks at every pair
        model.rpn._pre_nms_top_n = model.rpn._post_nms_top_n = {"training": 40, "testing": 40}
    tape = pl.record(pl.open(model), *args, **kwargs)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with torch.no_grad():
        found, right = tape.replay(model, args, kwargs), plain_run(model, args, kwargs)
    same(found, right)
    assert tape.parameters == sum(p.numel() for p in model.parameters())
    assert tape.data_dependent == (kind is tv_maskrcnn)
    if kind is tv_maskrcnn:
        assert len(right[0]["boxes"]) and right[0]["masks"].shape[1:] == (1, 128, 128)


# EfficientNet-Lite0


def test_our_lite0_is_timms_with_the_same_tensors() -> None:
    net = pl.open("efficientnet_lite0")
    peer = timm.create_model("tf_efficientnet_lite0").eval()
    ours = {k: v for k, v in net.model.state_dict().items() if not k.endswith("num_batches_tracked")}
    slots = {k: v for k, v in peer.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert [v.shape for v in ours.values()] == [v.shape for v in slots.values()]
    peer.load_state_dict(dict(zip(slots, ours.values(), strict=True)), strict=False)
    photograph = net.read(Path(__file__).parents[2] / "examples" / "coffee.jpg")
    for x in (photograph, torch.randn(2, 3, 97, 130)):  # odd sizes, where TensorFlow's padding is uneven
        with torch.no_grad():
            theirs = peer(x)
            assert float(theirs.std()) > 0.1
            assert float((net.model(x) - theirs).abs().max()) < 1e-4
        mine = METHODS["saliency"](net, x, CLASS, absolute=False).values
        close(mine, METHODS["saliency"](peer, x, CLASS, absolute=False).values)


# Every gradient method on networks with gates and attention


NETWORKS = {
    "mobilenetv3_small_100": set(),  # hardswish has a rule, and squeeze-and-excitation's gates are constants
    "efficientnet_b0": set(),
    "vit_tiny_patch16_224": {"attention", "normalization"},
}
PICTURE = torch.Size((2, 3, 224, 224))
SHORT = {"integrated_gradients": {"steps": 3}, "smooth_grad": {"samples": 2}, "gradient_shap": {"samples": 2},
         "conductance": {"steps": 1}, "internal_influence": {"steps": 2}, "xrai": {"steps": 2},
         "blur_integrated_gradients": {"steps": 2}, "guided_integrated_gradients": {"steps": 2},
         "wavelet_integrated_gradients": {"steps": 2},
         "sequential_integrated_gradients": {"steps": 1, "cells": 2},
         "integrated_hessians": {"steps": 2, "cells": 1}}  # fmt: skip
on_each = pytest.mark.parametrize("name", NETWORKS)


@cache
def network(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=10).eval()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.to(dtype)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(PICTURE)


@pytest.fixture
def exact() -> Tensor:
    """Where two ways of computing are compared: rounding grows through untrained networks."""
    return torch.randn(1, 3, 128, 128, dtype=torch.double)


def sized(name: str, x: Tensor) -> Tensor:
    """The transformer takes pictures of one size only."""
    return torch.randn(1, 3, 224, 224, dtype=x.dtype) if "vit" in name else x


def slope(net: nn.Module, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(net(leaf)[:, CLASS].sum(), leaf)[0]


def close(a: Tensor, b: Tensor, limit: float = 1e-4) -> None:
    assert a.shape == b.shape and float(b.abs().max()) > 0
    assert float((a - b).abs().max() / b.abs().max()) < limit


@on_each
@pytest.mark.parametrize(
    "method",  # torch cannot differentiate hard sigmoids twice
    [m.name for m in METHODS.values() if m.family == "gradient" and m.name != "integrated_hessians"],
)
def test_every_gradient_method_finds_a_map(name: str, method: str, x: Tensor) -> None:
    found = METHODS[method](network(name), x, CLASS, **SHORT.get(method, {}))
    assert found.values.shape in (PICTURE, (PICTURE[0], 1, *PICTURE[2:])) and bool(found.values.isfinite().all())
    assert bool((found.values.abs().amax((1, 2, 3)) > 0).all())


@on_each
def test_the_gradient_is_autograds(name: str, exact: Tensor) -> None:
    net, x = network(name, torch.double), sized(name, exact)
    right = slope(net, x)
    close(METHODS["saliency"](net, x, CLASS, absolute=False).values, right, 1e-9)
    close(METHODS["input_x_gradient"](net, x, CLASS).values, x * right, 1e-9)


@on_each
@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_shap"])
def test_the_gap_they_report_is_the_gap(name: str, method: str, exact: Tensor) -> None:
    net, x = network(name, torch.double), sized(name, exact)
    found = METHODS[method](net, x, CLASS, **SHORT[method])
    with torch.no_grad():
        change = (net(x) - net(torch.zeros_like(x)))[:, CLASS]
    gap = (found.values.sum((1, 2, 3)) - change).abs() / change.abs()
    torch.testing.assert_close(torch.tensor(found.gap, dtype=gap.dtype), gap, rtol=1e-6, atol=1e-9)


class Held(nn.Module):
    """A gate that nothing flows back through."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x).detach()


class Ruled(nn.Module):
    """An activation whose derivative is a rule's, written out: what flows back is rectified, then goes on or not."""

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor, plain: nn.Module, guided: bool) -> Tensor:
            ctx.save_for_backward(x)
            ctx.plain, ctx.guided = plain, guided
            return plain(x)

        @staticmethod
        def backward(ctx, *upstream: Tensor) -> tuple[Tensor, None, None]:
            (x,), positive = ctx.saved_tensors, upstream[0].clamp(min=0)
            if not ctx.guided:
                return positive, None, None
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                return torch.autograd.grad(ctx.plain(leaf), leaf, positive)[0], None, None

    def __init__(self, kind: type[nn.Module], guided: bool) -> None:
        super().__init__()
        self.plain, self.guided = kind(), guided

    def forward(self, x: Tensor) -> Tensor:
        return self.Rule.apply(x, self.plain, self.guided)


def with_rule(net: nn.Module, guided: bool) -> nn.Module:
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU | nn.SiLU | nn.GELU | nn.Hardswish):
                setattr(module, name, Ruled(type(child), guided))
            elif isinstance(child, nn.Sigmoid | nn.Hardsigmoid):  # a gate is a constant on the way back
                setattr(module, name, Held(child))
    assert any(isinstance(m, Ruled) for m in net.modules())
    return net


@on_each
@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
def test_the_rules_reach_every_activation_and_gate_and_name_attention(name: str, method: str, exact: Tensor) -> None:
    net, x = network(name, torch.double), sized(name, exact)
    found = METHODS[method](net, x, CLASS)
    close(found.values, slope(with_rule(net, method == "guided_backprop"), x), 1e-9)
    assert set(found.without_rule) == NETWORKS[name]


@on_each
def test_nothing_is_left_on_them(name: str, x: Tensor) -> None:
    before = fingerprint(network(name), x)
    METHODS["guided_backprop"](network(name), x, CLASS)
    assert fingerprint(network(name), x) == before


# Where a class activation map is read when nobody says


def resolution(net: nn.Module) -> tuple[int, int] | None:
    return METHODS["grad_cam"](net.eval(), torch.randn(1, 3, 224, 224), CLASS).resolution


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "efficientnet_b0"])
def test_the_last_map_of_a_convolutional_network(name: str) -> None:
    assert resolution(network(name)) == (7, 7)


CHANNELS_LAST_OR_HEADS = {
    "timm vit_tiny_patch16_224": lambda: network("vit_tiny_patch16_224"),  # [batch, heads, tokens, width]
    "timm swin_tiny_patch4_window7_224": lambda: timm.create_model("swin_tiny_patch4_window7_224"),
    "timm convnext_atto": lambda: timm.create_model("convnext_atto"),  # [batch, height, width, channels] in its norms
    "torchvision convnext_tiny": lambda: torchvision.models.convnext_tiny(),
}


@pytest.mark.parametrize("name", CHANNELS_LAST_OR_HEADS)
def test_no_other_tensor_of_four_axes_is_taken_for_a_map(name: str) -> None:
    """The picture is a square, so is what its convolutions make of it."""
    found = resolution(CHANNELS_LAST_OR_HEADS[name]())
    assert found is not None and found[0] == found[1]
