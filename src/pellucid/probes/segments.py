"""The players of a game over an input: which part of it each player holds.

Pictures are divided into a grid of blocks, or into superpixels; series into stretches, volumes into cuboids; in a
table every column is a player, in a text every token.  A mask of whole numbers says it freely.  The players of several
inputs are numbered through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pellucid.core.errors import BadOption, Missing
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, batch_size

# How the methods that play games declare their players.
By: TypeAlias = Annotated[
    Literal["grid", "slic", "felzenszwalb"],
    "how pictures are divided: blocks of a grid, or superpixels by scikit-image (SLIC, Felzenszwalb)",
]
Cells: TypeAlias = Annotated[
    int | None,
    Range(1, 1024),
    "blocks along each side of a picture, series or volume, or about this number squared of superpixels; none: by rule",
]
Mask: TypeAlias = Annotated[
    Tensor | None,
    "instead, each place's player as a whole number: [height, width] for a picture, [columns] for a table; "
    "[channels, 1, 1] for a picture's channels",
]
USUAL = 49  # players of an input that can be divided at will, when nothing is said


@dataclass(frozen=True, slots=True)
class Segments:
    """`labels`: the player that holds each place, in the input's shape with 1 along axes that are not divided.

    `counts`: how many players each sample has; their numbers are 0 to count - 1.  `resolution`: the grid of a picture.
    """

    labels: Tensors
    counts: tuple[int, ...]
    resolution: tuple[int, int] | None = None

    def among(self, rows: list[int]) -> Segments:
        """Those of some of the samples."""
        counts = tuple(self.counts[i] for i in rows)
        return Segments({k: v[rows] for k, v in self.labels.items()}, counts, self.resolution)

    def laid(self, values: Shaped[Tensor, "batch players"]) -> Tensors:
        """Every place shows the value of its player."""
        return {k: values.to(v.device).gather(1, v.reshape(len(v), -1)).view(v.shape) for k, v in self.labels.items()}


def segments(
    f: Score, x: Tensors, *, by: str = "grid", cells: int | None = None, mask: Tensor | None = None, most: int = USUAL
) -> Segments:
    """The players of every floating input; `most`: how many to make of it when `cells` does not say.

    Raises `BadOption` when the mask fits no input, or superpixels are wanted of something that is no picture, and
    `Missing` when they are wanted without scikit-image.

    >>> from pellucid.core.network import Network
    >>> from pellucid.core.target import logit
    >>> f = Score(Network(torch.nn.Flatten()), logit(0))
    >>> segments(f, {"x": torch.zeros(2, 3, 4, 4)}, cells=2).labels["x"][0, 0].tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    """
    axes = {k: places_of(f, k, v) for k, v in x.items() if v.is_floating_point()}
    pictures = [k for k in axes if x[k].ndim == 4 and k not in f.positions]
    masked = _masked(x, axes, mask) if mask is not None else ""
    if by != "grid" and not pictures:
        raise BadOption(f"by={by!r} divides pictures, and no input is one.", "Use by='grid', or give a mask.")
    labels, counts = Tensors(), torch.zeros(batch_size(x), dtype=torch.long)
    resolution: tuple[int, int] | None = None
    for name, along in axes.items():
        v = x[name]
        if mask is not None and name == masked:
            along = along if _of_places(mask, v, along) else tuple(range(1, v.ndim))
            found = _numbered(mask.cpu().expand(len(v), *(v.shape[a] for a in along)))
        elif by != "grid" and name in pictures:
            found = _superpixels(v, by, cells or _a_side(2, most // len(axes)))
        else:
            whole = v.ndim == 2 or name in f.positions  # a column or a token is never divided or joined
            grid = [v.shape[a] if whole else min(cells or _a_side(len(along), most // len(axes)), v.shape[a])
                    for a in along]  # fmt: skip
            found = _blocks(grid, [v.shape[a] for a in along]).expand(len(v), *(v.shape[a] for a in along))
            resolution = (grid[0], grid[1]) if name in pictures and resolution is None else resolution
        here = found.reshape(len(v), -1).amax(1) + 1
        shape = [n if a == 0 or a in along else 1 for a, n in enumerate(v.shape)]
        labels[name] = (found + counts.view(-1, *[1] * len(along))).reshape(shape).to(v.device)
        counts = counts + here
    return Segments(labels, tuple(counts.tolist()), resolution)


def places_of(f: Score, name: str, v: Tensor) -> tuple[int, ...]:
    """The axes along which an input is divided; a series is [batch, channels, time] where there is an nn.Conv1d."""
    if name in f.positions or v.ndim == 2:
        return (1,)
    if v.ndim == 3:
        return (2,) if any(isinstance(m, nn.Conv1d) for m in f.net.model.modules()) else (1,)
    return tuple(range(2, v.ndim))


def _masked(x: Tensors, axes: dict[str, tuple[int, ...]], mask: Tensor) -> str:
    """The one input that the mask fits."""
    shapes = {k: tuple(x[k].shape[a] for a in along) for k, along in axes.items()}
    given = tuple(mask.shape)
    fitting = [k for k, along in axes.items() if _of_places(mask, x[k], along)]
    fitting = fitting or [k for k in axes if _of_a_sample(mask, x[k])]
    if mask.is_floating_point() or mask.is_complex() or not mask.numel():
        raise BadOption(f"mask is {given} of {mask.dtype}: expected whole numbers.", "Convert it: mask.long().")
    if len(fitting) != 1:
        wanted = ", ".join(f"{k} {places}" for k, places in shapes.items())
        fits = f"fits {len(fitting)} inputs" if fitting else "fits no input"
        raise BadOption(f"mask is {given} and {fits}.", f"Give a number for each place of one input: {wanted}.")
    return fitting[0]


def _of_places(mask: Tensor, v: Tensor, along: Sequence[int]) -> bool:
    places = tuple(v.shape[a] for a in along)
    return tuple(mask.shape) in (places, (len(v), *places))


def _of_a_sample(mask: Tensor, v: Tensor) -> bool:
    """Does the mask tell channels apart too: as many axes as a sample has, each as long as the sample's, or 1?"""
    return mask.ndim == v.ndim - 1 and all(n in (1, whole) for n, whole in zip(mask.shape, v.shape[1:], strict=True))


def _numbered(mask: Tensor) -> Int[Tensor, "batch *places"]:
    """Each sample's numbers, made 0, 1, 2, ... in their order."""
    return torch.stack([m.unique(return_inverse=True)[1] for m in mask])


def _a_side(axes: int, most: int) -> int:
    """The largest number of blocks a side that makes at most `most` blocks."""
    return next((n for n in range(max(most, 1), 0, -1) if n**axes <= most), 1)


def _blocks(grid: Sequence[int], sizes: Sequence[int]) -> Int[Tensor, "*places"]:
    label = torch.zeros((), dtype=torch.long)
    for blocks, size in zip(grid, sizes, strict=True):
        label = label[..., None] * blocks + torch.arange(size) * blocks // size
    return label


def _superpixels(v: Tensor, by: str, cells: int) -> Int[Tensor, "batch height width"]:
    """About `cells` squared segments of each picture, from its own content."""
    felzenszwalb, slic = _divider("felzenszwalb", by), _divider("slic", by)
    found = []
    for picture in v:
        image = _image(picture)
        color = image.shape[2] == 3
        if by == "slic":
            made = slic(image, cells**2, 10.0 if color else 0.1, start_label=0, convert2lab=color, channel_axis=-1)
        else:  # at most twice as many: no segment is smaller than half its share
            made = felzenszwalb(_three(image), 100, 0.5, -(-image.shape[0] * image.shape[1] // (2 * cells**2)))
        found.append(torch.from_numpy(np.ascontiguousarray(made)).long())
    return _numbered(torch.stack(found))


def of_all_scales(picture: Tensor, scales: Sequence[float]) -> Bool[Tensor, "segments height width"]:
    """A picture `[channels, height, width]` divided by Felzenszwalb's method again and again, coarser and coarser.

    Sizes are in proportion to the picture: no segment is smaller than 0.3 % of it, and each is widened by a fortieth
    of its shorter side, so that the edges around a thing belong to it.  Raises `Missing` without scikit-image.
    """
    divide, image = _divider("felzenszwalb", "felzenszwalb"), _three(_image(picture))
    height, width = image.shape[:2]
    least, wide = max(1, round(0.003 * height * width)), round(min(height, width) / 44.8)
    masks = []
    for scale in scales:
        label = torch.from_numpy(np.ascontiguousarray(divide(image, scale, 0.8, least))).long()
        masks.append(torch.stack([label == i for i in torch.unique(label)]))
    found = torch.cat(masks)
    if wide:
        grown = (functional.max_pool2d(m[None].float(), 2 * wide + 1, 1, wide)[0] > 0 for m in torch.split(found, 64))
        found = torch.cat(list(grown))
    return found


def _divider(name: str, by: str) -> Callable[..., Any]:
    try:
        from skimage import segmentation
    except ImportError:
        raise Missing(f"by={by!r} needs the package scikit-image.", "pip install scikit-image") from None
    found: Callable[..., Any] = getattr(segmentation, name)
    return found


def _image(picture: Tensor) -> NDArray[np.float64]:
    """A picture as scikit-image wants it: channels last, values in 0..1."""
    picture = picture.detach().double().cpu()
    low, high = picture.aminmax()
    stretched = ((picture - low) / (high - low).clamp(min=1e-12)).permute(1, 2, 0)
    return np.ascontiguousarray(stretched.numpy())


def _three(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """An image of many channels by the three directions in which they vary most: scikit-image warns of more."""
    if image.shape[2] <= 3:
        return image
    away = image.reshape(-1, image.shape[2])
    away = away - away.mean(0)
    _, _, directions = np.linalg.svd(away, full_matrices=False)
    return np.ascontiguousarray((away @ directions[:3].T).reshape(*image.shape[:2], -1))
