"""pytorch-grad-cam's other class activation maps, where they are the published formulas: the same picture as ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.methods import all_methods
from tests.peers.test_grad_cam import apart, as_a_picture, network, out_of_place

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchvision
    from pytorch_grad_cam import (
        AblationCAM,
        GradCAM,
        GradCAMPlusPlus,
        HiResCAM,
        LayerCAM,
        ScoreCAM,
        SegEigenCAM,
        XGradCAM,
        base_cam,
        refine_cam,
    )
    from pytorch_grad_cam.base_cam import BaseCAM
    from pytorch_grad_cam.shapley_cam import ShapleyCAM
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_kernel

pytestmark = pytest.mark.filterwarnings("ignore:::pytorch_grad_cam", "ignore:::torchvision", "ignore:::timm")

METHODS = all_methods()
# (their class, our options, what the score is multiplied by: theirs add 1e-6 to squared gradients, ours do not)
PEERS: dict[str, tuple[type[BaseCAM], dict[str, bool], float]] = {
    "ablation_cam": (AblationCAM, {}, 1.0),
    "grad_cam_plus_plus": (GradCAMPlusPlus, {}, 1e4),
    "hi_res_cam": (HiResCAM, {"rectify": True}, 1.0),
    "score_cam": (ScoreCAM, {}, 1.0),
    "x_grad_cam": (XGradCAM, {}, 1.0),
}


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 96, 96)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("site", ["layer4", "layer3"])
def test_the_same_picture(name: str, site: str, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    # their Score-CAM enlarges the channels from corner to corner, its picture from center to center
    monkeypatch.setattr(nn, "UpsamplingBilinear2d", lambda size: partial(enlarged, size=size))
    peer, options, scale = PEERS[name]
    net = network("resnet18")
    with torch.no_grad():
        top = net(x).argmax(1).tolist()  # a positive score: theirs divides by it
    targets: list[Callable[[Tensor], Tensor]] = [lambda out, c=c: scale * out[c] for c in top]
    with peer(net, [net.get_submodule(site)]) as cam:
        theirs = cam(x, targets)
    net.zero_grad()
    ours = METHODS[name](net, x, scale * pl.logit(top), site=site, **options).values
    assert float(abs(as_a_picture(ours) - theirs).max()) < 1e-3


def enlarged(v: Tensor, size: tuple[int, int]) -> Tensor:
    return nn.functional.interpolate(v, size, mode="bilinear", align_corners=False)


def by_the_largest(maps: Any, size: tuple[int, int] | None = None) -> Any:
    """Their scaling of maps, less one step: it takes off each map's minimum, so that the least evidence is none."""
    scaled = [one / one.max() for one in maps]
    return np.float32([one if size is None else cv2.resize(one, size) for one in scaled])


@pytest.mark.parametrize(("name", "peer"), [("grad_cam", GradCAM), ("layer_cam", LayerCAM)])
@pytest.mark.parametrize("sites", [("layer3", "layer4"), ("layer2", "layer4.0")], ids=str)
def test_several_layers_are_fused_alike(
    name: str, peer: type[BaseCAM], sites: tuple[str, str], x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_cam, "scale_cam_image", by_the_largest)
    net = network("resnet18")
    with peer(net, [net.get_submodule(site) for site in sites]) as cam:
        theirs = cam(x, [lambda out: out[3]] * 2)
    net.zero_grad()
    found = METHODS[name](net, x, 3, site=", ".join(sites))
    ours = found.values / found.values.amax((1, 2, 3), keepdim=True)
    assert float(abs(ours[:, 0].numpy() - theirs).max()) < 1e-5
    sizes = [METHODS[name](net, x, 3, site=site).resolution for site in sites]
    assert found.facts["site"] == ", ".join(sites) and found.resolution == max(sizes)


@pytest.mark.parametrize(("name", "peer"), [("grad_cam", GradCAM), ("grad_cam_plus_plus", GradCAMPlusPlus)])
def test_products_of_several_layers_are_refine_cams(
    name: str, peer: type[BaseCAM], x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (base_cam, refine_cam):
        monkeypatch.setattr(module, "scale_cam_image", by_the_largest)
    net, sites = network("resnet18"), ("layer3", "layer4")
    targets: list[Callable[[Tensor], Tensor]] = [lambda out: 1e4 * out[3]] * 2  # theirs add 1e-6 to squared gradients
    theirs = refine_cam.RefineCAM(net, [net.get_submodule(site) for site in sites], base_method=peer)(x, targets)
    net.zero_grad()
    found = METHODS[name](net, x, 1e4 * pl.logit(3), site=" * ".join(sites)).values
    ours = found / found.amax((1, 2, 3), keepdim=True)
    assert float(abs(ours[:, 0].numpy() - theirs).max()) < 1e-3


@pytest.mark.parametrize("site", ["layer4", "layer3"])
def test_seg_eigen_cam_centered_as_theirs_is(site: str, x: Tensor) -> None:
    net = network("resnet18")
    with SegEigenCAM(net, [net.get_submodule(site)]) as cam:
        theirs = cam(x, [lambda out: out[3]] * 2)
    net.zero_grad()
    ours = METHODS["seg_eigen_cam"](net, x, 3, site=site, centered=True).values
    assert float(abs(as_a_picture(ours) - theirs).max()) < 1e-3


@pytest.mark.parametrize("site", ["layer4", "layer3"])
def test_shapley_cams_second_derivatives_are_the_same(site: str, x: Tensor) -> None:
    net = network("resnet18")
    targets: list[Callable[[Tensor], Tensor]] = [lambda out: (0.3 * out).softmax(0)[3]] * 2
    with ShapleyCAM(out_of_place("resnet18"), [out_of_place("resnet18").get_submodule(site)]) as cam:
        theirs = cam(x, targets)
    score = pl.scalar(lambda out: (0.3 * out).softmax(1)[:, 3])
    ours, plain = (METHODS[name](net, x, score, site=site).values for name in ("shapley_cam", "grad_cam"))
    assert float(abs(as_a_picture(ours) - theirs).max()) < 1e-3
    assert float(abs(as_a_picture(plain) - theirs).max()) > 1e-2, "the second derivative counts here"


@pytest.mark.parametrize("gamma", [0.001, 0.01])
def test_kernel_components_are_scikit_learns_up_to_their_sign(gamma: float, x: Tensor) -> None:
    net, seen = network("resnet18"), list[Tensor]()
    handle = net.layer3.register_forward_hook(lambda _m, _x, out: seen.append(out.detach()))
    with torch.no_grad():
        net(x)
    handle.remove()
    raw = torch.as_tensor(get_2d_projection_kernel(seen[0].numpy(), "rbf", gamma))[:, None]
    strength = seen[0].norm(dim=1, keepdim=True)
    along = (raw * (strength - strength.mean((2, 3), keepdim=True))).sum((1, 2, 3), keepdim=True)
    ours = METHODS["kpca_cam"](net, x, 3, site="layer3", gamma=gamma).values
    assert apart(ours, enlarged((raw * along.sign()).relu(), (96, 96))) < 1e-4


def tokens_by_hand(net: nn.Module, block: nn.Module, x: Tensor, prefix: int, side: int) -> Tensor:
    """Grad-CAM's formula on what a module puts out as tokens, those before the patches' left out."""
    seen: list[Tensor] = []
    block.register_forward_hook(lambda _m, _x, out: seen.append(out))
    score = net(x)[:, 3].sum()
    (slope,) = torch.autograd.grad(score, seen[0])
    value, slope = (v[:, prefix:].mT.reshape(len(x), -1, side, side) for v in (seen[0].detach(), slope))
    return (slope.mean((2, 3), keepdim=True) * value).sum(1, keepdim=True).relu()


@pytest.mark.parametrize(
    ("build", "site", "prefix", "side"),
    [
        (lambda: timm.create_model("vit_tiny_patch16_224"), "blocks.11.norm1", 1, 14),
        (lambda: timm.create_model("deit_tiny_distilled_patch16_224"), "blocks.11.norm1", 2, 14),
        (lambda: torchvision.models.vit_b_32(), "encoder.layers.encoder_layer_11.ln_1", 1, 7),
    ],
    ids=["timm vit", "timm deit, two tokens before", "torchvision vit"],
)
def test_a_transformers_tokens_are_laid_back_onto_their_grid(
    build: Callable[[], nn.Module], site: str, prefix: int, side: int
) -> None:
    """The class reads one token of the last block: the patches matter up to its attention, not at its end."""
    torch.manual_seed(0)
    net, x = build().eval(), torch.randn(1, 3, 224, 224)
    for p in net.parameters():  # torchvision starts its head with zeros
        if p.ndim > 1:
            nn.init.normal_(p, std=0.1)
    found = METHODS["grad_cam"](net, x, 3)
    assert found.facts["site"] == site and found.resolution == (side, side)
    small = tokens_by_hand(net, net.get_submodule(site), x, prefix, side)
    assert apart(found.values, enlarged(small, (224, 224))) < 1e-4
