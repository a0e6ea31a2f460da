r"""Occlusion: cover a window, see how far the score falls.

$$A_i = \frac{1}{|\{w \ni i\}|}\sum_{w\,\ni\,i}\bigl(f(x) - f(x_{\setminus w})\bigr)$$

Good for: any model, also one without gradients; the answer is an experiment that anybody can repeat.
Not for:  evidence that is in several places at once: covering one of two equal cues changes nothing.  And a covered
          picture is an odd picture: part of the fall may be the network's surprise.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.incremental.edits import under_edits
from pellucid.core.incremental.local_edits import Box, Edits
from pellucid.core.method import Finding, Promise, method
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, per_sample
from pellucid.probes.fills import Covering, Fill, covering
from pellucid.probes.variations import Variations
from pellucid.probes.windows import Windows, sliding


@method(
    title="Occlusion",
    family="perturbation",
    paper="Zeiler, Fergus 2014, arXiv:1311.2901",
    promises=Promise.LINEAR | Promise.IMPLEMENTATION_INVARIANT,
    cost="1 forward pass a window",
)
def occlusion(
    f: Score,
    x: Tensors,
    *,
    window: Annotated[int | None, Range(1, 4096), "side of the window; none: a seventh of the input"] = None,
    stride: Annotated[int | None, Range(1, 4096), "step of the window; none: half of it"] = None,
    fill: Annotated[
        Fill, "what stands under the window: a value, or something made from the sample itself"
    ] = "constant",
    value: Annotated[float, Range(-1e6, 1e6), "the constant under the window, as the network sees it"] = 0.0,
) -> Finding:
    """How much the score falls when each part is covered, `[batch, 1, ...]`; overlapping windows are averaged.

    Pictures are covered in squares through all channels, volumes in cubes, series and token sequences in stretches,
    tables in groups of columns.  The unit is the score's.  On convolutional networks only what a window can change is
    computed, where that is exact and cheaper: `facts["computed"]` says how.  A stopped run has the windows up to there.
    Raises `BadOption` when the window is larger than the input, or leaves nothing to paint it from.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(3, 1)
    >>> e = pl.methods.occlusion(net, torch.ones(1, 3), 0, window=1, stride=1)
    >>> torch.allclose(e.values, net.weight)
    True
    """
    base, maps, facts = f(x), Tensors(), dict[str, Any](windows=0)
    resolution: tuple[int, int] | None = None
    for name, v in x.items():
        if v.is_floating_point():
            windows = _windows(f, name, v, window, stride)
            maps[name], how = _falls(f, x, name, windows, covering(v, windows.axes, fill, value), base)
            facts["windows"] += len(windows.places)
            facts |= how if len(x) == 1 else {f"{name}: {k}": v for k, v in how.items()}
            resolution = (windows.grid[0], windows.grid[1]) if v.ndim == 4 else resolution
    return Finding(maps, resolution=resolution, facts=facts)


def _falls(
    f: Score, x: Tensors, name: str, windows: Windows, covered: Covering, base: Tensor
) -> tuple[Tensor, dict[str, Any]]:
    v = x[name]
    falls = torch.zeros_like(v if v.ndim == 2 else _one_channel(v, windows))
    count = torch.zeros_like(falls[:1])
    edited = under_edits(f, x, _covers(x, name, windows, covered), base)
    for i, score in edited.scores:
        here = windows.index(falls, i)
        falls[here] += per_sample(base - score, falls)
        count[here] += 1
    return falls / count.clamp(min=1), edited.facts


def _covers(x: Tensors, name: str, windows: Windows, covered: Covering) -> Edits:
    """The covered inputs, and where each differs from the input."""
    v = x[name]

    def content(i: int, sample: int, box: Box) -> Tensor:
        return covered.part(windows.index(v, i), sample, box)

    def box(i: int, _sample: int) -> Box:
        rows, columns = windows.places[i]
        return rows, columns

    wholes = Variations(len(windows.places), lambda i: {**x, name: covered(windows.index(v, i))})
    if len(windows.axes) != 2:
        return Edits(wholes, why_not="the input is no picture")
    return Edits(wholes, name, box, content)


def _one_channel(v: Tensor, windows: Windows) -> Tensor:
    """A view that keeps the axes that windows slide over, and the samples."""
    return v[tuple(slice(None) if a == 0 or a in windows.axes else slice(0, 1) for a in range(v.ndim))]


def _windows(f: Score, name: str, v: Tensor, window: int | None, stride: int | None) -> Windows:
    if v.ndim == 1:
        raise BadOption(f"Input {name!r} is one number a sample: there is no part of it to cover.", "Give it an axis.")
    axes = (1,) if name in f.positions or v.ndim == 2 else tuple(range(2, v.ndim))
    side = min(v.shape[a] for a in axes)
    size = window or max(1, round(side / 7))
    if size > max(v.shape[a] for a in axes):
        raise BadOption(f"window={size} is larger than input {name!r}, {tuple(v.shape)}.", "Choose a smaller window.")
    return sliding(v, axes, size, stride or max(1, size // 2))


def reference(
    f: Score,
    x: Tensors,
    *,
    window: int | None = None,
    stride: int | None = None,
    fill: Fill = "constant",
    value: float = 0.0,
) -> Tensors:
    """The definition, place by place: the mean fall over the windows that cover it."""
    (name, v), base = next(iter(x.items())), f(x)
    windows = _windows(f, name, v, window, stride)
    covered = covering(v, windows.axes, fill, value)
    falls = [base - f({**x, name: covered(windows.index(v, i))}) for i in range(len(windows.places))]
    out = torch.zeros_like(v if v.ndim == 2 else _one_channel(v, windows))
    flat = torch.arange(out[0].numel()).view(out[0].shape)
    for place in range(out[0].numel()):
        over = [d for i, d in enumerate(falls) if bool((flat[windows.index(out, i)[1:]] == place).any())]
        if over:
            out.flatten(1)[:, place] = torch.stack(over).mean(0)
    return {name: out}
