"""A map as marks: cards with the family's color on top, frames around open groups, wires between."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np

from pellucid.architecture.overlay import Thumbnail
from pellucid.architecture.tree import pictured_nodes
from pellucid.render.colormap import colors, ink_on
from pellucid.render.columns import GAP, fitting, in_columns, wanted
from pellucid.render.font import shortened, width_of
from pellucid.render.graph.boxes import BAR, PICTURE, ROW, SIDE
from pellucid.render.graph.layered import Placed, Rect, layout
from pellucid.render.graph.lettering import LINE, TITLE
from pellucid.render.graph.outline import Outline, outline
from pellucid.render.graph.scene import Box as Seen
from pellucid.render.graph.scene import open_first, scene
from pellucid.render.map_key import amount, key, shade, share
from pellucid.render.marks import Box, Drawing, Line, Mark, Pixels, Role, Words, moved, scaled
from pellucid.render.plain import visible
from pellucid.views.arrays import Array
from pellucid.views.graph import Map

SMALL, ARROW = 9.0, 4.0
SMALLEST = 0.8  # of their size, to which words shrink before they are shortened
BUDGET = 60


def network(view: Map, columns: int | None = None, room: float | None = None) -> Drawing:
    """The map at its natural size, in `columns`, or as many as fit the `room`; by default as a whole in landscape."""
    placed = _placed(view)
    count = columns or (wanted if room is None else partial(fitting, room=room))(placed.width, placed.height)
    pictures = _pictures(view)
    runs = outline(view.graph).run if view.measure is not None else {}
    marks = [
        *_frames(placed),
        *_wires(placed),
        *_titles(placed),
        *(
            m
            for seen, at in zip(placed.scene.boxes, placed.boxes, strict=True)
            for m in _card(view, seen, at, pictures, runs)
        ),
        *_far(placed),
    ]
    tall = Drawing(placed.width, placed.height, tuple(marks))
    return in_columns(tall, count, _whole(placed), _named(placed)) if count > 1 else tall


def fitted(view: Map, width: float) -> Drawing:
    """The map with the key to its colors above, in columns that fit, made smaller where even one is too wide."""
    drawing = network(view, room=width)
    by = min(1.0, width / drawing.width)
    marks = drawing.marks if by == 1.0 else tuple(scaled(m, by) for m in drawing.marks)
    legend = key(view, width)
    top = legend.height + 12 if legend.marks else 0.0
    shift = max(0.0, (width - drawing.width * by) / 2)
    placed = tuple(moved(m, shift, top) for m in marks)
    return Drawing(width, drawing.height * by + top, (*legend.marks, *placed))


def best_width(view: Map) -> float:
    """How wide the map is when the whole of it is seen at once."""
    placed = _placed(view)
    columns = wanted(placed.width, placed.height)
    return columns * (placed.width + GAP) - GAP


def _placed(view: Map) -> Placed:
    tree = outline(view.graph)
    return layout(scene(tree, opened(tree, view.depth), (), tuple(_pictures(view))))


def _whole(placed: Placed) -> list[tuple[float, float]]:
    """What is not cut when a map is broken into columns: cards with what stands beside them, titles of frames."""
    cards = [(at.y - 13, at.y + at.height + 13) for at in placed.boxes]
    return [*cards, *((at.y - 4, at.y + 70) for at in placed.frames[1:])]


def _named(placed: Placed) -> list[tuple[float, float, str]]:
    pairs = zip(placed.scene.frames[1:], placed.frames[1:], strict=True)
    return [(at.y, at.y + at.height, visible(frame.title)) for frame, at in pairs]


def opened(tree: Outline, depth: int | None) -> frozenset[int]:
    """The groups that are open: down to a depth, or those that show most in about sixty boxes."""
    if depth is None:
        return frozenset(open_first(tree, BUDGET))
    return frozenset(g for g, level in enumerate(tree.graph.depths) if level < max(depth, 1))


def _pictures(view: Map) -> dict[int, Thumbnail]:
    """Thumbnails by item of the scene: of operations, and of groups that of what they put out."""
    found: dict[int, Thumbnail] = dict(view.pictures)
    if found:
        groups = pictured_nodes(view.graph, found)
        found.update({~group: found[node] for group, node in enumerate(groups) if node is not None})
    return found


def _frames(placed: Placed) -> Iterator[Mark]:
    for frame, at in zip(placed.scene.frames[1:], placed.frames[1:], strict=True):
        depth = _depth(placed, frame.parent)
        yield Box(at.x, at.y, at.width, at.height, _ground(depth), 8, "line")


def _titles(placed: Placed) -> Iterator[Mark]:
    """The names of frames, on a ground of their own where a wire runs behind them."""
    for frame, at in zip(placed.scene.frames[1:], placed.frames[1:], strict=True):
        title = shortened(visible(frame.title), LINE, at.width - 2 * SIDE)
        yield Box(at.x + SIDE - 2, at.y + 5, width_of(title, LINE, True) + 4, 15, _ground(_depth(placed, frame.parent)))
        yield Words(at.x + SIDE, at.y + 16, title, LINE, "quiet", bold=True)


def _ground(depth: int) -> Role:
    return "page" if depth % 2 else "panel"


def _depth(placed: Placed, frame: int) -> int:
    depth = 0
    while frame > 0:
        frame, depth = placed.scene.frames[frame].parent, depth + 1
    return depth + 1


def _wires(placed: Placed) -> Iterator[Mark]:
    said: set[tuple[int, str]] = set()
    for wire, route in zip(placed.scene.wires, placed.routes, strict=True):
        points = [(route[i], route[i + 1]) for i in range(0, len(route), 2)]
        if wire.far or len(points) < 2:
            continue
        yield Line(tuple(points), "mute", 1.2)
        yield from _head(points)
        text = wire.shape + (f"  ×{wire.count}" if wire.count > 1 else "")
        if text and (wire.source, text) not in said:
            said.add((wire.source, text))
            x, y = points[0]
            yield Words(x + 4, y + 10, visible(text), SMALL, "quiet")


def _head(points: Sequence[tuple[float, float]]) -> Iterator[Mark]:
    """Two short strokes at the end of a wire, along its last stretch."""
    (x0, y0), (x1, y1) = next(((a, b) for a, b in reversed(list(pairwise(points))) if a != b), (points[0], points[-1]))
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    dx, dy = (x1 - x0) / length * ARROW, (y1 - y0) / length * ARROW
    yield Line(
        ((x1 - dx * 1.3 - dy, y1 - dy * 1.3 + dx), (x1, y1), (x1 - dx * 1.3 + dy, y1 - dy * 1.3 - dx)), "mute", 1.2
    )


def _far(placed: Placed) -> Iterator[Mark]:
    """Wires that are not drawn: a stub above what takes the value, with the name of what made it."""
    for wire in placed.scene.wires:
        if wire.far:
            at = placed.boxes[wire.target]
            x = at.x + at.width - SIDE
            yield Line(((x, at.y - 7), (x, at.y)), "mute", 1.2, "2 2")
            name = shortened(visible(placed.scene.boxes[wire.source].title), SMALL, 90)
            yield Words(x - 3, at.y - 3, f"from {name}", SMALL, "quiet", "end")


def _card(
    view: Map, seen: Seen, at: Rect, pictures: dict[int, Thumbnail], runs: Mapping[int, tuple[int, ...]]
) -> Iterator[Mark]:
    members = runs.get(seen.index, ()) if seen.kind == "run" else (seen.index,)
    value = view.measure.together(members, groups=seen.kind != "node") if view.measure is not None else None
    if seen.kind == "run":
        for step in (6.0, 3.0):
            yield Box(at.x + step, at.y + step, at.width, at.height, "panel", 5, "line")
    yield Box(at.x, at.y, at.width, at.height, "panel", 5, "line")
    title_role, bar = _bar(view, seen, at, value)
    yield from bar
    yield _fitted(
        Words(at.x + SIDE, at.y + 15, visible(seen.title), TITLE, title_role, bold=True), at.width - 1.5 * SIDE
    )
    texts = list(seen.lines)
    if view.measure is not None and value is not None:
        said = amount(value, view.measure)
        if texts:
            both = f"{texts[0]} · {said}"
            alone = len(texts) == 1 and width_of(both, LINE) <= at.width - 2 * SIDE
            texts[-1] = both if alone else said
        elif width_of(seen.title, TITLE, True) + width_of(said, LINE) + 3 * SIDE < at.width:
            yield Words(at.x + at.width - SIDE, at.y + 15, said, LINE, title_role, "end")
    for i, text in enumerate(texts):
        y = at.y + BAR + 12 + i * ROW
        yield _fitted(Words(at.x + SIDE, y, visible(text), LINE, "ink" if i == 0 else "quiet"), at.width - 1.5 * SIDE)
    item = seen.index if seen.kind == "node" else ~seen.index
    if seen.pictured and item in pictures:
        yield from _thumbnails(pictures[item], at)


def _fitted(words: Words, room: float) -> Words:
    """Words that were measured in another font, a little smaller where they are too long, then shortened."""
    wide = width_of(words.text, words.size, words.bold)
    if wide <= room:
        return words
    size = words.size * max(room / wide, SMALLEST)
    return replace(words, size=size, text=shortened(words.text, size, room) if room / wide < SMALLEST else words.text)


def _bar(view: Map, seen: Seen, at: Rect, value: float | None) -> tuple[Role, list[Mark]]:
    """The title's bar, in the color of the family or of the measure, and the color of the title on it."""
    bar = (at.x, at.y, at.width, min(float(BAR), at.height))
    if view.measure is None:
        role: Role = seen.family  # type: ignore[assignment]  # every family, and "group", is a role
        flat = [Box(bar[0], bar[1] + 8, bar[2], bar[3] - 8, role)] if at.height > BAR else []
        return "title", [Box(*bar, role, 5), *flat]
    if value is None:
        return "ink", [Box(*bar, "band", 5)]
    pixel = shade(np.array([[share(value, view.measure)]]))
    red, green, blue = (int(v) for v in pixel[0, 0])
    return ("black" if ink_on((red, green, blue))[0] < 128 else "white"), [Pixels(*bar, pixel)]


def _thumbnails(t: Thumbnail, at: Rect) -> Iterator[Mark]:
    """Channels side by side at the foot of the card, in the colors of signed or of plain numbers."""
    high = PICTURE - 8.0
    wide = min(high * t.width / t.height, at.width - 8)
    fit = max(1, int((at.width - 4) // (wide + 4)))
    pixels = np.frombuffer(t.pixels, np.uint8).reshape(-1, t.height, t.width)[:fit]
    left, top = at.x + (at.width - len(pixels) * (wide + 4) + 4) / 2, at.y + at.height - PICTURE + 4
    for i, channel in enumerate(pixels):
        light, dark = _colored(channel, t, "light"), _colored(channel, t, "dark")
        yield Pixels(left + i * (wide + 4), top, wide, high, light, dark if t.signed else None)


def _colored(channel: Array, t: Thumbnail, theme: str) -> Array:
    values = t.low + (t.high - t.low) * channel.astype(np.float64) / 255
    return colors(values, (t.low, t.high), t.signed, theme)  # type: ignore[arg-type]  # "light" or "dark"
