"""A vision transformer with weights of its own: trained here on cells of blood smears, since no package brings one.

The architecture is timm's; four kinds of windows of 64 pixels: red cells, white cells, platelets, and none of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import pellucid as pl
from benchmarks.dreams.subjects import DATA
from benchmarks.trust.blood import cells
from benchmarks.trust.rig import generator, picture
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation

KINDS = ("RBC", "WBC", "Platelets", "background")
SIDE, EACH, EPOCHS, BATCH = 64, 330, 24, 64
DEPTHS = ("blocks.0", "blocks.2", "blocks.5")
PREPARATION = Preparation(SIDE, mean=(0.66, 0.64, 0.68), std=(0.2, 0.2, 0.2), source="of the windows themselves")


@cache
def trained() -> tuple[Network, float]:
    """The network, and how many of the test windows it gets right."""
    from timm.models import create_model  # of the peers' environment

    torch.manual_seed(0)
    model = create_model(
        "vit_tiny_patch16_224", img_size=SIDE, patch_size=8, embed_dim=128, depth=6, num_heads=4, num_classes=len(KINDS)
    )
    x, labels = windows("trainval", EACH)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-4, weight_decay=0.05)
    count = EPOCHS * len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, count + 1)
    g = generator("vit")
    for _ in range(count):
        rows = torch.randint(len(x), (BATCH,), generator=g)
        loss = functional.cross_entropy(model(turned(x[rows], g)), labels[rows], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    seen, right = windows("test", 60)
    with torch.no_grad():
        share = float((model(seen).argmax(1) == right).float().mean())
    return pl.open(model, preparation=PREPARATION, labels=KINDS, name="a small ViT"), share


def turned(x: Tensor, g: torch.Generator) -> Tensor:
    """A batch turned over and moved by a few pixels, for a cell has no upper end."""
    if torch.rand((), generator=g) < 0.5:
        x = x.flip(2)
    if torch.rand((), generator=g) < 0.5:
        x = x.transpose(2, 3)
    down, right = torch.randint(-6, 7, (2,), generator=g).tolist()
    return x.roll((down, right), (2, 3))


def windows(part: str, each: int) -> tuple[Tensor, Tensor]:
    """As many windows of every kind, `[n, 3, 64, 64]` as the network takes them, and their kinds."""
    names = (DATA / "bccd" / "ImageSets" / "Main" / f"{part}.txt").read_text(encoding="utf-8").split()
    g, found = generator("windows", part), {kind: list[Tensor]() for kind in KINDS}
    for name in names:
        whole = picture(DATA / "bccd" / "JPEGImages" / f"{name}.jpg", 480)
        marked = cells(name)
        boxes = [*marked, *(("background", empty(g, marked)) for _ in range(4))]
        for kind, box in boxes:
            if box is not None and len(found[kind]) < each:
                found[kind].append(cut(whole, box))
    x = torch.cat([torch.stack(found[kind]) for kind in KINDS])
    labels = torch.cat([torch.full((len(found[kind]),), i) for i, kind in enumerate(KINDS)])
    return PREPARATION.normalize(x), labels


def cut(whole: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """A square of twice the box's longer side around it, between 96 and 240 pixels, made small."""
    left, top, right, bottom = box
    side = min(max(int(1.4 * max(right - left, bottom - top)), 96), 240)
    y = min(max((top + bottom - side) // 2, 0), whole.shape[1] - side)
    x = min(max((left + right - side) // 2, 0), whole.shape[2] - side)
    return functional.interpolate(whole[None, :, y : y + side, x : x + side], size=SIDE, mode="area")[0]


def empty(g: torch.Generator, marked: list[Any]) -> tuple[int, int, int, int] | None:
    """A square of 90 pixels that touches no marked cell, if one of a few throws finds it."""
    for _ in range(20):
        x, y = int(torch.randint(550, (), generator=g)), int(torch.randint(390, (), generator=g))
        if all(x >= b[2] or b[0] >= x + 90 or y >= b[3] or b[1] >= y + 90 for _, b in marked):
            return (x, y, x + 90, y + 90)
    return None
