"""Networks of which no heat map can be told right or wrong by masking: the card has to say that it can't tell."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn import functional

import pellucid as pl
from benchmarks.trust.rig import SIDE, backgrounds, generator, prepared
from pellucid.checks.faithfulness import score_map
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.probes.masks import landscapes
from pellucid.trials.probed import probe_set

CELLS = 4


class Parity(nn.Module):
    """The product of the signs of 16 cells: every part counts only together with all others."""

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 2]`: even, odd."""
        cells = functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), CELLS).flatten(1)
        z = 4 * cells.sign().prod(1, keepdim=True)
        return torch.cat([z, -z], 1)


class Saturated(nn.Module):
    """A single score that is 1 to the last digit, whatever is painted over."""

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 1]`."""
        return torch.sigmoid(1000 + x.mean((1, 2, 3)))[:, None]


class Indifferent(nn.Module):
    """Two classes, of which neither depends on the picture."""

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 2]`."""
        return 0 * x.mean((1, 2, 3))[:, None] + torch.tensor([2.0, 0.0])


class Brittle(nn.Module):
    """Knows one picture to the pixel, and forgets its class when more than a fiftieth of it is another."""

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.known = known

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 2]`: it is the picture, it is not."""
        other = (x != self.known).any(1).flatten(1).float().mean(1)
        z = torch.where(other > 0.02, -6.0, 6.0)
        return torch.stack([z, -z], 1)


def checkered(count: int) -> Tensor:
    """Pictures of 16 cells, each clearly bright or dark."""
    g = generator("checkered")
    signs = torch.randint(2, (count, 1, CELLS, CELLS), generator=g) * 2.0 - 1
    x = functional.interpolate(signs, scale_factor=SIDE // CELLS).expand(-1, 3, -1, -1)
    return x + 0.3 * torch.randn(x.shape, generator=g)


def told(pictures: int, count: int = 128) -> dict[str, Counter[str]]:
    """What is said of five maps of each picture, by network: their methods' own, random ones, guesses."""
    photos = prepared(backgrounds(pictures, "test"))
    out: dict[str, Counter[str]] = {}
    for name, make, x in (
        ("parity of 16 cells", lambda _: Parity(), checkered(pictures)),
        ("saturated score", lambda _: Saturated(), photos),
        ("answer does not depend on the picture", lambda _: Indifferent(), photos),
        ("any change destroys the answer", Brittle, photos),
    ):
        words = out.setdefault(name, Counter())
        for i in range(pictures):
            one = x[i : i + 1]
            net = Network(make(one).eval())
            with torch.no_grad():
                label = int(net.model(one).argmax())
            (probes,) = probe_set(Score(net, pl.logit(label)), {net.inputs[0]: one}, count)
            own = pl.methods.occlusion(net, one, label, window=8, stride=8).values[0, 0]
            fields = landscapes(2, (SIDE, SIDE), generator("unfair", i))
            words.update(score_map(m, probes).word for m in (own, *fields, *(guess for _, guess in probes.guesses)))
    return out
