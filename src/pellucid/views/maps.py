"""Maps of many samples: pictures laid out where they belong, and how far the map can be trusted, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from pellucid.core.origin import Origin
from pellucid.dream.maps.map_trust import MapTrust
from pellucid.views.arrays import Array
from pellucid.views.number import count, number, percent, seconds
from pellucid.views.view import Card, Columns, Heading, Hint, Photo, Ruler, Stack, Table, Text, Tone, View

GROUND = (238, 236, 231)
NAMES = {"pca": "principal components (PCA)", "tsne": "t-SNE", "umap": "UMAP"}
_WORDS: dict[str, tuple[str, Tone]] = {
    "mostly": ("Mostly", "good"),
    "partly": ("Partly", "weak"),
    "hardly": ("Hardly", "bad"),
}


def board(
    cells: Sequence[tuple[int, int]],
    pictures: Array,
    words: Sequence[str],
    grid: tuple[int, int],
    scales: Sequence[float] | None = None,
) -> tuple[Array, tuple[Hint, ...]]:
    """Square pictures `[n, side, side, 3]` in their cells (row, column) of a grid, with the words said over each.

    `scales`, in 0..1, are the sides at which they are drawn, in the middle of their cells.
    """
    side = pictures.shape[1]
    sheet = np.empty((grid[0] * side, grid[1] * side, 3), np.uint8)
    sheet[:] = GROUND
    hints: list[Hint] = []
    for i, (row, column) in enumerate(cells):
        top, left = row * side, column * side
        size = side if scales is None else max(1, round(side * scales[i]))
        inset = (side - size) // 2
        at = np.arange(size) * side // size
        sheet[top + inset : top + inset + size, left + inset : left + inset + size] = pictures[i][at][:, at]
        hints.append((left, top, side, side, words[i]))
    return sheet, tuple(hints)


def shown_pictures(pictures: Tensor) -> Array:
    """`[n, 3, height, width]` bytes as `[n, height, width, 3]`."""
    out: Array = pictures.permute(0, 2, 3, 1).contiguous().numpy()
    return out


def photo_of_board(
    cells: Sequence[tuple[int, int]],
    pictures: Tensor,
    words: Sequence[str],
    grid: tuple[int, int],
    title: str,
    caption: str,
    scales: Sequence[float] | None = None,
) -> Photo:
    """Pictures in the cells of a grid as one picture."""
    pixels, hints = board(cells, shown_pictures(pictures), words, grid, scales)
    return Photo(pixels, title, caption, f"{title}: {len(cells)} small pictures in a grid.", hints)


def in_short(trust: MapTrust, thing: str) -> str:
    """How far to believe the map, in a sentence for the top of the page."""
    kept, of = number(trust.kept * trust.neighbors, 2), trust.neighbors
    return f"Of each {thing}'s {of} nearest neighbors, {kept} are near on this map: {_ADVICE[trust.word]}"


_ADVICE = {
    "mostly": "what lies together here mostly belongs together.",
    "partly": "take neighbors on it as a hint, and look them up below.",
    "hardly": "do not read anything into what lies next to what.",
}


def trust_of_map(trust: MapTrust, how: str, thing: str) -> View:
    """The map's own trust card."""
    cards = [_kept(trust, thing), _torn(trust)]
    if math.isfinite(trust.explained):
        cards.append(_explained(trust))
    if math.isfinite(trust.agreement):
        cards.append(_agreement(trust))
    note = (
        f"{trust.points} {thing}s were laid out by {NAMES[how]}. No map in two dimensions keeps all of what hundreds "
        "hold; distances between far groups and the sizes of groups mean nothing on t-SNE and UMAP maps."
    )
    return Stack((Heading("Can this map be trusted?"), Text(note, "quiet"), Columns(tuple(cards))))


def _kept(trust: MapTrust, thing: str) -> Card:
    word, tone = _WORDS[trust.word]
    k = trust.neighbors
    sentence = (
        f"Of each {thing}'s {k} nearest neighbors at this site, {number(trust.kept * k, 2)} are among the {k} nearest "
        f"on this map. A map that knows nothing keeps {number(trust.chance * k, 2)}."
    )
    ruler = Ruler(trust.kept, (0.0, 1.0), ticks=(("chance", trust.chance), ("all", 1.0)), label="kept")
    return Card("Are neighbors on the map neighbors for the network?", word, tone, sentence, ruler)


def _torn(trust: MapTrust) -> Card:
    worst = min(trust.trustworthiness, trust.continuity)
    word, tone = _WORDS["mostly" if worst >= 0.9 else "partly" if worst >= 0.75 else "hardly"]
    sentence = (
        f"Trustworthiness {number(trust.trustworthiness, 2)}: how seldom strangers were put together. Continuity "
        f"{number(trust.continuity, 2)}: how seldom neighbors were torn apart. Both weigh by how far; 1 is perfect, "
        "and a map that knows nothing has about 0.5 (Venna and Kaski 2001)."
    )
    ruler = Ruler(worst, (0.0, 1.0), ticks=(("chance", 0.5), ("all", 1.0)), label="the worse of both")
    return Card("Does the map invent or tear neighborhoods?", word, tone, sentence, ruler)


def _explained(trust: MapTrust) -> Card:
    low = trust.explained < 0.2
    word, tone = _WORDS["hardly" if low else "partly" if trust.explained < 0.6 else "mostly"]
    sentence = f"The two axes show {percent(trust.explained)} of the variance; the rest lies in directions not drawn."
    return Card("How much of the differences is on the map?", word, tone, sentence)


def _agreement(trust: MapTrust) -> Card:
    share = trust.agreement
    word, tone = _WORDS["mostly" if share >= 0.5 else "partly" if share >= 0.2 else "hardly"]
    sentence = (
        f"A second map was made from a random start with another seed. Of the {trust.neighbors} nearest on this map, "
        f"{number(share * trust.neighbors, 2)} are among the nearest on that one too."
    )
    return Card("Would another start give the same neighbors?", word, tone, sentence)


def origin_table(origin: Origin, more: Sequence[tuple[str, str]] = ()) -> Table:
    """Where the result comes from, as a table."""
    rows = [
        ("network", origin.network),
        ("network's fingerprint", origin.fingerprint),
        ("site", origin.at),
        *more,
        ("samples", number(float(origin.samples))),
        ("left out", f"{origin.unread}: {'; '.join(origin.skipped)}" if origin.unread else ""),
        ("seed", str(origin.seed)),
        ("passes", f"{count(origin.cost.forwards, 'sample')} forward, {number(float(origin.cost.backwards))} backward"),
        ("time", seconds(origin.cost.seconds)),
        ("stopped", origin.stopped),
        ("notes", " ".join(origin.notes)),
        ("versions", ", ".join(f"{k} {v}" for k, v in origin.versions.items())),
    ]
    return Table(("", ""), tuple((k, v) for k, v in rows if v))


def warnings_of(origin: Origin) -> tuple[View, ...]:
    """What must be said at the top: a stopped run, samples left out, notes."""
    said = list(origin.notes)
    if origin.stopped:
        said.insert(0, f"Stopped {origin.stopped}: what follows is of those.")
    if origin.unread:
        said.append(f"{count(origin.unread, 'sample')} could not be read and {_were(origin.unread)} left out.")
    return tuple(Text(text, "warning") for text in said)


def _were(n: int) -> str:
    return "was" if n == 1 else "were"
