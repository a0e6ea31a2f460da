"""First-layer filters as a contact sheet, and channels over the course of training."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.dream.evolution import Evolution
from pellucid.dream.filters import Filters
from pellucid.views.arrays import Array
from pellucid.views.number import count, number
from pellucid.views.patches import tile_of
from pellucid.views.tiles import Tile, Tiles
from pellucid.views.view import Fold, Heading, Stack, Table, Text, View

MOST_CHANNELS = 4  # of a filter that reads neither one channel nor colors


def filters_view(found: Filters) -> View:
    """The report: every filter, largest first, what is dead, what is double."""
    order = found.norms.argsort(descending=True, stable=True).tolist()
    shape = "×".join(map(str, found.weights.shape[2:]))
    unit = "Colors are those of the picture" if found.colors else "Values are those of the network's input"
    lead = f"{count(len(order), 'filter')} of {shape}, the strongest first."
    how = f"{unit}, around grey, each filter scaled by its own largest weight; the number below it is its length."
    channels = found.weights.shape[1]
    if channels not in (1, 3) and found.weights.ndim > 3:
        how += f" Input channels stand one under another, the first {min(MOST_CHANNELS, channels)} of {channels}."
    tiles = Tiles(tuple(_tile(found, i) for i in order), caption=how, side=56.0, exact=True)
    said = [Text(text, "warning") for text in _said(found)]
    pairs = Table(("filter", "filter", "cosine"), found.duplicates)
    folds = (Fold(f"Duplicates ({len(found.duplicates)})", pairs),) if found.duplicates else ()
    title = Heading(f"The filters of {found.site} in {found.network}", 1)
    return Stack((title, Text(lead, "lead"), *said, tiles, *folds, Text(f"Network {found.fingerprint[:12]}.", "quiet")))


def _said(found: Filters) -> list[str]:
    said: list[str] = []
    if found.dead:
        few = ", ".join(map(str, found.dead[:20]))
        said.append(f"Dead, less than a thousandth as long as the longest: {few}.")
    if found.duplicates:
        i, j, cosine = found.duplicates[0]
        more = f" (cosine {number(cosine, 4)})"
        said.append(f"{count(len(found.duplicates), 'pair')} of filters alike but for scale or sign: {i}, {j}{more}.")
    return said


def _tile(found: Filters, i: int) -> Tile:
    w = found.weights[i]
    pixels = _pictures(w / (float(w.abs().max()) or 1.0))
    return Tile(pixels[0], str(i), number(float(found.norms[i])), f"Filter {i}.", tuple(pixels[1:]))


def _pictures(w: Tensor) -> list[Array]:
    """A filter in -1..1 as pictures: a color one, a grey one for each channel, of one axis its channels as rows."""
    w = w[:, w.shape[1] // 2] if w.ndim == 4 else w[None] if w.ndim == 2 else w
    parts = [w] if len(w) == 3 else [c[None] for c in w[:MOST_CHANNELS]]
    grey = [(p.expand(3, -1, -1) * 127.5 + 127.5).round().to(torch.uint8) for p in parts]
    return [g.permute(1, 2, 0).contiguous().numpy() for g in grey]


def evolution_view(found: Evolution) -> View:
    """One row of tiles for each channel, one column for each checkpoint."""
    first = found.columns[0]
    rows: list[View] = []
    for row, channel in enumerate(found.channels):
        tiles = [
            tile for label, column in zip(found.labels, found.columns, strict=True)
            if (tile := tile_of(column.top[row][0], label)) is not None
        ]  # fmt: skip
        maxima = ", ".join(number(float(c.maxima[row])) for c in found.columns)
        largest = Text(f"Channel {channel}: largest activation {maxima}.", "quiet")
        rows.append(Tiles(tuple(tiles), f"Channel {channel}", "", 88.0) if tiles else largest)
    lead = (
        f"Each row is a channel of {first.site}: its strongest patch among {count(first.seen, 'sample')} at each of "
        f"{count(len(found.labels), 'checkpoint')}, with what in it excited the channel then. The number is the "
        "activation, in the network's own unit at that time."
    )
    return Stack((Heading(f"How {first.site} came to be", 1), Text(lead, "lead"), *rows))
