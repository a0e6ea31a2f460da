"""The strongest patches of channels as contact sheets, with what in them excited the channel, and the small print."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pellucid.dream.excited.cutting import Patch
from pellucid.dream.patches import Patches
from pellucid.views.arrays import Array
from pellucid.views.heat import limits_of
from pellucid.views.number import count, number, percent
from pellucid.views.picture import pixels_of
from pellucid.views.tiles import Frame, Tile, Tiles
from pellucid.views.view import Curve, Fold, Heading, Series, Stack, Table, Text, View

MOST = 48  # channels that a report shows; the statistics of all are in its table
SIDE = 88.0  # nine to a row
_LINES = ((43, 92, 138), (181, 84, 28), (63, 122, 74), (123, 74, 158))
_TALL, _WIDE = 64, 96  # of a drawn series
_CRITIQUE = (
    "Patterns are drawn by the deconvolution network (Zeiler and Fergus 2014), then by guided backpropagation, each "
    "scaled for itself around grey. Where no max pooling lies below the site, the deconvolution network's pattern is "
    "the same for every picture. Both partly reconstruct the picture, whatever the weights are (Mahendran and "
    "Vedaldi 2016; Nie and others 2018; Adebayo and others 2018): they show strokes that can excite the channel, and "
    "are no proof that it looks for them."
)


def patches_view(found: Patches) -> View:
    """The report: a row of tiles for each channel, its histogram, what was left out, all statistics."""
    rows = [v for i in range(min(MOST, len(found.channels))) for v in (*_channel(found, i), _spread(found, i))]
    return Stack((*_head(found), *rows, *_left_out(found), *_small_print(found)))


def patches_figure(found: Patches) -> View:
    """What fits on one picture: the rows of tiles."""
    rows = [v for i in range(min(MOST, len(found.channels))) for v in _channel(found, i)]
    return Stack((*_head(found), *rows, *_left_out(found)))


def _head(found: Patches) -> list[View]:
    most = max((len(ranks) for ranks in found.top), default=0)
    how = "the largest activation at any place" if found.how == "peak" else "the mean activation over all places"
    cut = {
        "field": "A patch is the receptive field of that place: nothing outside it can change the activation. Where "
        "the field is more than half of the picture, the place is framed.",
        "whole": "The whole sample is shown. The receptive field of the place is framed; where that is more than half "
        "of the sample, the place itself.",
    }["whole" if found.how == "mean" else found.crop]
    has = any(p.pattern is not None for ranks in found.top for p in ranks)
    below = " Below each patch is what in it excited the channel." if has else ""
    return [
        Heading(f"What excites {found.site} in {found.network}", 1),
        Text(
            f"Each row is a channel: {_strongest(most)} among {count(found.seen, 'sample')}, ranked by {how}.{below}",
            "lead",
        ),
        Text(cut),
        *_warnings(found),
    ]


def _strongest(most: int) -> str:
    return "its strongest patch" if most == 1 else f"its {most} strongest patches"


def _warnings(found: Patches) -> list[View]:
    said: list[str] = []
    if found.stopped:
        said.append(f"The pass was stopped: {found.stopped}. What was seen until then is shown.")
    if found.skipped:
        said.append(f"{count(len(found.skipped), 'sample')} could not be read: {found.skipped[0]}")
    if found.dead:
        few = ", ".join(map(str, found.dead[:20])) + (" ..." if len(found.dead) > 20 else "")
        were = "was" if len(found.dead) == 1 else "were"
        said.append(
            f"{len(found.dead)} of {len(found.channels)} channels {were} zero at every place of every sample "
            f"({few}): dead, on these data, so that their patches mean nothing."
        )
    capped = [i for i, ranks in enumerate(found.top) if _capped(found, i, ranks)]
    if capped:
        first, value = found.channels[capped[0]], number(float(found.maxima[capped[0]]))
        said.append(
            f"In {len(capped)} of {len(found.channels)} channels several patches share the largest activation ({value} "
            f"in channel {first}): it is capped there, so that they stand in the order of the data, and guided "
            "backpropagation may send nothing back through the cap. A site before the activation tells them apart."
        )
    if found.without_rule:
        said.append(
            f"The plain gradient flowed through {', '.join(found.without_rule)}: their rules say nothing of it."
        )
    return [Text(text, "warning") for text in said]


def _capped(found: Patches, row: int, ranks: tuple[Patch, ...]) -> bool:
    most, least = float(found.maxima[row]), float(found.values.least[row])
    return found.how == "peak" and least < most and [p.value for p in ranks].count(most) > 1


def _channel(found: Patches, row: int) -> list[View]:
    """A channel's rows: the strongest, and the weakest where these were asked for."""
    name = f"Channel {found.channels[row]}"
    zeros = float(found.zeros[row])
    said = (
        f"Mean {number(float(found.mean[row]))}, standard deviation {number(float(found.spread[row]))}, "
        f"largest {number(float(found.maxima[row]))}"
    )
    said += f"; zero at {percent(zeros)} of all places." if zeros else "."
    views = [_sheet(found, found.top[row], name, said)]
    if found.bottom[row]:
        views.append(_sheet(found, found.bottom[row], f"{name}, weakest", ""))
    return views


def _sheet(found: Patches, ranks: tuple[Patch, ...], title: str, said: str) -> View:
    tiles = [tile for p in ranks if (tile := tile_of(p)) is not None]
    if len(tiles) == len(ranks):
        return Tiles(tuple(tiles), title, said, SIDE)
    rows = tuple((p.value, p.name, ", ".join(map(str, p.position)) or "–", _words(p.crop)) for p in ranks)
    table = Table(("activation", "sample", "place", "what is there"), rows, title)
    return Stack((table, Text(said, "quiet"))) if said else table


def _words(crop: Tensor) -> str:
    few = [number(float(v)) for v in crop.flatten()[:8]]
    return ", ".join(few) + (" ..." if crop.numel() > 8 else "")


def tile_of(p: Patch, title: str = "") -> Tile | None:
    """A patch as a small picture, titled with its activation; None for what cannot be drawn: rows of a table, words.

    With a title of its own the activation goes into the line.
    """
    drawn = _drawn(p, p.crop)
    if drawn is None:
        return None
    below = tuple(v for v in (_pattern(p, p.pattern), _pattern(p, p.guided)) if v is not None)
    where = ", ".join(f"{start} to {stop}" for start, stop in p.field)
    alt = f"Patch of {p.name}, pixels {where}: activation {number(p.value)}."
    name = p.name.rsplit("/", 1)[-1]
    line = f"{number(p.value)} {name}" if title else name
    return Tile(drawn, title or number(p.value), line, alt, below, _frame(p, drawn))


def _drawn(p: Patch, crop: Tensor) -> Array | None:
    if len(p.part) == 2 and crop.ndim == 3:
        if crop.dtype == torch.uint8:
            return np.ascontiguousarray(crop.expand(3, -1, -1).permute(1, 2, 0).numpy())
        return pixels_of(None, crop, crop)
    if len(p.part) == 3 and crop.ndim == 4:
        middle = crop[:, _slice(p)]
        return pixels_of(None, middle, crop.flatten(2))
    if len(p.part) == 1 and crop.ndim == 2 and crop.is_floating_point():
        return _series(crop if crop.shape[1] == p.part[0][1] - p.part[0][0] else crop.T)
    return None


def _slice(p: Patch) -> int:
    """Which slice of a volume is shown: the one through the place."""
    start, stop = p.part[0]
    first, last = p.field[0] if p.mark is None else p.mark[0]
    return min(max((first + last) // 2 - start, 0), stop - start - 1)


def _pattern(p: Patch, pattern: Tensor | None) -> Array | None:
    """A pattern around middle grey, scaled to its own 99.5th percentile."""
    if pattern is None:
        return None
    reach = limits_of(pattern.numpy(), signed=True)[1] or 1.0
    if len(p.part) == 1:
        return _drawn(p, pattern)
    grey = pattern if len(pattern) == 3 else pattern.sum(0, keepdim=True)
    reach = reach if len(pattern) == 3 else limits_of(grey.numpy(), signed=True)[1] or 1.0
    return _drawn(p, ((grey / reach).clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8))


def _frame(p: Patch, drawn: Array) -> Frame | None:
    """The mark in pixels of the drawn picture."""
    if p.mark is None or len(p.part) < 2:
        return None
    scale = [n / (stop - start) for n, (start, stop) in zip(drawn.shape[:2], p.part[-2:], strict=True)]
    (top, bottom), (left, right) = p.mark[-2:]
    (y, _), (x, _) = p.part[-2:]
    return ((left - x) * scale[1], (top - y) * scale[0], (right - x) * scale[1], (bottom - y) * scale[0])


def _series(lines: Tensor) -> Array:
    """The first four channels of a series as lines on white."""
    pixels = np.full((_TALL, _WIDE, 3), 255, np.uint8)
    shown = torch.nn.functional.interpolate(lines[None, :4].float(), _WIDE, mode="linear", align_corners=True)[0]
    low, high = float(shown.min()), float(shown.max())
    rows = ((high - shown) / ((high - low) or 1.0) * (_TALL - 3) + 1).round().long()
    for color, line in zip(_LINES, rows.tolist(), strict=False):
        for x, (a, b) in enumerate(zip(line, [*line[1:], line[-1]], strict=True)):
            pixels[min(a, b) : max(a, b) + 1, x] = color
    return pixels


def _spread(found: Patches, row: int) -> View:
    """How often which activation occurred, over its range."""
    counts = found.histogram.counts[row].double().numpy()
    edges = found.histogram.edges(row).numpy()
    used = np.flatnonzero(counts)
    first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
    middles = ((edges[1:] + edges[:-1]) / 2)[first:last]
    series = Series(f"channel {found.channels[row]}", middles, np.log10(counts[first:last] + 1))
    width = number(float(found.histogram.width[row]))
    caption = f"All places of all samples, counted in bins of {width}; the counts are exact."
    curve = Curve((series,), "activation", "log10(1 + count)", caption, "How often which activation occurred.")
    return Fold(f"How channel {found.channels[row]} is distributed", curve)


def _left_out(found: Patches) -> list[View]:
    more = len(found.channels) - MOST
    return [Text(f"{count(more, 'channel')} more in the result but not shown.", "quiet")] if more > 0 else []


def _small_print(found: Patches) -> list[View]:
    columns = ("channel", "mean", "standard deviation", "least", "largest", "zero", "largest of the means")
    numbers = (found.mean, found.spread, found.values.least, found.maxima, found.zeros, found.means.greatest)
    rows = tuple((c, *(float(v[i]) for v in numbers)) for i, c in enumerate(found.channels))
    folds: list[View] = [Fold("All channels in numbers", Table(columns, rows))]
    if found.skipped:
        table = Table(("sample that could not be read",), tuple((why,) for why in found.skipped))
        folds.append(Fold(f"Samples left out ({len(found.skipped)})", table))
    if any(p.pattern is not None for ranks in found.top for p in ranks):
        folds.append(Fold("How to read the patterns", Text(_CRITIQUE)))
    cost = found.cost
    spent = f"{count(cost.forwards, 'forward pass')}, {count(cost.backwards, 'backward pass')} of one sample each."
    return [*folds, Text(f"Network {found.fingerprint[:12]}; {spent}", "quiet")]
