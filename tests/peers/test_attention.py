"""Attention methods on torchvision's and timm's transformers, against the weights that those use themselves."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from pellucid.core.attention.passes import attention, attention_of
from pellucid.core.errors import BadModel
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import logit
from pellucid.methods import all_methods
from tests.attention_methods import patches, relevance_of_one

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchvision.models import VisionTransformer

pytestmark = pytest.mark.filterwarnings("ignore:::torchvision", "ignore:::timm")

METHODS = {n: m for n, m in all_methods().items() if m.family == "attention"}
SMALL: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"img_size": 64, "depth": 3},
    "deit_tiny_distilled_patch16_224": {"img_size": 64, "depth": 3},
    "vit_small_patch14_reg4_dinov2": {"img_size": 56, "depth": 2},
    "vit_medium_patch16_reg4_gap_256": {"img_size": 64, "depth": 2},
    "deit3_small_patch16_224": {"img_size": 64, "depth": 2},
    "eva02_tiny_patch14_224": {"img_size": 56, "depth": 2},
}
PREFIX = {
    "deit_tiny_distilled_patch16_224": 2,
    "vit_small_patch14_reg4_dinov2": 5,
    "vit_medium_patch16_reg4_gap_256": 4,
}


def built(name: str, *, fused: bool) -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=5, **SMALL[name]).eval()
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    return model


def picture(name: str) -> Tensor:
    side = SMALL[name]["img_size"]
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def own_weights(model: nn.Module, x: Tensor, score: Callable[[Tensor], Tensor]) -> tuple[list[Any], list[Any], Tensor]:
    """What goes into the dropout behind timm's softmax, and autograd's gradient there."""
    seen: list[Tensor] = []
    drops = [m for n, m in model.named_modules() if n.endswith("attn_drop")]
    handles = [m.register_forward_pre_hook(lambda _m, args: seen.append(args[0])) for m in drops]
    out = model(x.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    grads = torch.autograd.grad(score(out).sum(), seen)
    return [a.detach().numpy() for a in seen], [g.numpy() for g in grads], out.detach()


def close(found: Any, true: Any, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(found, true, rtol=0, atol=tolerance * float(abs(np.asarray(true)).max()))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_timms_transformers(name: str, fused: bool) -> None:
    x = picture(name)
    weights, grads, _ = own_weights(built(name, fused=False), x, lambda y: y[:, 1])
    model, n = built(name, fused=fused), weights[0].shape[-1]
    prefix = PREFIX.get(name, 1)
    averages = name in ("vit_medium_patch16_reg4_gap_256", "eva02_tiny_patch14_224")
    read = list(range(prefix, n)) if averages else [0, 1] if prefix == 2 else [0]
    net, product = Network(model), np.eye(n)
    for a in weights:
        product = (0.5 * a.mean(1) + 0.5 * np.eye(n)) @ product
    expected = {
        "raw_attention": weights[-1].mean(1)[:, read],
        "attention_rollout": product[:, read],
        "attention_relevance": (relevance_of_one(weights, grads) - np.eye(n))[:, read],
    }
    grid = (4, 4)
    for method, rows_ in expected.items():
        found = METHODS[method](net, x, 1)
        assert found.resolution == grid and found.facts["tokens before the patches"] == prefix
        close(patches(found.values, grid), rows_.mean(1)[:, prefix:])
    slopes = np.mean([np.maximum(g, 0).mean((1, 2)) for g in grads], 0)[:, prefix:]
    close(patches(METHODS["le_grad"](net, x, 1, readout="score").values, grid), slopes)


def test_le_grad_by_hand_on_timm() -> None:
    name = "vit_tiny_patch16_224"
    model, x = built(name, fused=False), picture(name)
    outputs: list[Tensor] = []
    weights: list[Tensor] = []
    for block in model.blocks:
        block.register_forward_hook(lambda _m, _x, out: outputs.append(out))
        block.attn.attn_drop.register_forward_pre_hook(lambda _m, args: weights.append(args[0]))
    model(x.clone().requires_grad_())
    slopes = []
    for z, a in zip(outputs, weights, strict=True):
        score = model.forward_head(model.norm(z))[:, 1].sum()
        slopes.append(torch.autograd.grad(score, a, retain_graph=True)[0].clamp(min=0).mean((1, 2))[:, 1:])
    found = METHODS["le_grad"](built(name, fused=True), x, 1)
    close(patches(found.values, (4, 4)), torch.stack(slopes).mean(0))


def test_torchvisions_transformer_whose_attention_is_torchs_own() -> None:
    torch.manual_seed(0)
    model = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)  # it begins at zero
    x, inputs = torch.randn(2, 3, 32, 32), list[Tensor]()
    layers = list(model.encoder.layers)
    handles = [m.self_attention.register_forward_pre_hook(lambda _m, args: inputs.append(args[0])) for m in layers]
    plain = model(x).detach()
    for handle in handles:
        handle.remove()
    expected = [
        m.self_attention(h, h, h, average_attn_weights=False)[1].detach() for m, h in zip(layers, inputs, strict=True)
    ]
    found = attention(
        Score(Network(model), logit(1)), {"x": x}, lambda a: {str(i): v.weights for i, v in enumerate(a)}, since=0
    )
    for i, true in enumerate(expected):
        close(found[str(i)], true)
    assert METHODS["attention_relevance"](model, x, 1).resolution == (4, 4)
    assert METHODS["le_grad"](model, x, 1).facts["read from"] == [f"encoder.layers.encoder_layer_{i}" for i in range(2)]
    torch.testing.assert_close(model(x), plain)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("swin_tiny_patch4_window7_224", "within 64 windows"),
        ("xcit_nano_12_p16_224", "no tokens"),
        ("pvt_v2_b0", "something else than attention"),
        ("convit_tiny", "something else than attention"),
        ("poolformer_s12", "no attention that can be seen"),
    ],
)
def test_what_cannot_be_followed_is_refused(name: str, says: str) -> None:
    model = timm.create_model(name, pretrained=False, num_classes=5).eval()
    with pytest.raises(BadModel, match=says):
        METHODS["attention_relevance"](model, torch.randn(1, 3, 224, 224), 1)


@pytest.mark.parametrize(
    ("name", "count"),
    [("swin_tiny_patch4_window7_224", 12), ("maxvit_tiny_rw_224", 22), ("mobilevit_xxs", 9), ("cait_xxs24_224", 26),
     ("beit_base_patch16_224", 12), ("vit_base_patch16_siglip_224", 13)],
)  # fmt: skip
def test_every_attention_of_many_architectures_is_seen(name: str, count: int) -> None:
    model = timm.create_model(name, pretrained=False, num_classes=5).eval()
    side = model.default_cfg["input_size"][1]
    assert len(attention_of(Score(Network(model), logit(1)), {"x": torch.randn(1, 3, side, side)})) == count
