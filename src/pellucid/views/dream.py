"""A dream as a report: what was asked, the pictures with their scores, the curves, how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from torch import Tensor

from pellucid.checks.dreams.belief import belief
from pellucid.dream.dream import Dream
from pellucid.dream.recipe import Recipe, knobs
from pellucid.views.arrays import Array
from pellucid.views.dream_trust import dream_trust_view
from pellucid.views.number import count, number, seconds
from pellucid.views.tiles import Tile, Tiles
from pellucid.views.view import Curve, Fold, Heading, Heat, Series, Stack, Table, Text, View

CURVES = 6  # lines that can be told apart
SIDE = {1: 288.0, 2: 224.0, 4: 176.0}  # points, by how many pictures there are at most; more are smaller
_TITLES = {
    "maximize": "What {network} looks for",
    "invert": "What {network} kept of a picture",
    "caricature": "What {network} makes most of in a picture",
    "style": "The texture that {network} sees in a picture",
    "nudge": "What it would take for {network}",
    "deepdream": "What {network} sees more and more of",
    "fool": "A change that fools {network}",
}
_LEADS = {
    "maximize": "Each picture was drawn step by step so that its target in {network} rose as far as it would. It is "
    "the far end of what excites that part, not what it meets every day.",
    "invert": "Each picture was drawn until one layer took it for the same as the real one beside it: what differs is "
    "what the layer had forgotten.",
    "caricature": "Each picture goes as far as it can towards what one layer found in the real one beside it.",
    "style": "Each picture has the texture of the real one beside it: which channels go together, wherever they are.",
    "nudge": "Each real picture was changed a little, in ways that can be seen, until its target rose.",
    "deepdream": "Each real picture holds more and more of what one layer saw in it.",
    "fool": "The change is made for the network, and explains nothing: it shows how little it takes.",
}


def dream_view(dream: Dream) -> View:
    """The whole report."""
    return Stack(
        (
            *_head(dream),
            *pictures(dream),
            *_trust(dream),
            *_curves(dream),
            Fold("How it was made", Stack((_recipe(dream.recipe), Text(made(dream), "quiet")))),
        )
    )


def dream_figure(dream: Dream) -> View:
    """The part that fits on one picture: a contact sheet."""
    return Stack((*_head(dream), *pictures(dream), Text(made(dream), "quiet")))


def _head(dream: Dream) -> tuple[View, ...]:
    stopped = f" Stopped {dream.stopped}: it is unfinished." if dream.stopped else ""
    return (
        Heading(_TITLES.get(dream.what, "A dream of {network}").format(network=dream.network), 1),
        Text(_LEADS.get(dream.what, "").format(network=dream.network), "lead"),
        *((Text(stopped.strip(), "warning"),) if stopped else ()),
        *(Text(note, "warning") for note in dream.notes),
    )


def _trust(dream: Dream) -> tuple[View, ...]:
    """The trust card of each picture: at once for one, else behind its name."""
    if len(dream.checks) == 1:
        return (dream_trust_view(dream.checks[0]),)
    return tuple(
        Fold(f"{words}: {belief(checks).word.lower()}", dream_trust_view(checks))
        for words, checks in zip(dream.words, dream.checks, strict=False)
    )


def pictures(dream: Dream) -> tuple[View, ...]:
    """The pictures as tiles, each above the real one it belongs to; signals as curves, volumes by one slice."""
    if not dream.canvas.size:
        return (_row_values(dream),)
    if len(dream.canvas.size) == 1:
        return tuple(_signal(dream, i) for i in range(len(dream.pictures)))
    side = next((s for most, s in SIDE.items() if len(dream.pictures) <= most), 112.0)
    tiles = tuple(_tile(dream, i) for i in range(len(dream.pictures)))
    caption = "" if len(dream.canvas.size) == 2 else "The middle slice of each volume."
    return (Tiles(tiles, caption=caption, side=side),)


def _row_values(dream: Dream) -> View:
    """The rows of a table that were dreamed, a column a picture."""
    x = dream.x[dream.canvas.input].detach().cpu().float()
    names = [f"{words} ({i + 1})" if dream.words.count(words) > 1 else words for i, words in enumerate(dream.words)]
    rows = tuple((f"value {i}", *column) for i, column in enumerate(x.T.tolist()))
    return Table(("", *names), (("score", *dream.scores), *rows))


def _tile(dream: Dream, i: int) -> Tile:
    real = () if dream.seen_with is None else (colors(dream.seen_with[i]),)
    started = _start(dream, i)
    word = f"{belief(dream.checks[i]).word}. " if dream.checks else ""
    rose = "" if started is None else f", from {number(started)} at the start"
    line = f"{word}Score {number(dream.scores[i])}{rose}"
    alt = f"A picture dreamed for {dream.words[i]}" + (", above the real picture." if real else ".")
    drawn = dream.pictures[i]
    if dream.opacity is not None:
        drawn = drawn * dream.opacity[i] + (1 - dream.opacity[i])  # over white
    return Tile(colors(drawn), dream.words[i], line, alt, below=real)


def _start(dream: Dream, i: int) -> float | None:
    return float(dream.state.scores[0, i]) if len(dream.state.scores) else None


def colors(picture: Tensor) -> Array:
    """`[channels, *size]` in 0..1 as uint8 `[height, width, 3]`: grey unless there are three channels."""
    p = picture.detach().cpu().float()
    while p.ndim > 3:
        p = p[:, p.shape[1] // 2]
    p = p if len(p) == 3 else p.mean(0, keepdim=True).expand(3, -1, -1)
    out: Array = (p.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return out


def _signal(dream: Dream, i: int) -> View:
    x, line = _fed(dream, dream.pictures, i), f"{dream.words[i]}: score {number(dream.scores[i])}"
    if len(x) > CURVES:
        top = float(abs(x).max()) or 1.0
        return Heat(x, (-top, top), signed=True, title=line, caption="Channels (down) over time.", smooth=False)
    names = [f"channel {c}" for c in range(len(x))] if len(x) > 1 else [dream.words[i]]
    lines = [Series(n, np.arange(len(v)), v) for n, v in zip(names, x, strict=True)]
    if dream.seen_with is not None and 2 * len(x) <= CURVES:
        real = _fed(dream, dream.seen_with, i)
        lines += [Series(f"{n}, real", np.arange(len(v)), v) for n, v in zip(names, real, strict=True)]
    return Curve(tuple(lines), "time", "value", line)


def _fed(dream: Dream, drawn: Tensor, i: int) -> Array:
    """One input as the network takes it."""
    out: Array = dream.canvas.fed(drawn)[dream.canvas.input][i].detach().cpu().float().numpy()
    return out


def _curves(dream: Dream) -> tuple[View, ...]:
    curve = dream.state.scores
    if len(curve) < 2:
        return ()
    steps = np.arange(1, len(curve) + 1)
    shown = range(min(CURVES, curve.shape[1]))
    lines = tuple(Series(dream.words[i], steps, curve[:, i].numpy()) for i in shown)
    more = f" The first {CURVES} of {curve.shape[1]}." if curve.shape[1] > CURVES else ""
    caption = f"The score at each step, through a new small move each time, so never quite the picture's.{more}"
    return (Fold("How the scores rose", Curve(_distinct(lines), "step", "score", caption)),)


def _distinct(lines: Sequence[Series]) -> tuple[Series, ...]:
    names = [line.name for line in lines]
    return tuple(
        Series(f"{line.name} ({i + 1})" if names.count(line.name) > 1 else line.name, line.x, line.y)
        for i, line in enumerate(lines)
    )


def _recipe(recipe: Recipe) -> View:
    told = {o.name: o for o in knobs()}
    rows = tuple((f.name, str(getattr(recipe, f.name)), told[f.name].doc) for f in fields(recipe))
    return Table(("knob", "value", "meaning"), rows)


def made(dream: Dream) -> str:
    """Where it came from, in a line."""
    c = dream.cost
    on_the_way = f" {count(dream.state.redirected, 'gradient')} redirected." if dream.state.redirected else ""
    return (
        f"{dream.network}, {dream.fingerprint[:8]}. {dream.state.step} steps, {c.forwards} forward and {c.backwards} "
        f"backward passes, {seconds(c.seconds)}, seed {dream.seed}.{on_the_way} {dream.canvas.source} "
        f"Pellucid {dream.versions.get('pellucid', '?')}, torch {dream.versions.get('torch', '?')}."
    )
