"""A data set as the network sees it: the map with its pictures, its trust, and neighbors in the full space."""

from __future__ import annotations

import math

import numpy as np
import torch

from pellucid.dream.embedding import Embedding
from pellucid.views.maps import NAMES, in_short, origin_table, photo_of_board, shown_pictures, trust_of_map, warnings_of
from pellucid.views.number import number, percent
from pellucid.views.view import Fold, Heading, Scatter, Sheet, Stack, Table, Text, View

MOST_POINTS, EXAMPLES, LISTED = 1024, 12, 5
_LEAST, _MOST = 6, 28  # cells along a side of the map with pictures
_EDGE = 0.005


def embedding_view(found: Embedding, *, still: bool = False) -> View:
    """The report on an embedding map; `still` is what fits on one picture."""
    head = (
        Heading(f"How {found.origin.network} sees {found.origin.samples} samples", 1),
        Text(f"By their values at {found.origin.at}. {in_short(found.trust, 'sample')}", "lead"),
        *warnings_of(found.origin),
    )
    pictured = (_board(found),) if len(found.pictures) else ()
    trust = trust_of_map(found.trust, found.how, "sample")
    if still:
        return Stack((*head, *(pictured or (_dots(found),)), trust))
    return Stack(
        (
            *head, *pictured, trust,
            Heading("Every sample"), _dots(found),
            Fold("Nearest neighbors in the full space", _neighbors(found)),
            Fold("Where this comes from", origin_table(found.origin, _more(found))),
        )
    )  # fmt: skip


def _more(found: Embedding) -> tuple[tuple[str, str], ...]:
    apart = "one minus the cosine" if found.metric == "cosine" else "Euclidean distance"
    return (("map", NAMES[found.how]), ("distance", apart), ("values", f"mean over places, {found.features.shape[1]}"))


def _said(found: Embedding, i: int) -> str:
    """A sample's name and what the network takes it for."""
    if i >= len(found.tops):
        return found.names[i]
    top = int(found.tops[i])
    label = found.labels[top] if top < len(found.labels) else f"class {top}"
    return f"{found.names[i]}: {label} ({percent(float(found.shares[i]))})"


def _board(found: Embedding) -> View:
    """The small pictures where they lie: of those in a cell, the one nearest to its middle."""
    grid = min(max(round(math.sqrt(2 * len(found.pictures))), _LEAST), _MOST)
    places = found.places[: len(found.pictures)].double()
    ends = torch.quantile(places, torch.tensor([_EDGE, 1 - _EDGE], dtype=torch.double), dim=0)
    at = ((places - ends[0]) / (ends[1] - ends[0]).clamp(min=1e-12)).clamp(0, 1) * grid
    cell = at.long().clamp(max=grid - 1)
    away = (at - cell - 0.5).square().sum(1)
    best: dict[tuple[int, int], int] = {}
    for i in away.argsort(descending=True, stable=True).tolist():
        best[grid - 1 - int(cell[i, 1]), int(cell[i, 0])] = i
    kept = list(best.values())
    caption = (
        f"{len(kept)} of {len(found.names)} samples: where several share a cell, the one in its middle. Rest the "
        "pointer on a picture for its name and what the network takes it for."
    )
    words = [_said(found, i) for i in kept]
    return photo_of_board(list(best), found.pictures[kept], words, (grid, grid), "The map", caption)


def _dots(found: Embedding) -> Scatter:
    n = min(len(found.names), MOST_POINTS)
    sheet = _sheet(found, n) if len(found.pictures) >= n else None
    of = "" if n == len(found.names) else f" The first {n} of {len(found.names)} are drawn."
    names = ("first component", "second component") if found.how == "pca" else ("across", "up")
    x, y = (found.places[:n, i].double().numpy() for i in range(2))
    caption = f"Each dot is a sample; those that the network sees alike lie together as far as two dimensions can.{of}"
    return Scatter(
        x, y, *names, caption, f"{n} samples on a map.", words=tuple(_said(found, i) for i in range(n)), sheet=sheet
    )


def _sheet(found: Embedding, n: int) -> Sheet | None:
    """The small pictures in one grid, as a scatter wants them."""
    if not n:
        return None
    pictures, columns = shown_pictures(found.pictures[:n]), int(np.ceil(np.sqrt(n)))
    side, rows = pictures.shape[1], -(-n // columns)
    grid = np.zeros((rows * side, columns * side, 3), np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * side, i % columns * side
        grid[top : top + side, left : left + side] = picture
    return Sheet(grid, side, side, n)


def _neighbors(found: Embedding) -> Table:
    """Some samples, evenly through the list, with their nearest."""
    step = max(1, len(found.names) // EXAMPLES)
    rows = []
    for i in range(0, len(found.names), step)[:EXAMPLES]:
        near = ", ".join(f"{name} ({number(d, 2)})" for name, d in found.neighbors(i)[:LISTED])
        rows.append((_said(found, i), near))
    return Table(("sample", "nearest, with distance"), tuple(rows))
