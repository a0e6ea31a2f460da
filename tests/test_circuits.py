"""Expanded weights against convolutions composed by hand, impulses through the straightened network, and Jacobians."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.dream.circuits import expanded_weights
from tests.traces import of_model, of_process


def drawn(*modules: nn.Module) -> nn.Sequential:
    generator = torch.Generator().manual_seed(1)
    net = nn.Sequential(*modules).eval()
    for t in (*net.parameters(), *net.buffers()):
        if t.is_floating_point():
            t.data.copy_(torch.rand(t.shape, generator=generator) + 0.1 - (t.ndim > 1) * 0.6)
    return net


def dense(conv: nn.Conv2d) -> Tensor:
    """A grouped convolution's weights as those of an ungrouped one."""
    out = torch.zeros(conv.out_channels, conv.in_channels, *conv.kernel_size)
    for o in range(conv.out_channels):
        per = conv.in_channels // conv.groups
        first = o // (conv.out_channels // conv.groups) * per
        out[o, first : first + per] = conv.weight[o].detach()
    return out


def composed(*layers: nn.Module) -> Tensor:
    """The kernel of convolutions and batch normalizations one after another, multiplied out."""
    kernel, step = None, 1
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            assert kernel is not None and layer.running_var is not None
            scale = layer.weight.detach() / (layer.running_var + layer.eps).sqrt()
            kernel = kernel * scale[:, None, None, None]
        elif isinstance(layer, nn.Conv2d):
            weight = dense(layer)
            kernel = weight if kernel is None else F.conv_transpose2d(weight, kernel, stride=step)
            step *= layer.stride[0]
    assert kernel is not None
    return kernel


CHAINS = {
    "two convolutions": (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)),
    "strides and padding": (nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU6(), nn.Conv2d(4, 5, 5, 2, 2)),
    "batch normalization": (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)),
    "depthwise": (nn.Conv2d(3, 6, 1), nn.Hardswish(), nn.Conv2d(6, 6, 3, groups=6, padding=1), nn.Conv2d(6, 2, 1)),
    "in place": (nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, groups=2)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_kernels_are_the_convolutions_multiplied_out(name: str) -> None:
    net = drawn(*CHAINS[name])
    before = of_model(net), of_process()
    found = expanded_weights(net, "0:input", str(len(net) - 1), torch.zeros(1, 3, 32, 32))
    expected = composed(*net)
    torch.testing.assert_close(found.kernel, expected, rtol=1e-4, atol=1e-5)
    assert found.without_rule == () and not found.cut
    assert (of_model(net), of_process()) == before


def test_an_impulse_through_the_straightened_network_is_the_kernel() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(2, 3, 3, stride=2, padding=1)
            self.body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1))
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.stem(x)
            return self.act(self.body(y) + y)

    net = Residual().eval()
    straight = copy.deepcopy(net)
    straight.body[1], straight.act = nn.Identity(), nn.Identity()
    x = torch.zeros(1, 2, 24, 24)
    found = expanded_weights(net, ":input", "act", x, channels=[2, 0])
    assert found.channels == (2, 0)
    (h, w), (sy, sx), (oy, ox) = found.kernel.shape[2:], found.stride, found.offset
    with torch.no_grad():
        rest = straight(x)
        for i in range(2):
            for r, c in ((0, 0), (h // 2, w // 2), (h - 1, 1)):
                at = x.clone()
                at[0, i, 6 * sy + oy + r, 6 * sx + ox + c] = 1.0
                rise = (straight(at) - rest)[0, [2, 0], 6, 6]
                torch.testing.assert_close(found.kernel[:, i, r, c], rise, rtol=1e-4, atol=1e-5)


def test_slopes_on_data_are_the_mean_of_the_jacobians() -> None:
    net = drawn(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))  # 5 pixels: one place is left
    x = torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(2))
    found = expanded_weights(net, "0:input", "2", data=x, through="data")
    jacobians = [torch.autograd.functional.jacobian(net, v[None])[0, :, 0, 0, 0] for v in x]
    torch.testing.assert_close(found.kernel, torch.stack(jacobians).mean(0), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found.kernel, composed(*net), atol=1e-3)  # some rectifiers were shut


def test_linear_layers_and_pooling_have_kernels_over_the_whole_map() -> None:
    net = drawn(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    found = expanded_weights(net, "0", "3", torch.zeros(1, 3, 6, 6))
    assert isinstance(net[3], nn.Linear)
    expected = (net[3].weight.detach() / 36)[:, :, None, None].expand(5, 4, 6, 6)
    torch.testing.assert_close(found.kernel, expected)
    assert found.stride == (0, 0)


def test_what_is_neither_linear_nor_straight_is_said() -> None:
    net = drawn(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1))
    assert expanded_weights(net, "0:input", "2", torch.rand(1, 3, 12, 12)).without_rule == ("max_pool",)


def test_what_cannot_be_expanded_is_refused() -> None:
    net = drawn(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    x = torch.zeros(1, 3, 12, 12)
    for given, words in (
        ({"source": "2", "target": "0", "x": x}, "does not depend"),
        ({"source": "0", "target": "nowhere", "x": x}, "no module"),
        ({"source": "0", "target": "2"}, "how large"),
        ({"source": "0", "target": "2", "x": x, "channels": [5]}, "Channel 5"),
        ({"source": "0", "target": "2", "x": x, "through": "data"}, "need samples"),
        ({"source": "0", "target": "2", "data": [x[0], x[0, :, 1:]], "through": "data"}, "several sizes"),
    ):
        with pytest.raises(pl.BadInput, match=words):
            expanded_weights(net, **given)
