"""Small random networks, each spelled in many ways, for holding methods to their promises.

`Net(style, activation, block, seed)` computes the same function for every `style`: activations as distinct modules,
as functions, in place, as one reused module, or by an arithmetic spelling that means the same.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

STYLES = ("module", "functional", "in place", "reused", "arithmetic")
BLOCKS = ("plain", "residual", "pool", "gate", "attention")
MODULES: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "gelu": lambda inplace=False: nn.GELU(),
    "hardswish": nn.Hardswish,
}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "relu6": F.relu6, "silu": F.silu, "gelu": F.gelu, "hardswish": F.hardswish,
}  # fmt: skip
# The same operations, as people write them who do not look for a function of that name.
ARITHMETIC: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "relu": (lambda x: x.clamp(min=0), torch.relu_, lambda x: torch.clamp_min(x, 0), lambda x: x.relu()),
    "relu6": (
        lambda x: F.hardtanh(x, 0, 6),
        lambda x: x.clamp(0, 6),
        lambda x: F.hardtanh_(x, 0, 6),
        lambda x: x.clamp_(0, 6),
    ),
    "silu": (lambda x: F.silu(x, inplace=True),) * 4,
    "gelu": (lambda x: F.gelu(input=x, approximate="none"),) * 4,
    "hardswish": (lambda x: F.hardswish(x, True),) * 4,
}
ACTIVATIONS = tuple(MODULES)
SMOOTH = ("silu", "gelu")  # without a kink, so that finite differences and quadratures converge


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomized(net: nn.Module, seed: int, scale: float = 0.5) -> nn.Module:
    """The network in evaluation mode with weights drawn from `seed`, and lived-in batch normalization."""
    generator = seeded(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * scale)
        for name, b in net.named_buffers():
            if name.endswith("running_var"):
                b.copy_(torch.rand(b.shape, generator=generator) + 0.5)
            elif name.endswith("running_mean"):
                b.copy_(torch.randn(b.shape, generator=generator) * 0.2)
    return net.eval()


class Net(nn.Module):
    """Two convolutions, three activations and a block of interest; `[batch, 2, 6, 5]` to three classes."""

    def __init__(self, style: str = "module", activation: str = "relu", block: str = "plain", seed: int = 0) -> None:
        super().__init__()
        width = 4
        self.block = block
        self.conv1, self.conv2 = nn.Conv2d(2, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(width), nn.Linear(width, 3)
        if block == "gate":
            self.squeeze, self.excite = nn.Linear(width, 3), nn.Linear(3, width)
        if block == "attention":
            self.mix = nn.Linear(width, 3 * width)
        if style in ("module", "in place"):
            make = MODULES[activation]
            self.act1, self.act2, self.act3 = (make(inplace=style == "in place") for _ in range(3))
        elif style == "reused":
            self.act1 = self.act2 = self.act3 = MODULES[activation]()
        else:
            spelled = ARITHMETIC[activation] if style == "arithmetic" else (FUNCTIONS[activation],) * 4
            self.act1, self.act2, self.act3 = spelled[seed % 2 :][:3]
        randomized(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        a = self.act1(self.norm(self.conv1(x)))
        b = self.conv2(a)
        if self.block == "residual":
            b = self.act2(b + a)
        elif self.block == "gate":
            weights = torch.sigmoid(self.excite(self.act3(self.squeeze(b.mean((2, 3))))))
            b = self.act2(b * weights[:, :, None, None])
        elif self.block == "attention":
            q, k, v = self.mix(b.flatten(2).transpose(1, 2)).chunk(3, dim=-1)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            b = self.act2(b + mixed.reshape(b.shape))
        else:
            b = self.act2(b)
        if self.block == "pool":
            b = F.max_pool2d(b, 2)
        return self.head(b.mean((2, 3)))


class Chain(nn.Module):
    """Linear layers with ReLU between them; `weights` is what the references in matrix form take."""

    def __init__(self, *sizes: int, seed: int = 0, activation: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activation = activation
        randomized(self, seed, 0.7)

    @property
    def weights(self) -> list[tuple[Tensor, Tensor]]:
        return [(layer.weight.detach(), layer.bias.detach()) for layer in self.layers]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def picture(seed: int, batch: int = 2, **kind: Any) -> Tensor:
    """Random input for `Net`."""
    return torch.randn(batch, 2, 6, 5, generator=seeded(seed), **kind)


seeds = st.integers(0, 2**20)
styles, activations, blocks = st.sampled_from(STYLES), st.sampled_from(ACTIVATIONS), st.sampled_from(BLOCKS)
nets = st.builds(Net, styles, activations, blocks, seeds)
pictures = st.builds(picture, seeds, st.integers(2, 3))
