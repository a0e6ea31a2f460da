"""ONNX Runtime's operators against torch's modules, formulas, and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.errors import BadModel
from tests.onnx_single import answer, answers, imported, numbers, single

MS = "com.microsoft"
BATCH, LENGTH, WIDE, HEADS = 2, 5, 8, 2


def given(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(numbers(seed, *shape))


ACTIVATIONS: dict[str, tuple[list[float], Any]] = {
    "Relu": ([], F.relu), "Tanh": ([], torch.tanh), "Sigmoid": ([], torch.sigmoid),
    "LeakyRelu": ([0.2], lambda v: F.leaky_relu(v, 0.2)), "Clip": ([-0.5, 0.7], lambda v: v.clamp(-0.5, 0.7)),
    "HardSigmoid": ([0.3, 0.4], lambda v: (0.3 * v + 0.4).clamp(0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_fused_layers_end_in_their_activation(name: str):
    params, function = ACTIVATIONS[name]
    x, w, b, z = numbers(1, 1, 2, 6, 6), numbers(2, 3, 2, 3, 3), numbers(3, 3), numbers(4, 1, 3, 4, 4)
    options: dict[str, Any] = {"activation_params": params} if params else {}
    found = answer("FusedConv", x, w, b, z, domain=MS, activation=name, **options)
    wanted = function(F.conv2d(*map(torch.from_numpy, (x, w, b))) + torch.from_numpy(z))
    torch.testing.assert_close(found, wanted)
    last = answer("NhwcFusedConv", np.moveaxis(x, 1, -1).copy(), w, b, domain=MS, activation=name, **options)
    torch.testing.assert_close(last.movedim(-1, 1), function(F.conv2d(*map(torch.from_numpy, (x, w, b)))))


def test_an_activation_that_is_not_known_is_named():
    with pytest.raises(BadModel, match="Swirl"):
        answer("FusedConv", numbers(1, 1, 2, 6, 6), numbers(2, 3, 2, 3, 3), domain=MS, activation="Swirl")


def test_products_of_transposed_sides():
    a, b = numbers(1, 2, 4, 3), numbers(2, 2, 5, 4)
    found = answer("FusedMatMul", a, b, domain=MS, transA=1, transB=1, alpha=0.5)
    torch.testing.assert_close(found, 0.5 * torch.from_numpy(a).mT @ torch.from_numpy(b).mT)


def test_normalizations_of_sums():
    x, skip, scale, shift, bias = (numbers(i, *s) for i, s in enumerate([(2, 3, 4), (2, 3, 4), (4,), (4,), (4,)]))
    out, mean, inverse, total = answers(
        "SkipLayerNormalization", x, skip, scale, shift, bias, outputs=4, domain=MS, epsilon=1e-5
    )
    wanted = torch.from_numpy(x + skip + bias)
    torch.testing.assert_close(total, wanted)
    torch.testing.assert_close(out, F.layer_norm(wanted, [4], torch.from_numpy(scale), torch.from_numpy(shift), 1e-5))
    torch.testing.assert_close(mean, wanted.mean(-1, keepdim=True))
    torch.testing.assert_close(inverse, (wanted.var(-1, keepdim=True, correction=0) + 1e-5).rsqrt())
    found = answers("SkipSimplifiedLayerNormalization", x, skip, scale, bias, outputs=4, domain=MS, epsilon=1e-5)[0]
    torch.testing.assert_close(
        found, wanted * (wanted.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * torch.from_numpy(scale)
    )


def test_groups_are_normalized_with_channels_last():
    x, scale, bias = numbers(1, 2, 4, 4, 6), numbers(2, 6), numbers(3, 6)
    found = answer("GroupNorm", x, scale, bias, domain=MS, groups=3, activation=1)
    inner = torch.from_numpy(x).movedim(-1, 1)
    wanted = F.silu(F.group_norm(inner, 3, torch.from_numpy(scale), torch.from_numpy(bias)))
    torch.testing.assert_close(found, wanted.movedim(1, -1))


def test_gelu_in_its_forms():
    x, bias = numbers(1, 2, 3, 8), numbers(2, 8)
    total = torch.from_numpy(x + bias)
    torch.testing.assert_close(answer("BiasGelu", x, bias, domain=MS), F.gelu(total))
    torch.testing.assert_close(answer("FastGelu", x, bias, domain=MS), F.gelu(total, approximate="tanh"))
    torch.testing.assert_close(
        answer("QuickGelu", x, domain=MS), given(1, 2, 3, 8) * (1.702 * given(1, 2, 3, 8)).sigmoid()
    )
    torch.testing.assert_close(answer("BiasSplitGelu", x, bias, domain=MS), total[..., :4] * F.gelu(total[..., 4:]))


def test_attention_is_torchs_module():
    layer, x = nn.MultiheadAttention(WIDE, HEADS, batch_first=True).eval(), given(1, BATCH, LENGTH, WIDE)
    nn.init.normal_(layer.in_proj_bias)
    layer.out_proj.weight.data, layer.out_proj.bias.data = torch.eye(WIDE), torch.zeros(WIDE)
    hidden = torch.arange(LENGTH) >= torch.tensor([[3], [5]])
    with torch.no_grad():
        wanted = layer(x, x, x, key_padding_mask=hidden, need_weights=False)[0]
    weight, bias = layer.in_proj_weight.detach().t().numpy().copy(), layer.in_proj_bias.detach().numpy()
    for mask in (np.array([3, 5], np.int32), (~hidden).to(torch.int32).numpy()):
        found = answer("Attention", x.numpy(), weight, bias, mask, domain=MS, num_heads=HEADS)
        torch.testing.assert_close(found, wanted)
    parts = [part.numpy() for part in (x @ torch.from_numpy(weight)).split(WIDE, -1)]
    mask = (~hidden).to(torch.int32).numpy()
    found = answer("MultiHeadAttention", *parts, bias, mask, domain=MS, num_heads=HEADS)
    torch.testing.assert_close(found, wanted)
    packed = np.stack([p.reshape(BATCH, LENGTH, HEADS, -1) for p in parts], 3)
    found = answer("MultiHeadAttention", packed, None, None, None, mask, domain=MS, num_heads=HEADS)
    bare = answer("MultiHeadAttention", *parts, None, mask, domain=MS, num_heads=HEADS)
    torch.testing.assert_close(found, bare)


@pytest.mark.parametrize("window", [-1, 3])
def test_a_word_after_the_other_is_all_at_once(window: int):
    size, few = 16, 1
    q, k, v = (given(i, BATCH, LENGTH, n * size) for i, n in enumerate((HEADS, few, few)))
    cos, sin = torch.cos(given(4, 9, size // 2)).numpy(), torch.sin(given(4, 9, size // 2)).numpy()
    options: dict[str, Any] = {
        "outputs": 3, "domain": MS, "num_heads": HEADS, "kv_num_heads": few, "do_rotary": 1,
        "local_window_size": window,
    }  # fmt: skip

    def run(start: int, stop: int, keys: Any, values: Any) -> list[Tensor]:
        parts = [x[:, start:stop].numpy() for x in (q, k, v)]
        last = np.full(BATCH, stop - 1, np.int32)
        return answers(
            "GroupQueryAttention", *parts, keys, values, last, np.array([stop], np.int32), cos, sin, **options
        )

    whole, keys, values = run(0, LENGTH, None, None)
    part, some_keys, some_values = run(0, 3, None, None)
    found = [part]
    for i in range(3, LENGTH):
        part, some_keys, some_values = run(i, i + 1, some_keys.numpy(), some_values.numpy())
        found.append(part)
    torch.testing.assert_close(torch.cat(found, 1), whole)
    torch.testing.assert_close(some_keys, keys)
    torch.testing.assert_close(some_values, values)


def test_grouped_attention_is_scaled_dot_products():
    size, few = 16, 1
    q, k, v = (numbers(i, BATCH, LENGTH, n * size) for i, n in enumerate((HEADS, few, few)))
    last, total = np.full(BATCH, LENGTH - 1, np.int32), np.array([LENGTH], np.int32)
    options: dict[str, Any] = {"outputs": 3, "domain": MS, "num_heads": HEADS, "kv_num_heads": few}
    found = answers("GroupQueryAttention", q, k, v, None, None, last, total, **options)[0]
    a, b, c = (torch.from_numpy(x).unflatten(-1, (-1, size)).transpose(1, 2) for x in (q, k, v))
    wanted = F.scaled_dot_product_attention(a, b.expand_as(a), c.expand_as(a), is_causal=True)
    torch.testing.assert_close(found, wanted.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("interleaved", [0, 1])
def test_turning_keeps_lengths_and_depends_on_distances_alone(interleaved: int):
    angle = torch.arange(20.0)[:, None] * torch.tensor([1.0, 0.1, 0.01, 0.001])
    x = numbers(1, 1, 1, 2, 8).repeat(2, 0)
    x = np.broadcast_to(x[:1], (1, 1, 2, 8)).copy()
    tables = (angle.cos().numpy(), angle.sin().numpy())

    def product(p: int, q: int) -> Tensor:
        turned = answer("RotaryEmbedding", x, np.array([[p, q]]), *tables, domain=MS, interleaved=interleaved)
        torch.testing.assert_close(turned.norm(dim=-1), torch.from_numpy(x).norm(dim=-1))
        return (turned[0, 0, 0] * turned[0, 0, 1]).sum()

    torch.testing.assert_close(product(3, 5), product(11, 13))
    assert not torch.allclose(product(3, 5), product(3, 12))


@pytest.mark.parametrize("op", ["FusedGemm", "SkipLayerNormalization", "Attention"])
def test_gradients_are_finite_differences(op: str):
    shapes: dict[str, tuple[list[tuple[int, ...]], dict[str, Any]]] = {
        "FusedGemm": ([(2, 3), (3, 4), (4,)], {"activation": "Tanh"}),
        "SkipLayerNormalization": ([(1, 2, 4), (1, 2, 4), (4,), (4,)], {}),
        "Attention": ([(1, 3, 4), (4, 12), (12,)], {"num_heads": 2, "unidirectional": 1}),
    }
    sizes, options = shapes[op]
    model, fed = single(op, *(numbers(i, *s).astype(float) for i, s in enumerate(sizes)), domain=MS, **options)
    rest = {k: torch.from_numpy(v) for k, v in fed.items() if k != "x0"}
    x = torch.from_numpy(fed["x0"]).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: imported(model)(x0=v, **rest), (x,))


def test_small_ones():
    x = np.array([3, 1, 3, 2, 1], np.float32)
    values, which, counts = answers("Unique", x, outputs=3, domain=MS)
    assert (values.tolist(), which.tolist(), counts.tolist()) == ([3, 1, 2], [0, 1, 0, 2, 1], [2, 2, 1])
    assert answer("ExpandDims", x, np.array([1], np.int32), domain=MS).shape == (5, 1)
    matrix = numbers(1, 3, 3)
    torch.testing.assert_close(answer("Inverse", matrix, domain=MS), torch.from_numpy(np.linalg.inv(matrix)))
    a, b = numbers(2, 3, 4), numbers(3, 5, 4)
    torch.testing.assert_close(
        answer("CDist", a, b, domain=MS), torch.cdist(torch.from_numpy(a), torch.from_numpy(b)) ** 2
    )
    pairs = answer("ComplexMul", numbers(4, 3, 2), numbers(5, 3, 2), domain=MS)
    wanted = torch.view_as_complex(given(4, 3, 2)) * torch.view_as_complex(given(5, 3, 2))
    torch.testing.assert_close(torch.view_as_complex(pairs), wanted)


def test_operators_that_the_standard_dropped():
    x = numbers(1, 2, 3, 4, 5)
    t = torch.from_numpy(x)
    torch.testing.assert_close(answer("Affine", x, version=6, alpha=2.0, beta=0.5), 2 * t + 0.5)
    torch.testing.assert_close(answer("ScaledTanh", x, version=6, alpha=2.0, beta=0.5), 2 * torch.tanh(t / 2))
    wanted = 2 * torch.log1p(torch.exp(t / 2))
    torch.testing.assert_close(answer("ParametricSoftplus", x, version=6, alpha=2.0, beta=0.5), wanted)
    scaled = answer("ImageScaler", x, version=6, scale=2.0, bias=[1.0, 2.0, 3.0])
    torch.testing.assert_close(scaled, 2 * t + torch.tensor([1.0, 2, 3]).reshape(3, 1, 1))
    torch.testing.assert_close(answer("Crop", x, version=6, border=[1, 2, 1, 0]), t[:, :, 2:, 1:-1])


def test_softmax_with_a_bias():
    x, bias = given(1, 2, 4, 3, 5), given(2, 2, 1, 1, 5)
    found = answer("BiasSoftmax", x.numpy(), bias.numpy(), domain=MS, axis=3, is_inner_broadcast=1)
    torch.testing.assert_close(found, torch.softmax(x + bias, -1))
    outer = given(3, 1, 4, 3, 5)
    found = answer("BiasSoftmax", x.numpy(), outer.numpy(), domain=MS, axis=2, is_inner_broadcast=0)
    torch.testing.assert_close(found, torch.softmax((x + outer).flatten(2), -1).reshape(x.shape))


def test_nothing_is_dropped_behind_a_bias():
    x, bias, around = given(1, 2, 4), given(2, 4), given(3, 2, 4)
    found = answer("BiasDropout", x.numpy(), bias.numpy(), around.numpy(), domain=MS)
    torch.testing.assert_close(found, x + bias + around)


def levels(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of 7 bits, with their scale and zero point for each direction: in all of these numbers sums are exact."""
    scale = x.flatten(1).abs().amax(1) / 63
    whole = torch.round(x / scale.reshape(-1, *[1] * (x.dim() - 1)))
    return whole.to(torch.int8), scale, torch.zeros(len(x), dtype=torch.int8)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_a_layer_of_levels_is_nearly_the_layer_of_its_numbers(direction: str):
    """What meets the weights is rounded to 255 levels: the difference is a few of these, with wrong gates far more."""
    ways, steps, width = 1 + (direction == "bidirectional"), 6, 8
    x, b = given(1, steps, BATCH, 4), given(2, ways, 8 * width)
    (w, w_scale, zero), (u, u_scale, _) = levels(given(3, ways, 4, 4 * width)), levels(given(4, ways, width, 4 * width))
    inputs = [v.numpy() for v in (x, w, u, b)] + [None] * 4 + [v.numpy() for v in (w_scale, zero, u_scale, zero)]
    out, h, c = answers("DynamicQuantizeLSTM", *inputs, outputs=3, domain=MS, hidden_size=width, direction=direction)
    spread = [(v * s.reshape(-1, 1, 1)).mT.contiguous().numpy() for v, s in ((w, w_scale), (u, u_scale))]
    wanted = answers("LSTM", x.numpy(), *spread, b.numpy(), outputs=3, hidden_size=width, direction=direction)
    for ours, theirs in zip((out, h, c), wanted, strict=True):
        assert ours.shape == theirs.shape and (ours - theirs).abs().max() < 0.03 < theirs.abs().max()


def test_quantized_embeddings_are_those_of_their_numbers():
    words = np.array([[1, 2, 0], [3, 3, 1]], np.int32)
    tables = [np.random.default_rng(i).integers(0, 255, (4, WIDE)).astype(np.uint8) for i in range(3)]
    scale, bias = (np.random.default_rng(i).integers(0, 255, WIDE).astype(np.uint8) for i in (4, 5))
    steps, zeros = [np.float32(0.01 * (i + 1)) for i in range(5)], [np.uint8(100 + i) for i in range(5)]
    everything = [*tables, scale, bias]
    found, _ = answers(
        "QEmbedLayerNormalization", words, words % 2, *everything, None, *steps, *zeros, outputs=2, domain=MS
    )
    real = [(v.astype(np.float32) - z) * s for v, s, z in zip(everything, steps, zeros, strict=True)]
    wanted, _ = answers("EmbedLayerNormalization", words, words % 2, *real, outputs=2, domain=MS)
    torch.testing.assert_close(found, wanted)
