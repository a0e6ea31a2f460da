"""What is dreamed of, what is looked at beside it, and where pictures are kept between parts."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

import pellucid as pl
from pellucid.core.errors import Missing
from pellucid.core.network import Network
from pellucid.core.target import Target
from pellucid.doors.pictures.folder import pictures

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PELLUCID_DATA", ROOT.parent / "shared" / "data"))
PHOTOGRAPHS = DATA / "photos"  # one of each ImageNet class
KEPT = ROOT / "build" / "dreams"
CLASSES = (340, 96, 949, 852, 486, 130, 417, 937)
NATURAL = 200  # photographs that a dream is held against
CHANNELS = {  # at four depths: sites before the rectifier, so that a unit that is off still has a gradient
    "blocks.3.1.depthwise.norm": (161, 238, 177, 424),
    "blocks.4.2.depthwise.norm": (110, 464, 493, 189),
    "blocks.5.2.depthwise.norm": (122, 642, 387, 50),
    "head.norm": (303, 122, 232, 1008),
}


@cache
def lite(variant: int = 0) -> Network:
    """EfficientNet-Lite, with its weights."""
    return pl.open(f"efficientnet_lite{variant}")


def classes(count: int = len(CLASSES)) -> list[Target]:
    """Logits of the first classes."""
    return [pl.logit(c) for c in CLASSES[:count]]


def channels() -> list[Target]:
    """Channels at four depths, from shallow to deep."""
    return [pl.channel(site, c) for site, numbers in CHANNELS.items() for c in numbers]


@cache
def photographs(size: int = 224) -> Tensor:
    """`[NATURAL, 3, size, size]` in 0..1, every few of the folder's; raises `Missing` where there is none."""
    if not PHOTOGRAPHS.is_dir():
        raise Missing(f"There is no folder {PHOTOGRAPHS}.", "PELLUCID_DATA=... names the folder with photos/ in it.")
    net = lite()
    found = pictures(net, PHOTOGRAPHS)
    each = max(1, len(found) // NATURAL)
    x = torch.cat([found[i] for i in range(0, each * min(NATURAL, len(found)), each)])
    if net.preparation is None:
        raise RuntimeError("The zoo states every network's preparation.")
    return net.preparation.restore(x)


def keep(name: str, shown: Tensor) -> None:
    """Put pictures away for the contact sheets, as bytes."""
    KEPT.mkdir(parents=True, exist_ok=True)
    torch.save((shown.clamp(0, 1) * 255).round().byte(), KEPT / f"{name}.pt")


def kept(name: str) -> Tensor | None:
    """Pictures that were put away, in 0..1."""
    path = KEPT / f"{name}.pt"
    return torch.load(path, weights_only=True).float() / 255 if path.exists() else None
