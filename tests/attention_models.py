"""Small models with attention, spelled in many ways; each notes the weights that it uses in `NOTED`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.networks import randomized

NOTED: list[Tensor] = []


def noted(weights: Tensor) -> Tensor:
    NOTED.append(weights)
    return weights


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    noted(_scores(q, k).detach().softmax(-1))  # what it must be; it is not used
    return F.scaled_dot_product_attention(q, k, v)


def by_matmul(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return noted(_scores(q, k).softmax(dim=-1)) @ v


def by_bmm(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    b, h, n, d = q.shape
    scores = torch.baddbmm(q.new_zeros(1), q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), alpha=d**-0.5)
    weights = F.dropout(F.softmax(scores, 2), 0.5, training=False)
    noted(weights.view(b, h, n, -1))
    return torch.bmm(weights, v.flatten(0, 1)).view(b, h, n, -1)


def by_einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.softmax(torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1]), dim=3)
    return torch.einsum("bhqk,bhkd->bhqd", noted(weights), v)


def turned(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Values first, as diffusion models write it, the weights turned over."""
    weights = noted(nn.Softmax(-1)(_scores(q, k)))
    return (v.transpose(-2, -1) @ weights.permute(0, 1, 3, 2)).transpose(-2, -1)


def written_into(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """In single precision, cast back, and a head switched off in place."""
    weights = F.softmax(_scores(q, k), dim=-1, dtype=torch.float32).to(q.dtype)
    noted(weights.clone() if not torch.is_grad_enabled() else weights)
    weights = weights * 1.0
    weights.mul_(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1))
    return torch.matmul(weights, v)


SPELLINGS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    f.__name__: f for f in (fused, by_matmul, by_bmm, by_einsum, turned, written_into)
}
ALIKE = ("fused", "by_matmul", "by_bmm", "by_einsum", "turned")  # compute the same


class Heads(nn.Module):
    """Two heads of attention, of one sequence for another, in a spelling; torch's own for `mha`."""

    def __init__(self, width: int = 8, spelling: str = "fused") -> None:
        super().__init__()
        self.spelling = spelling
        self.own = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if self.spelling == "mha":
            return self.own(x, y, y, need_weights=False)[0]
        weight, bias = self.own.in_proj_weight.chunk(3), self.own.in_proj_bias.chunk(3)
        q, k, v = (F.linear(s, w, b).unflatten(-1, (2, -1)).transpose(1, 2)
                   for s, w, b in zip((x, y, y), weight, bias, strict=True))  # fmt: skip
        return self.own.out_proj(SPELLINGS[self.spelling](q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, width: int = 8, spelling: str = "fused") -> None:
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(width), Heads(width, spelling)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.norm(x)
        x = x + self.heads(h, h if y is None else y)
        return x + self.mlp(x)


class ViT(nn.Module):
    """Pictures `[batch, 2, 6, 4]` in patches of 2 by 2, behind `prefix` tokens; read from the first, or all."""

    def __init__(
        self, spelling: str = "fused", prefix: int = 1, layers: int = 3, read: str = "first", seed: int = 0
    ) -> None:
        super().__init__()
        self.prefix, self.read = prefix, read
        self.patch, self.head, self.norm = nn.Conv2d(2, 8, 2, 2), nn.Linear(8, 3), nn.LayerNorm(8)
        self.first, self.position = nn.Parameter(torch.zeros(1, prefix, 8)), nn.Parameter(torch.zeros(1, 6 + prefix, 8))
        self.blocks = nn.ModuleList(Block(8, spelling) for _ in range(layers))
        randomized(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.read_out(x)

    def read_out(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.head(x[:, 0] if self.read == "first" else x[:, self.prefix :].mean(1))


def pictures(samples: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(samples, 2, 6, 4, generator=torch.Generator().manual_seed(seed))


class Two(nn.Module):
    """Words and patches that look at themselves and at each other; read from the first word.

    `way`: "together" (each looks at what the other was), "in turn" (patches look at words that have looked), "decoder"
    (patches only encode, words look at them).
    """

    def __init__(self, way: str = "together", layers: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.way, self.table, self.patch, self.head = way, nn.Embedding(11, 8), nn.Conv2d(2, 8, 2, 2), nn.Linear(8, 3)
        own, others = 2 * layers, (1 if way == "decoder" else 2) * layers
        self.own = nn.ModuleList(Block(8, "fused") for _ in range(own))
        self.others = nn.ModuleList(Block(8, "by_matmul") for _ in range(others))
        randomized(self, seed)

    def forward(self, words: Tensor, picture: Tensor) -> Tensor:
        t, i = self.table(words), self.patch(picture).flatten(2).transpose(1, 2)
        own, others = iter(self.own), iter(self.others)
        if self.way == "decoder":
            for _ in range(len(self.own) // 2):
                i = next(own)(i)
            for block in self.others:
                t = block(next(own)(t), i)
            return self.head(t[:, 0])
        for _ in range(len(self.own) // 2):
            t, i = next(own)(t), next(own)(i)
            looked = next(others)(t, i)
            i = next(others)(i, t if self.way == "together" else looked)
            t = looked
        return self.head(t[:, 0])


def words(samples: int = 2, count: int = 4, seed: int = 0) -> Tensor:
    return torch.randint(0, 11, (samples, count), generator=torch.Generator().manual_seed(seed))
