"""Values at a site over many samples, in one streaming pass: only what is made of them is kept."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pellucid.core.answer import Answer, ask
from pellucid.core.errors import BadInput, BadModel, Stopped
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.run import current, running
from pellucid.core.samples import Collection
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import channel
from pellucid.core.tensors import Tensors
from pellucid.dream.excited.layout import Layout, layout_at

Make: TypeAlias = Callable[[Tensors, Answer], Tensors]  # of a batch and its answer: what to keep, a row a sample
Take: TypeAlias = Callable[[list[int], Tensors], None]
_TOGETHER = 16


def streamed(net: Network, data: Collection, at: Site, make: Make, take: Take, *, whole: bool = False) -> str:
    """Run all samples up to a site (or, with `whole`, to the end) and hand what is made of each batch to `take`.

    Says how far a stopped pass came; '' when it reached the end.  Raises `Stopped` when nothing is known yet.
    """
    run, since, done = current(), time.monotonic(), 0
    waiting: deque[list[int]] = deque()

    def one(f: Score, x: Tensors, rows: Tensor) -> Tensors:
        assert f.model is not None  # noqa: S101 (leased below)
        current().meter.forwards += len(rows)
        return make(x, ask(net, f.model, x, sites=(at,), rows=rows, whole=whole))

    def batches(group: Iterator[tuple[list[int], Tensors]], model: nn.Module) -> Iterator[Tensors]:
        for numbers, x in group:
            waiting.append(numbers)
            yield like_the_model(x, model)

    with Score(net, channel(at, 0)).leased() as f, running(replace(run, progress=None)):
        assert f.model is not None  # noqa: S101 (leased here)
        for _, group in groupby(data.batches(_TOGETHER), key=lambda found: _shapes(found[1])):
            try:
                for found in f.passes(batches(group, f.model), one, "forward passes"):
                    numbers = waiting.popleft()
                    take(numbers, found)
                    done += len(numbers)
                    run.report("samples", done, len(data), since)
            except Stopped:
                if not done:
                    raise
                run.meter.stopped = "stopped"
            if run.meter.stopped:
                return f"after {done} of {len(data)} samples"
    return ""


def layout_of(net: Network, x: Tensors, site: Site) -> Layout:
    """How the value at a site is laid out, from the first sample of a batch; raises `BadInput` where it holds none."""
    with net.lease() as model, torch.no_grad():
        return layout_at(net, model, {k: v[:1] for k, v in x.items()}, site)


def by_place(layout: Layout, value: Tensor) -> Float[Tensor, "batch places width"]:
    """The vectors at a site, one for each place: pixels of a map, tokens, steps; one for a flat value."""
    return layout.flat(value).mT


def refuse_another_shape(value: Tensor, shape: tuple[int, ...], site: Site) -> None:
    """Raise `BadInput` where samples of several sizes make values of several shapes, so that places do not match."""
    if tuple(value.shape[1:]) != shape:
        raise BadInput(
            f"Site {str(site)!r} holds {tuple(value.shape[1:])} for one sample and {shape} for another.",
            "Give samples of one size.",
        )


def refuse_nonsense(vectors: Tensor, site: Site) -> None:
    """Raise `BadInput` for values that are no numbers."""
    if not bool(torch.isfinite(vectors).all()):
        raise BadInput(f"The value at {str(site)!r} is NaN or infinite for a sample.", "Look for overflow.")


def likeliest(answer: Answer) -> Tensors:
    """The top class of each sample and its share in 0..1; empty where the network names no classes."""
    try:
        scores = answer.main
    except BadModel:
        return {}
    if scores.ndim != 2 or scores.shape[1] < 2:
        return {}
    share, top = scores.float().softmax(1).max(1)
    return {"top": top, "share": share}


def small_pictures(net: Network, x: Tensors, side: int) -> UInt8[Tensor, "batch 3 side side"] | None:
    """The inputs as the network saw them, `side` pixels large, on gray where they are not square; None for others.

    Values that cannot be turned back to colors are stretched from each picture's least to its largest.
    """
    name = next((k for k, v in x.items() if v.ndim == 4 and v.is_floating_point()), None)
    return None if name is None else tiles(colors(net, x[name]), side)


def colors(net: Network, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Pictures in 0..1: prepared values turned back, others stretched; channels that are no colors are averaged."""
    x = x.detach().float().cpu()
    if net.preparation is not None and net.preparation.channels == x.shape[1]:
        shown = net.preparation.restore(x)
    else:
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        shown = (x - low) / (high - low).clamp(min=1e-12)
    return shown if shown.shape[1] == 3 else shown.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def tiles(shown: Float[Tensor, "batch 3 height width"], side: int) -> UInt8[Tensor, "batch 3 side side"]:
    """Pictures in 0..1 as bytes on gray squares: averaged where larger, linear between pixels where smaller."""
    height, width = shown.shape[2:]
    longest = max(height, width)
    size = max(1, round(side * height / longest)), max(1, round(side * width / longest))
    if longest > side:
        drawn = torch.nn.functional.adaptive_avg_pool2d(shown, size)
    else:
        drawn = torch.nn.functional.interpolate(shown, size, mode="bilinear", align_corners=False)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    around = (left, side - size[1] - left, top, side - size[0] - top)
    return (torch.nn.functional.pad(drawn, around, value=0.5).clamp(0, 1) * 255).round().to(torch.uint8)


def _shapes(x: Tensors) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((k, tuple(v.shape[1:])) for k, v in x.items())
