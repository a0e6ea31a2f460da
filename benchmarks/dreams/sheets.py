"""Contact sheets for the docs: what a reader should look at before any number.

Pictures are JPEG of at most 300 kB, for dreams are all texture.  Their captions are in `CAPTIONS`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import pellucid as pl
from benchmarks.dreams import quality, vit
from benchmarks.dreams.judge import at_size
from benchmarks.dreams.subjects import CLASSES, KEPT, ROOT, classes, kept, lite
from benchmarks.trust.blood import blood_rig
from pellucid.core.target import Target
from pellucid.render.png import png
from pellucid.views.concepts import concepts_figure
from pellucid.views.dream import colors
from pellucid.views.tiles import Tile, Tiles
from pellucid.views.view import Heading, Stack, View

IMAGES = ROOT / "docs" / "images"
SIDE, GAP, ACROSS, MARGINS, MOST = 112, 12, 8, 80, 300_000
DEPTHS = ("stem.norm", "blocks.2.1.depthwise.norm", "blocks.4.2.depthwise.norm", "head.norm")
LAYERS = ("relu2_2", "relu3_3", "relu4_3", "relu5_3")
CAPTIONS = {
    "dreams_classes": "What EfficientNet-Lite0 looks for in eight classes: the default recipe, 96 steps, seed 0.",
    "dreams_channels": "Eight channels at each of four depths of EfficientNet-Lite0: from colors and edges by way of "
    "textures to parts of things.",
    "dreams_vgg16": "Eight channels at each of four depths of the VGG-16 trunk, whose last layers were trained on for "
    "edges.",
    "dreams_vit": "A small vision transformer trained on cells of blood smears (four kinds of windows): windows of "
    "each kind, what it looks for in each, and eight channels of its tokens behind its first, third and last block.",
    "dreams_peers": "The same eight classes by Pellucid's default (96 steps), by Lucent as it comes (96 and 512 steps) "
    "and by Horama's MACO as it comes (96 steps, four classes; it shows crops of 1280 pixels to the network).",
}
Row = tuple[str, Tensor, Sequence[str]]


def written(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Rows of pictures, each with its title and a word a picture, as a file of the docs."""
    parts: list[View] = []
    for title, shown, words in rows:
        small = at_size(shown, 2 * SIDE)
        tiles = [Tile(colors(x), word, "", f"A dream: {word}") for x, word in zip(small, words, strict=True)]
        parts += [Heading(title, 3), Tiles(tuple(tiles), side=float(SIDE))]
    drawn = Image.open(io.BytesIO(png(Stack(tuple(parts)), ACROSS * (SIDE + GAP) + MARGINS, 1.25))).convert("RGB")
    place = IMAGES / f"{name}.jpg"
    size = saved(drawn, place)
    return {"file": place.name, "bytes": size, "caption": CAPTIONS.get(name, "")}


def saved(image: Image.Image, place: Path) -> int:
    """As good a JPEG as stays small; its size in bytes."""
    for quality_ in range(90, 40, -5):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality_, optimize=True)
        if out.tell() <= MOST:
            break
    place.write_bytes(out.getvalue())
    return out.tell()


def dreamed(net: Any, targets: Sequence[Target], **knobs: Any) -> Tensor:
    """The pictures of a dream, after which nothing is held."""
    found: Tensor = pl.dream.maximize(net, list(targets), **knobs).pictures
    return found


def of_classes() -> dict[str, Any]:
    """Eight classes."""
    words = [lite().label(c) for c in CLASSES]
    return written("dreams_classes", [("Classes of EfficientNet-Lite0", dreamed(lite(), classes()), words)])


def of_channels() -> dict[str, Any]:
    """Eight channels at four depths, spread over all that there are."""
    return written("dreams_channels", [_row(lite(), site, _widths(lite())[site]) for site in DEPTHS])


def of_vgg16() -> dict[str, Any]:
    """The same of VGG-16, at half its size: it is thirty times as much work."""
    net = pl.open("vgg16")
    counts = dict(zip(LAYERS, (128, 256, 512, 512), strict=True))
    rows = [_row(net, site, counts[site], size=112, early=0.5, part=1.0, steps=64) for site in LAYERS]
    return written("dreams_vgg16", rows)


def of_vit() -> dict[str, Any]:
    """A transformer with weights of its own, beside what it was trained on."""
    net, share = vit.trained()
    x, labels = vit.windows("test", 2)
    words = [vit.KINDS[i] for i in labels.tolist()]
    kinds = dreamed(net, [pl.logit(i) for i in range(len(vit.KINDS))])
    rows = [("Windows", vit.PREPARATION.restore(x), words), ("What it looks for in each kind", kinds, vit.KINDS)]
    found = written("dreams_vit", [*rows, *(_row(net, site, 128, axis=-1) for site in vit.DEPTHS)])
    return found | {"test windows right": share}


def of_concepts() -> dict[str, Any]:
    """What a network that finds white blood cells has for concepts, and how much of each lies in the cells' boxes."""
    rig = blood_rig(160)
    cells = rig.scenes.labels == 1
    x, truth = rig.scenes.x[cells][::4], rig.scenes.truth[cells][::4].float()[:, None]  # of one smear there are several
    net = pl.open(rig.model, labels=("none", "white cell"), name="a finder of white cells")
    found = pl.concepts.craft(net, x, 1, concepts=5, crops=(0.3, 0.5))
    maps = F.interpolate(found.maps.float(), truth.shape[2:], mode="bilinear")
    inside = ((maps * truth).flatten(2).sum(2) / maps.flatten(2).sum(2).clamp(min=1e-9)).mean(0)
    drawn = Image.open(io.BytesIO(png(concepts_figure(found), 960, 2.0))).convert("RGB").reduce(2)
    place = IMAGES / "concepts_cells.jpg"
    facts = {"importance": found.importance[:, 0].tolist(), "inside": inside.tolist(), "area": float(truth.mean())}
    return {"file": place.name, "bytes": saved(drawn, place), "pictures": len(x), **facts}


def _widths(net: Any) -> dict[str, int]:
    modules = dict(net.model.named_modules())
    return {site: int(modules[site].weight.shape[0]) for site in DEPTHS}


def _row(net: Any, site: str, width: int, axis: int = 1, **knobs: Any) -> Row:
    numbers = [round((i + 0.5) * width / ACROSS) for i in range(ACROSS)]
    shown = dreamed(net, [pl.channel(site, n, axis=axis) for n in numbers], **knobs)
    return site, shown, [f"channel {n}" for n in numbers]


def of_peers() -> dict[str, Any]:
    """What the quality part drew, one contestant a row."""
    words = [lite().label(c) for c in CLASSES]
    names = {
        "pellucid 96": "Pellucid, 96 steps",
        "lucent 128 96": "Lucent, 96 steps",
        "lucent 128 512": "Lucent, 512 steps",
        "horama 96": "Horama (MACO), 96 steps",
    }
    found = {said: kept(quality.PICTURES + name) for name, said in names.items()}
    return written("dreams_peers", [(said, x, words[: len(x)]) for said, x in found.items() if x is not None])


def looked_at(prefix: str) -> Path:
    """All pictures that were kept under names of a kind, a row each: for the eye, not for the docs."""
    rows = []
    for place in sorted(KEPT.glob(f"{prefix}*.pt")):
        x = kept(place.stem)
        if x is not None:
            rows.append((place.stem, x, [""] * len(x)))
    parts: list[View] = []
    for title, shown, words in rows:
        tiles = [Tile(colors(x), w, "", title) for x, w in zip(at_size(shown, SIDE), words, strict=True)]
        parts += [Heading(title, 3), Tiles(tuple(tiles), side=float(SIDE))]
    place = KEPT / f"{prefix.strip()}.png"
    place.write_bytes(png(Stack(tuple(parts)), ACROSS * (SIDE + GAP) + MARGINS, 1.0))
    return place


SHEETS: dict[str, Callable[[], dict[str, Any]]] = {
    "classes": of_classes,
    "channels": of_channels,
    "vgg16": of_vgg16,
    "vit": of_vit,
    "concepts": of_concepts,
    "peers": of_peers,
}
