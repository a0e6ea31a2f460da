"""Performance information curves: how much of a picture's information brings the class back, the map's places first?

Kapishnikov et al. 2019 (XRAI).  One pixel in a hundred, drawn at random, is kept and the rest painted from those; then
the map's strongest places are shown as they are, more and more.  Across: how much information there is, by the size of
the picture as a lossless WebP.  Up: the class's probability (softmax information curve) or whether it comes first
(accuracy).  Both normalized between the painted picture and the true one; the running maximum is taken.

Two differences to the authors' code: what is missing is painted by pull-push and not by triangles, and values are made
bytes by stretching the prepared picture's own range, for a network's input need not be a picture file.
"""

from __future__ import annotations

import io
import math
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.trials.ordered import (
    Randoms,
    Removal,
    first,
    flat,
    of_class,
    order_of,
    random_maps,
    shown,
)
from pellucid.trials.sample import Sample, at_least, samples, summary

THRESHOLDS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.13, 0.21, 0.34, 0.5, 0.75)  # the authors' own
POINTS = 1001
_NOTHING = (
    "No sample could be tested: the map is the same everywhere, the class has less than the probability asked for, or "
    "the painted picture already has as much of it, or of information, as the true one."
)
Kind = Literal["softmax", "accuracy"]


@measure(
    title="Performance information curve (SIC, AIC)",
    family="faithfulness",
    paper="Kapishnikov, Bolukbasi, Viegas, Terry 2019, arXiv:1906.02825",
    better="higher",
    cost="13 x (1 + `randoms`) + 2 forward passes a sample, and as many compressed pictures",
)
def pic(
    explanation: Explanation,
    *,
    of: Annotated[Kind, "the class's probability (SIC), or whether it comes first (AIC)"] = "softmax",
    least: Annotated[float, Range(0, 1), "samples whose class has less probability than this are left out"] = 0.8,
    kept: Annotated[float, Range(1e-4, 0.5), "share of the pixels that are kept from the beginning, at random"] = 0.01,
    randoms: Randoms = 1,
) -> Check:
    """The area, 0..1, under the median curve of performance against information, the map's places shown first.

    `each` are the samples' own areas; with several samples the value is the area of their median curve.  Higher is
    better.  "random": the same by random maps, which are this one flipped and rolled over the edge.  Ties are broken by
    one seeded draw.  Curves, at 101 points: "information", "map", "random".  Raises `BadInput` for what is no picture
    and when no class was explained, `Missing` when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(400, 1))
    >>> _ = net[1].weight.data.zero_(); net[1].weight.data[0, 40:44] = 9.0; net[1].bias.data[0] = -60.0
    >>> x = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0)); x[..., 2, :4] = 3.0
    >>> found = pic(pl.methods.input_x_gradient(net, x, 0))
    >>> found.value > 0.8 > 0.3 > dict(found.references)["random"]
    True
    """
    each, lines = list[float](), list[NDArray[np.float64]]()
    with samples(explanation) as taken:
        _fits(taken[0], explanation)
        for sample in taken:
            line = None if flat(sample.places) else _lines(sample, of, least, kept, randoms)
            each.append(math.nan if line is None else _area(line[0]))
            lines += [] if line is None else [line]
    median = np.median(np.stack([line[0] for line in lines]), 0) if lines else np.full(POINTS, math.nan)
    chance = np.median(np.concatenate([line[1:] for line in lines]), 0) if lines and randoms else None
    found = summary("pic", each, lambda value: _say(_area(median), chance, of), _NOTHING)
    if not lines:
        return found
    shares = (("information", np.linspace(0, 1, POINTS)), ("map", median), ("random", chance))
    curves = tuple((name, tuple(line[::10].tolist())) for name, line in shares if line is not None)
    references = () if chance is None else (("random", _area(chance)),)
    return Check("pic", _area(median), found.verdict, found.why, each=found.each, references=references, curves=curves)


def _say(value: float, chance: NDArray[np.float64] | None, of: Kind) -> str:
    told = "" if chance is None else f" Random maps of the same kind reach {_area(chance):.2f}."
    what = "probability" if of == "softmax" else "first place"
    return (
        f"The map's strongest places were shown in an otherwise blurred picture: against the information shown, the "
        f"class's {what} came back with an area of {value:.2f} under the curve; 1 is at once, and higher is "
        f"better.{told}"
    )


def _fits(sample: Sample, explanation: Explanation) -> None:
    layout = sample.layout
    if layout.kind != "picture" or layout.site:
        what = f"value at {layout.site}" if layout.site else layout.kind
        raise BadInput(f"The information in a picture file is measured; this is a {what}.", "Use insertion.")
    if not of_class(sample):
        raise BadInput(f"A class's return is measured; what was explained is {explanation.target}.", "Use insertion.")
    at_least(layout, 100)


def _lines(sample: Sample, of: Kind, least: float, kept: float, randoms: int) -> NDArray[np.float64] | None:
    """The curve of the map and of each random map, at equal steps of information; None where there is nothing to say.

    All are shown in one go: the true picture, the painted one, then each map's thresholds.
    """
    size, shape = sample.layout.size, sample.layout.shape
    counts = [max(1, round(t * size)) for t in THRESHOLDS]
    drawn = torch.randperm(size, generator=current().generator("pic", sample.key))
    seeds = first(drawn, [max(1, round(kept * size))], shape)
    maps = [sample.places, *random_maps(sample, randoms)]
    seen = [torch.ones(1, *shape, dtype=torch.bool), seeds]
    seen += [first(order_of(m, sample.key), counts, shape) | seeds for m in maps]
    copies = list(Removal("inpainted").copies(sample, ~torch.cat(seen)))
    sizes = _information(copies, sample.v)
    if sizes[1] >= sizes[0]:
        return None
    answers = shown(sample, iter(copies), len(copies))
    certain = torch.sigmoid(answers.scores)
    performance = (certain if of == "softmax" else (answers.lead > 0).double()).numpy()
    if not float(certain[0]) >= least or performance[1] >= performance[0]:
        return None
    across, up = (((v - v[1]) / (v[0] - v[1])).clip(0, 1)[2:].reshape(len(maps), -1) for v in (sizes, performance))
    return np.stack([_curve(a, u) for a, u in zip(across, up, strict=True)])


def _curve(across: NDArray[np.float64], up: NDArray[np.float64]) -> NDArray[np.float64]:
    """The running maximum by growing information, from (0, 0) to (1, 1), at equal steps."""
    order = np.argsort(across, kind="stable")
    x = np.concatenate([[0.0], across[order], [1.0]])
    y = np.maximum.accumulate(np.concatenate([[0.0], up[order], [1.0]]))
    at: NDArray[np.float64] = np.interp(np.linspace(0, 1, POINTS), x, y)
    return at


def _area(line: NDArray[np.float64]) -> float:
    return float((line[1:] + line[:-1]).sum() / 2 / (len(line) - 1))


def _information(copies: list[Tensor], v: Float[Tensor, "1 channels height width"]) -> NDArray[np.float64]:
    """The bytes that each copy takes up, compressed without loss, its values stretched to the range of `v`."""
    low, high = (float(e) for e in v.aminmax())
    found = []
    for copy in copies:
        stretched = ((copy[0].float() - low) / max(high - low, 1e-12) * 255).round().clamp(0, 255)
        picture = stretched.to(torch.uint8).cpu().permute(1, 2, 0).numpy()
        layers = [picture] if picture.shape[2] == 3 else [picture[..., i] for i in range(picture.shape[2])]
        found.append(sum(_compressed(np.ascontiguousarray(layer)) for layer in layers))
    return np.array(found, dtype=np.float64)


def _compressed(picture: NDArray[np.uint8]) -> int:
    file, image = io.BytesIO(), Image.fromarray(picture)
    if features.check("webp"):
        image.save(file, "WEBP", lossless=True, quality=100)
    else:  # a Pillow built without it: the same idea, somewhat larger files
        image.save(file, "PNG", optimize=True)
    return file.tell()
