"""Expanded weights as tiles: for each channel, the kernels of the inputs that raise and that lower it most."""

from __future__ import annotations

import numpy as np

from pellucid.dream.circuits import Expansion
from pellucid.views.arrays import Array
from pellucid.views.maps import origin_table, warnings_of
from pellucid.views.number import count, signed_number
from pellucid.views.view import Columns, Fold, Heading, Heat, Stack, Table, Text, View

TILES, MOST_CHANNELS, STILL = 6, 18, 4
_HOW = {
    "straight": "Activations in between are taken as straight lines: these are the weights alone, on no data.",
    "data": "Activations in between have their mean slope over the samples, each at one place.",
}


def circuits_view(found: Expansion, *, still: bool = False) -> View:
    """The report on expanded weights; `still` is what fits on one picture."""
    inputs, (h, w) = found.kernel.shape[1], found.kernel.shape[2:]
    lead = (
        f"How {count(inputs, 'channel')} at {found.source} act on {found.target}, as {h}×{w} kernels. "
        f"{_HOW[found.through]}"
    )
    shown = found.channels[: STILL if still else MOST_CHANNELS]
    more = len(found.channels) - len(shown)
    tail = (Text(f"{count(more, 'channel')} more are in the file.", "quiet"),) if more else ()
    head = (
        Heading(f"Circuits of {found.origin.network}: {found.source} to {found.target}", 1),
        Text(lead, "lead"), *_warnings(found), *warnings_of(found.origin),
        Text("Red raises the channel, blue lowers it, for each unit of the input channel at that place.", "quiet"),
    )  # fmt: skip
    body = Columns(tuple(_channel(found, c) for c in shown))
    if still:
        return Stack((*head, body, *tail))
    origin = origin_table(found.origin, _facts(found))
    return Stack(
        (*head, body, *tail, Fold("In numbers", _numbers(found, shown)), Fold("Where this comes from", origin))
    )


def _warnings(found: Expansion) -> tuple[View, ...]:
    said = []
    if found.cut:
        said.append("The kernels reach over the edge of the source's map and are cut there: take a larger input.")
    if found.without_rule:
        names = ", ".join(found.without_rule)
        said.append(f"Neither linear nor taken as straight, so that the slope at one input stands for them: {names}.")
    return tuple(Text(text, "warning") for text in said)


def _facts(found: Expansion) -> tuple[tuple[str, str], ...]:
    (sy, sx), (oy, ox) = found.stride, found.offset
    return (("source", found.source), ("stride", f"{sy}×{sx}"), ("offset", f"{oy}, {ox}"))


def _channel(found: Expansion, channel: int) -> View:
    """The kernels of a channel: all where there are few, else those that raise it most, and those that lower it."""
    kernel = found.kernel[found.channels.index(channel)].double().numpy()
    title = f"Channel {channel}"
    if not kernel.any():
        return Text(f"{title}: no input acts on it.")
    up, down = found.strongest(channel, TILES)
    few = len(kernel) <= TILES
    rows = [kernel] if few else [kernel[[i for i, _ in up]], kernel[[i for i, _ in down]]]
    reach = max(float(np.abs(k).max()) for k in rows if k.size)
    caption = (
        f"From left to right the input channels 0 to {len(kernel) - 1}."
        if few
        else f"Above, what raises it most: {_listed(up)}. Below, what lowers it most: {_listed(down)}."
    )
    values = np.concatenate([_row(k, min(TILES, len(kernel)), kernel.shape[1:]) for k in rows])[:-1]
    return Heat(values, (-reach, reach), True, title, caption, alt=f"{title}: {caption}", smooth=False)


def _row(kernels: Array, places: int, size: tuple[int, ...]) -> Array:
    """Kernels side by side, with gaps between them and below."""
    h, w = size
    out = np.full((h + 1, places * (w + 1) - 1), np.nan)
    for i, k in enumerate(kernels):
        out[:h, i * (w + 1) : i * (w + 1) + w] = k
    return out


def _listed(pairs: tuple[tuple[int, float], ...]) -> str:
    return ", ".join(f"{i} ({signed_number(v)})" for i, v in pairs) or "nothing"


def _numbers(found: Expansion, channels: tuple[int, ...]) -> Table:
    strongest = {c: found.strongest(c, TILES) for c in channels}
    rows = tuple((c, _listed(up), _listed(down)) for c, (up, down) in strongest.items())
    caption = "Sums of the positive and of the negative weights of each kernel"
    return Table(("channel", "raised most by input", "lowered most by input"), rows, caption)
