"""One input's map as a View: a picture, a volume, a series, a text, a table, or numbers about anything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from pellucid.core.explanation import Explanation
from pellucid.views.heat import heat_of, limits_of, statement
from pellucid.views.number import number, signed_number
from pellucid.views.picture import SIDE, cells_of, flat_map, grey_of, map_of, photo_of, reduction_words
from pellucid.views.view import (
    Bar,
    Bars,
    Columns,
    Curve,
    Fold,
    Heat,
    Photo,
    Series,
    Stack,
    Table,
    Text,
    Tokens,
    View,
)  # fmt: skip

SMALL = 128
MOST_TOKENS, MOST_BARS, MOST_LINES, MOST_POINTS = 512, 24, 4, 2000


def input_view(explanation: Explanation, name: str, sample: int, cells: bool = False) -> View:
    """The map of one input and sample, with the input itself.  `cells` draws a coarse map as its true cells."""
    x, values = explanation.explained[name][sample], explanation.maps[name][sample]
    laid = laid_over(explanation, name, sample)
    if laid is not None:
        return _at_a_site(explanation, laid, len(values) if values.ndim == 3 else values.shape[-1], sample, cells)
    words = _words_of(explanation, name)
    if words:
        return _text(explanation, name, words, sample)
    if x.ndim == 3:
        return _picture(explanation, x, values, cells)
    if x.ndim == 4:
        return _volume(explanation, values)
    if x.ndim == 2:
        return _series(explanation, x, values)
    if x.ndim == 1 and values.ndim == 1:
        return _columns(explanation, x, values)
    return statistics(values)


def thumbnail(explanation: Explanation, sample: int, side: int = SMALL) -> View | None:
    """The first picture's map of one sample, small, over its photo; None when no input is a picture."""
    for name, values in explanation.maps.items():
        laid = laid_over(explanation, name, sample)
        if laid is not None:
            return _over(laid, photo_of(laid.net, next(iter(laid.x.values()))[0], side), laid.maps[name][0], side)
        x = explanation.explained[name]
        if x.ndim == 4 and x.is_floating_point():
            photo = photo_of(explanation.net, x[sample], side)
            return _over(explanation, photo, values[sample], side)
    return None


def laid_over(explanation: Explanation, name: str, sample: int) -> Explanation | None:
    """One sample of an inner site's map at the size of the picture that its places lie over; None when over none.

    The channels are summed, or the largest is taken, before the map is enlarged.
    """
    picture, grid = explanation.facts.get("drawn over"), explanation.facts.get("grid")
    if not explanation.at or picture is None or grid is None:
        return None
    x, values = explanation.x[picture][sample : sample + 1], explanation.maps[name][sample]
    if values.ndim == 2:  # tokens; those before the patches' stand for no place
        values = values[-math.prod(grid) :].T.reshape(-1, *grid)
    flat = flat_map(values, explanation.signed)[None, None]
    large = torch.nn.functional.interpolate(flat, x.shape[-2:], mode="bilinear", align_corners=False)
    return replace(explanation, x={picture: x}, maps={name: large}, resolution=(flat.shape[2], flat.shape[3]))


def _at_a_site(explanation: Explanation, laid: Explanation, channels: int, sample: int, cells: bool) -> View:
    (x,), (values,) = laid.x.values(), laid.maps.values()
    shape = "×".join(map(str, next(iter(explanation.inner.values()))[sample].shape))
    note = f"The map is of the value at {explanation.at}, {shape}. {reduction_words(channels, explanation.signed)}"
    return Stack((_picture(laid, x[0], values[0], cells), Text(note.strip(), "quiet")))


def _words_of(explanation: Explanation, name: str) -> str:
    """The input of whole numbers whose words a map speaks of, or ''."""
    if not explanation.at:
        return "" if explanation.x[name].is_floating_point() else name
    value = explanation.inner[name]
    texts = (k for k, v in explanation.x.items() if not v.is_floating_point() and v.shape == value.shape[:2])
    return next(texts, "") if value.ndim == 3 else ""


def _over(explanation: Explanation, photo: Photo, values: Tensor, side: int) -> Heat:
    flat = map_of(flat_map(values, explanation.signed), side)
    true = explanation.resolution or (values.shape[-2], values.shape[-1])
    return heat_of(flat, explanation.signed, title="The map over the picture", underlay=grey_of(photo), resolution=true)


def _picture(explanation: Explanation, x: Tensor, values: Tensor, cells: bool) -> View:
    signed, photo = explanation.signed, photo_of(explanation.net, x)
    over = _over(explanation, photo, values, SIDE)
    true = over.resolution or (values.shape[-2], values.shape[-1])
    coarse = explanation.resolution is not None and explanation.resolution != tuple(values.shape[-2:])
    flat = cells_of(flat_map(values, signed), true) if coarse and cells else map_of(flat_map(values, signed))
    bare = heat_of(
        flat, signed, title="The map alone", caption=reduction_words(len(values), signed), resolution=true,
        limits=over.limits, outlined=False, said="Same colors and limits.",
    )  # fmt: skip
    panels = Columns((photo, over, bare))
    if not coarse or cells:
        return panels
    title = f"The same map as its true {true[0]}×{true[1]} cells"
    small = heat_of(
        cells_of(flat_map(values, signed), true), signed, title="True cells", resolution=true, limits=over.limits,
        outlined=False, said="Same colors and limits.",
    )  # fmt: skip
    note = Text("Each cell has its mean value. Rest the pointer on a cell to read it.", "quiet")
    return Stack((panels, Fold(title, Columns((small, note)))))


def _volume(explanation: Explanation, values: Tensor) -> View:
    """Three slices through the middle, on one scale."""
    flat = flat_map(values, explanation.signed)
    limits = limits_of(flat.numpy(), explanation.signed)
    heats = []
    for axis, across in enumerate(("depth", "height", "width")):
        at = flat.shape[axis] // 2
        heats.append(
            heat_of(
                map_of(flat.select(axis, at)),
                explanation.signed,
                title=f"Middle slice across {across} ({at})",
                limits=limits,
                outlined=False,
            )
        )
    note = f"A volume of {'×'.join(map(str, flat.shape))}; the slices share one scale. "
    return Stack((Columns(tuple(heats)), Text(note + reduction_words(len(values), explanation.signed), "quiet")))


def _time_first(explanation: Explanation) -> bool:
    """A series is [channels, time] for networks with an nn.Conv1d, else [time, features]."""
    net = explanation.net
    return net is None or not any(isinstance(m, nn.Conv1d) for m in net.model.modules())


def _series(explanation: Explanation, x: Tensor, values: Tensor) -> View:
    """The series as curves, and the map as a strip under them."""
    if _time_first(explanation):
        x, values = x.T, values.T
    x = x.detach().cpu().double()
    flat = flat_map(values, explanation.signed)
    step = -(-x.shape[1] // MOST_POINTS)
    at = torch.arange(0, x.shape[1], step).double().numpy()
    lines = tuple(Series(f"channel {i}", at, channel[::step].numpy()) for i, channel in enumerate(x[:MOST_LINES]))
    more = f" The first {MOST_LINES} of {len(x)} channels are drawn." if len(x) > MOST_LINES else ""
    caption = reduction_words(len(values), explanation.signed)
    strip = heat_of(
        _shorter(flat)[None].numpy(), explanation.signed, title="The map along time", caption=caption, outlined=False,
        what="steps", resolution=(1, len(flat)), alt=f"Heat strip over {len(flat)} steps.",
    )  # fmt: skip
    return Stack((Curve(lines, "step", "value", f"What the network saw.{more}", "The input series."), strip))


def _shorter(flat: Tensor) -> Tensor:
    """A strip of at most as many cells as can be seen, averaged."""
    return torch.nn.functional.adaptive_avg_pool1d(flat[None], 1000)[0] if len(flat) > 1000 else flat


def _columns(explanation: Explanation, x: Tensor, values: Tensor) -> View:
    """A table's row: the columns with the largest values as bars, with what the network saw in each."""
    values, x = values.detach().cpu().double(), x.detach().cpu().double()
    order = values.abs().argsort(descending=True, stable=True)[:MOST_BARS].tolist()
    names = tuple(map(str, explanation.facts.get("columns", ())))
    bars = tuple(Bar(f"{_named(names, i)} = {number(float(x[i]))}", float(values[i])) for i in order)
    left_out = f", the strongest {MOST_BARS} of {len(values)}" if len(values) > MOST_BARS else ""
    said = "How steeply the score climbs with each column" if explanation.slopes else "What each column contributes"
    return Bars(bars, f"{said}{left_out}", limits_of(values.numpy(), explanation.signed))


def _named(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else f"column {index}"


def _text(explanation: Explanation, name: str, words_of: str, sample: int) -> View:
    """The words on their colors, and as a table."""
    flat = flat_map(explanation.maps[name][sample].movedim(-1, 0), explanation.signed).flatten()
    ids = explanation.x[words_of][sample].flatten().tolist()
    words = explanation.facts.get("tokens", ())
    words = words[sample] if words and not isinstance(words[0], str) else words
    tokens = tuple(str(words[i]) if i < len(words) else str(t) for i, t in enumerate(ids))[:MOST_TOKENS]
    values = tuple(flat.tolist())[:MOST_TOKENS]
    limits = limits_of(flat.numpy(), explanation.signed)
    said = statement(flat.numpy(), limits, explanation.signed, "tokens")
    left_out = f" The first {MOST_TOKENS} of {len(ids)} tokens are shown." if len(ids) > MOST_TOKENS else ""
    width = explanation.maps[name].shape[-1]
    caption = reduction_words(width, explanation.signed).replace("channels", "embedding values")
    rows = tuple((i, t, v) for i, (t, v) in enumerate(zip(tokens, values, strict=True)))
    table = Table(("place", "token", "value"), rows)
    view = Tokens(tokens, values, limits, explanation.signed, caption + left_out, said)
    return Stack((view, Fold("All values as a table", table)))


def statistics(values: Tensor) -> Table:
    """What can be said of a map that has no picture."""
    flat = values.detach().cpu().double().flatten()
    rows = (
        ("shape", "×".join(map(str, values.shape)) or "one number"),
        ("smallest", signed_number(float(flat.min()))),
        ("mean", signed_number(float(flat.mean()))),
        ("largest", signed_number(float(flat.max()))),
        ("sum", signed_number(float(flat.sum()))),
        ("sum of |a|", number(float(flat.abs().sum()))),
    )
    return Table(("", "value"), rows, "The map in numbers")
