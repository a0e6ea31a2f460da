"""Pictures of a class, the crops that are cut out of them, and how both look to a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from pellucid.core.counts import were_given
from pellucid.core.errors import BadInput, BadOption
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.samples import Collection, Samples
from pellucid.core.score import Score
from pellucid.core.spatial import image_input
from pellucid.core.tensors import Tensors, joined

_STEP = 0.8  # from one crop to the next, in sides of a crop
_TOGETHER = 64  # crops that are cut at a time


@dataclass(frozen=True, slots=True)
class Gathered:
    """All samples in one batch, as the network reads them, with their names; `name` is the input that is a picture."""

    x: Tensors = field(repr=False)
    names: tuple[str, ...]
    name: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def pixels(self) -> Float[Tensor, "pictures channels height width"]:
        """The pictures themselves."""
        return self.x[self.name]


def gathered(f: Score, data: Samples, least: int = 1) -> Gathered:
    """Every sample of a collection; raises `BadInput` when they are no pictures of one size, or fewer than `least`."""
    collection = Collection(f.net, data)
    found = list(collection.batches(len(collection)))
    numbers = [i for some, _ in found for i in some]
    if len(numbers) < least:
        raise BadInput(
            f"{were_given(len(numbers), 'picture')}; at least {least} are needed.", "Give more of the class."
        )
    if len(found) > 1:
        sizes = sorted({str(tuple(v.shape[1:])) for _, x in found for v in x.values()})
        raise BadInput(f"The samples differ in size: {', '.join(sizes[:4])}.", "Prepare them alike, as net.read does.")
    assert f.model is not None  # noqa: S101 (bound by whoever leases)
    x = like_the_model(joined([x for _, x in found]), f.model)
    name = image_input(x)
    unlike = f.net.preparation.unlike(x[name]) if f.net.preparation is not None else ""
    skipped = tuple(collection.skipped.values())
    return Gathered(x, tuple(collection.name(i) for i in numbers), name, (*skipped, *((unlike,) if unlike else ())))


def boxes_of(x: Gathered, sizes: Sequence[float]) -> Int64[Tensor, "crops 4"]:
    """Crops as (picture, top, left, side), in pixels: for each size, a grid that covers the picture evenly.

    A size is a crop's side as a share of the picture's shorter one.  Raises `BadOption` outside 0.05 to 1.
    """
    wrong = next((s for s in sizes if not 0.05 <= s <= 1), None)
    if wrong is not None or not sizes:
        raise BadOption(f"crops={tuple(sizes)!r}: expected shares of the picture's side, from 0.05 to 1.")
    height, width = x.pixels.shape[2:]
    boxes = [
        (i, top, left, side)
        for i in range(len(x))
        for side in (max(1, round(size * min(height, width))) for size in sizes)
        for top in _evenly(height, side)
        for left in _evenly(width, side)
    ]
    return torch.tensor(boxes, dtype=torch.long)


def _evenly(whole: int, side: int) -> list[int]:
    room = whole - side
    count = 1 + -(-room // max(1, round(side * _STEP)))
    return [round(room * i / (count - 1)) for i in range(count)] if count > 1 else [room // 2]


def crops_of(x: Gathered, boxes: Tensor) -> Iterator[Tensors]:
    """The crops, enlarged to the size of the pictures, some at a time."""
    size = x.pixels.shape[2:]
    for some in torch.split(boxes, _TOGETHER):
        cut = [cropped(x.pixels, box.tolist()) for box in some]
        large = [F.interpolate(c[None], size, mode="bilinear", align_corners=False) for c in cut]
        others = {k: v[some[:, 0].to(v.device)] for k, v in x.x.items() if k != x.name}
        yield {**others, x.name: torch.cat(large)}


def cropped(pictures: Tensor, box: Sequence[int]) -> Tensor:
    """What one box of (picture, top, left, side) cuts out: `[channels, side, side]`."""
    picture, top, left, side = box
    return pictures[picture, :, top : top + side, left : left + side]


def colors(
    net: Network, x: Float[Tensor, "pictures channels height width"]
) -> UInt8[Tensor, "pictures 3 height width"]:
    """Pictures as a person sees them; without a known preparation, from the least value (black) to the largest."""
    v = x.detach().cpu().float()
    if net.preparation is not None and net.preparation.channels == v.shape[1]:
        v = net.preparation.restore(v)
    else:
        low, high = float(v.min()), float(v.max())
        v = (v - low) / ((high - low) or 1.0)
    v = v if v.shape[1] == 3 else v.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    return (v * 255).round().to(torch.uint8)
