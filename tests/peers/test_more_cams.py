"""pytorch-grad-cam's other class activation maps, where they are the published formulas: the same picture as ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import pytest
import timm
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.methods import all_methods
from tests.peers.test_grad_cam import apart, as_a_picture, network

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchvision
    from pytorch_grad_cam import AblationCAM, GradCAMPlusPlus, HiResCAM, ScoreCAM, XGradCAM
    from pytorch_grad_cam.base_cam import BaseCAM

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
