"""Networks, sites and data of every layout, and what brute force finds in them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.dream.patches import Patches
from tests.networks import randomized, seeded


class Attention(nn.Module):
    """Patches of a picture as tokens behind a class token, one layer of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.mix = nn.Conv2d(1, 8, 4, 4), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.first, self.head = nn.Parameter(torch.zeros(1, 1, 8)), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        return self.head(self.mix(torch.cat((self.first.expand(len(x), -1, -1), tokens), 1))[:, 0])


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.Conv2d(2, 5, 3, 2), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.above(self.below(x).permute(0, 2, 3, 1)))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.below, self.mix = nn.Linear(5, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.below(x))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


# name -> (network, site, data, the axis of the channels)
KINDS: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...], int]] = {
    "map": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU6(), nn.Conv2d(4, 6, 3, 2)), "2",
            (23, 2, 11, 9), 1),
    "rectified map": (lambda: nn.Sequential(nn.Conv2d(2, 6, 5), nn.ReLU()), "1", (23, 2, 9, 8), 1),
    "series": (lambda: nn.Sequential(nn.Conv1d(3, 6, 5, 2), nn.ReLU(), nn.Conv1d(6, 4, 3)), "2", (23, 3, 40), 1),
    "volume": (lambda: nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU()), "1", (9, 1, 6, 7, 5), 1),
    "units": (lambda: nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 5)), "2", (23, 7), 1),
    "tokens": (Tokens, "mix", (23, 6, 5), 2),
    "patches as tokens": (Attention, "mix", (23, 1, 12, 8), 2),
    "channels last": (ChannelsLast, "above", (23, 2, 9, 9), 3),
}  # fmt: skip


def scene(kind: str) -> tuple[Network, str, Tensor, Tensor]:
    """A network, a site, data, and all activations there as `[samples, channels, places]`."""
    make, site, shape, axis = KINDS[kind]
    net, x = Network(randomized(make(), 3)), random(*shape)
    seen: list[Tensor] = []
    hook = net.model.get_submodule(site).register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    with torch.no_grad():
        net.model(x)
    hook.remove()
    a = seen[0].movedim(axis, 1)
    return net, site, x, a.reshape(*a.shape[:2], -1)


def best(a: Tensor, count: int, per_sample: int, largest: bool) -> list[list[tuple[int, int]]]:
    """The definition: rank every place of every sample, and take the first that no sample has too many of."""
    found = []
    for channel in range(a.shape[1]):
        sign = -1 if largest else 1
        ranked = sorted(
            (sign * float(a[s, channel, p]), s, p) for s in range(len(a)) for p in range(a.shape[2])
        )  # of equal ones the earliest
        own: list[tuple[int, int]] = []
        for _, s, p in ranked:
            if sum(s == t for t, _ in own) < per_sample and len(own) < count:
                own.append((s, p))
        found.append(own)
    return found


def places(found: Patches, side: str, sizes: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    def flat(position: tuple[int, ...]) -> int:
        number = 0
        for at, n in zip(position, sizes, strict=True):
            number = number * n + at
        return number

    return [[(p.sample, flat(p.position)) for p in ranks] for ranks in getattr(found, side)]


SIZES = {"map": (5, 4), "rectified map": (5, 4), "series": (16,), "volume": (4, 5, 3), "units": (), "tokens": (6,),
         "patches as tokens": (7,), "channels last": (4, 4)}  # fmt: skip


DEEP = {
    "pooled": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, dilation=2), nn.ReLU()
    ),
    "strided": lambda: nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 4, 3, 2)),
    "series": lambda: nn.Sequential(nn.Conv1d(2, 4, 5, 2, 2), nn.ReLU(), nn.AvgPool1d(2), nn.Conv1d(4, 4, 3)),
}
