"""The glyph rig: photographs with a glyph at a random place, a network that tells the glyphs apart, the truth known.

The same picture without the glyph is known too, so what the glyph does to the answer is known and not guessed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("PELLUCID_DATA", ROOT.parent / "shared" / "data"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pellucid-trust"
SIDE, GLYPH = 32, 11  # pixels; a glyph's ink covers 3 to 5 % of the picture
MEAN, SPREAD = 0.45, 0.25


@dataclass(frozen=True, slots=True)
class Scenes:
    """Pictures as the network takes them, `[n, 3, side, side]`; `without`: the same ones before the evidence came in.

    `truth`: where the evidence is, `[n, side, side]`; `labels`: the class of each.
    """

    x: Tensor
    without: Tensor
    truth: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True)
class Planted:
    """A network, pictures that it gets right, and what is wrong for sure: `decoys`, masks by name.

    `truth` of the scenes is where the reason lies; `sign` -1 says that it speaks against the label.
    """

    name: str
    about: str
    model: nn.Module
    scenes: Scenes
    decoys: dict[str, Tensor] = field(default_factory=dict)
    sign: float = 1.0


def generator(*key: object) -> torch.Generator:
    """A random stream for a key; equal keys give equal streams."""
    seed = int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1
    return torch.Generator().manual_seed(seed)


@cache
def photographs(most: int = 240) -> tuple[Path, ...]:
    """Photographs of the shared data, spread over the classes; the two of examples/ when there are none."""
    found = sorted((SHARED / "photos").glob("*.jpg"))
    if not found:
        return tuple(sorted((ROOT / "examples").glob("*.jpg")))
    return tuple(found[:: max(len(found) // most, 1)][:most])


def picture(path: Path, short: int) -> Tensor:
    """A photograph as `[3, height, width]` in 0..1, its short side `short` pixels."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = short / min(image.size)
    sized = image.resize([max(round(n * scale), short) for n in image.size], Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(sized)).permute(2, 0, 1).float() / 255


def backgrounds(count: int, key: str, side: int = SIDE, paths: Sequence[Path] | None = None) -> Tensor:
    """Random crops of photographs, `[count, 3, side, side]` in 0..1; train and test crops come from other photographs.

    Every third photograph is kept for the test; with two photographs alone, both serve both.
    """
    known = list(paths or photographs())
    if len(known) > 2:
        known = [p for i, p in enumerate(known) if (i % 3 == 2) == (key == "test")]
    g = generator("backgrounds", key, side)
    read = [picture(path, 3 * side) for path in known]
    out = []
    for _ in range(count):
        one = read[int(torch.randint(len(read), (), generator=g))]
        top, left = (int(torch.randint(n - side + 1, (), generator=g)) for n in one.shape[1:])
        crop = one[:, top : top + side, left : left + side]
        out.append(crop.flip(-1) if torch.rand((), generator=g) < 0.5 else crop)
    return torch.stack(out)


@cache
def glyphs() -> Tensor:
    """Four shapes with strokes of two or three pixels, `[4, 11, 11]`: a plus, a diagonal cross, a ring, two bars."""
    at = torch.arange(GLYPH) - GLYPH // 2
    down, right = torch.meshgrid(at, at, indexing="ij")
    away = (down**2 + right**2).float().sqrt()
    plus = (down.abs() < 2) | (right.abs() < 2)
    cross = (down - right).abs().minimum((down + right).abs()) < 2
    ring = (away < 5.6) & (away > 3.2)
    bars = (down.abs() > 1) & (down.abs() < 5)
    return torch.stack([plus, cross, ring, bars])


def scenes(count: int, key: str, side: int = SIDE, paths: Sequence[Path] | None = None) -> Scenes:
    """Photographs with one glyph each, its kind, place and color random; the color stands out from what it covers."""
    ground, g = backgrounds(count, key, side, paths), generator("scenes", key, side)
    labels = torch.randint(4, (count,), generator=g)
    x, truth = ground.clone(), torch.zeros(count, side, side, dtype=torch.bool)
    for i, label in enumerate(labels.tolist()):
        top, left = (int(v) for v in torch.randint(side - GLYPH + 1, (2,), generator=g))
        truth[i, top : top + GLYPH, left : left + GLYPH] = glyphs()[label]
        under = ground[i, :, truth[i]].mean(1)
        colors = torch.rand(16, 3, generator=g)
        color = next((c for c in colors if float((c - under).norm()) > 0.6), 1 - under.round())
        x[i][:, truth[i]] = color[:, None]
    return Scenes(prepared(x), prepared(ground), truth, labels)


def prepared(x: Tensor) -> Tensor:
    """Pixels of 0..1 as the networks here take them."""
    return (x - MEAN) / SPREAD


def small_network(classes: int = 4, widths: Sequence[int] = (16, 32, 32, 64, 64)) -> nn.Sequential:
    """Five convolutions with batch normalization, two poolings, a global average and one linear layer."""
    layers: list[nn.Module] = []
    inputs = 3
    for i, width in enumerate(widths):
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if i in (0, 2) else []
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def trained(
    model: nn.Module, data: Callable[[int], tuple[Tensor, Tensor]], name: str, steps: int = 300, rate: float = 0.01
) -> nn.Module:
    """The network after `steps` of Adam on `data(step)`, in eval mode; kept between runs, outside the repository."""
    kept = CACHE / f"{name}-{steps}.pt"
    if kept.exists():
        model.load_state_dict(torch.load(kept, weights_only=True))
        return model.eval()
    optimizer = torch.optim.Adam(model.parameters(), rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    model.train()
    for step in range(steps):
        x, labels = data(step)
        loss = functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), kept)
    return model.eval()


def batches(pool: Scenes, size: int = 64) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Random batches out of a pool, by the number of the step."""

    def batch(step: int) -> tuple[Tensor, Tensor]:
        pick = torch.randint(len(pool), (size,), generator=generator("batch", step))
        return pool.x[pick], pool.labels[pick]

    return batch


@cache
def glyph_network(seed: int = 0) -> nn.Module:
    """The network that tells the glyphs apart."""
    torch.manual_seed(seed)
    return trained(small_network(), batches(scenes(6000, "train")), f"glyphs-{seed}", steps=400)


@cache
def glyph_test(count: int = 400) -> Scenes:
    """Scenes on photographs that the network never saw, and that it takes for what they are."""
    return right(glyph_network(), scenes(count, "test"))


def right(model: nn.Module, found: Scenes) -> Scenes:
    """The scenes whose class the network names."""
    with torch.no_grad():
        ok = model(found.x).argmax(1) == found.labels
    return Scenes(found.x[ok], found.without[ok], found.truth[ok], found.labels[ok])


def chosen(
    name: str, about: str, model: nn.Module, found: Scenes, decoys: dict[str, Tensor], count: int,
    which: Tensor | None = None, *, all_of: bool = False,
) -> Planted:  # fmt: skip
    """The first scenes that the network gets right (all of them where several classes are there at once)."""
    with torch.no_grad():
        ok = torch.cat([model(x).argmax(1) for x in found.x.split(64)]) == found.labels
    ok = torch.ones_like(ok) if all_of else ok
    pick = (ok if which is None else which).nonzero()[:count, 0]
    kept = Scenes(found.x[pick], found.without[pick], found.truth[pick], found.labels[pick])
    return Planted(name, about, model, kept, {k: v[pick] for k, v in decoys.items()})


def first(found: Scenes, count: int) -> Scenes:
    """The first `count` scenes."""
    return Scenes(found.x[:count], found.without[:count], found.truth[:count], found.labels[:count])


def log_odds(out: Tensor, labels: Tensor) -> Tensor:
    """Each row's logit of its label against all others together."""
    others = out.double().scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    return out.double().gather(1, labels[:, None])[:, 0] - others
