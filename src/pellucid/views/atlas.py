"""An activation atlas, and the activation grid of one picture: small pictures in the cells of a grid, with facts."""

from __future__ import annotations

import math

import numpy as np
import torch

from pellucid.dream.atlas import Atlas
from pellucid.dream.grid import ActivationGrid
from pellucid.views.maps import (
    NAMES,
    in_short,
    origin_table,
    photo_of_board,
    shown_pictures,
    trust_of_map,
    warnings_of,
)  # fmt: skip
from pellucid.views.number import count, number, percent, signed_number
from pellucid.views.view import Columns, Fold, Heading, Heat, Photo, Stack, Table, Text, View

_ROWS = 400
_DREAMT = "Dreams: what the network looks for there"


def atlas_view(found: Atlas, *, still: bool = False) -> View:
    """The report on an atlas; `still` is what fits on one picture."""
    o = found.origin
    alike = float(found.alike.nanmean())
    lead = (
        f"{count(len(found.places), 'place')} of {count(o.samples, 'sample')}, alike ones together. "
        f"{in_short(found.trust, 'place')}"
    )
    head = (Heading(f"What {o.network} can see at {o.at}", 1), Text(lead, "lead"), *warnings_of(o))
    pictures = (*_dreams(found), *_patches(found))
    trust = trust_of_map(found.trust, found.how, "place")
    said = Text(
        f"Within a cell, two vectors have a cosine of {number(alike, 2)} on average (less the overall mean; chance is "
        "0): that is how far a cell is one thing.", "quiet",
    )  # fmt: skip
    if still:
        return Stack((*head, *pictures[:1], said, trust))
    more = (("map", NAMES[found.how]), ("cells", f"{found.grid}×{found.grid}, {len(found.cells)} shown"))
    return Stack(
        (
            *head, *pictures, said, trust,
            Fold("The cells in numbers", _table(found)),
            Fold("Where this comes from", origin_table(o, more)),
        )
    )  # fmt: skip


def _cells(found: Atlas) -> list[tuple[int, int]]:
    return [(int(row), int(column)) for row, column in found.cells]


def _words(found: Atlas) -> list[str]:
    """What is said over each cell."""
    return [". ".join(filter(None, (_classes(found, i), _members(found, i)))) for i in range(len(found.cells))]


def _classes(found: Atlas, i: int) -> str:
    pairs = zip(found.tops[i].tolist(), found.raised[i].tolist(), strict=True)
    return ", ".join(f"{_label(found, c)} {signed_number(by, 2)}" for c, by in pairs)


def _label(found: Atlas, c: int) -> str:
    return found.labels[c] if c < len(found.labels) else f"class {c}"


def _members(found: Atlas, i: int) -> str:
    names = dict.fromkeys(found.names[s] for s in found.sources[i].tolist())
    return f"{count(int(found.counts[i]), 'vector')}, e.g. of {', '.join(names)}."


def _dreams(found: Atlas) -> tuple[View, ...]:
    if found.icons is None:
        return ()
    words = (
        "Each picture was made to be seen by the network as the mean of its cell. It is an invention, not a sample."
        + _recognized(found.recognized, len(found.cells), "cell")
    )
    grid = (found.grid, found.grid)
    return (photo_of_board(_cells(found), found.icons, _words(found), grid, _DREAMT, words),)


def _recognized(share: float, count: int, thing: str) -> str:
    if math.isnan(share):
        return ""
    return (
        f" Shown to the network, {percent(share)} of them are nearer to the vector of their own {thing} than to any "
        f"other's (chance: {percent(1 / count)})."
    )


def _patches(found: Atlas) -> tuple[View, ...]:
    if not len(found.patches):
        return ()
    caption = (
        f"Each cell shows the real patch nearest to the mean of its vectors. {found.shown} Rest the pointer on it for "
        "the classes whose scores that mean raises most, everywhere at the site in the place of the overall mean."
    )
    title, grid = "Real patches: what is there in the data", (found.grid, found.grid)
    return (photo_of_board(_cells(found), found.patches[:, 0], _words(found), grid, title, caption),)


def _table(found: Atlas) -> View:
    order = found.alike.nan_to_num(nan=-2.0).argsort(descending=True, stable=True)[:_ROWS].tolist()
    rows = tuple(
        (f"row {found.cells[i, 0] + 1}, column {found.cells[i, 1] + 1}", int(found.counts[i]),
         None if math.isnan(float(found.alike[i])) else float(found.alike[i]), _classes(found, i),
         ", ".join(dict.fromkeys(found.names[s] for s in found.sources[i].tolist())))
        for i in order
    )  # fmt: skip
    caption = "The cells whose vectors are most alike come first"
    return Table(
        ("cell", "vectors", "alike (cosine)", "classes that its mean raises", "nearest samples"), rows, caption
    )


def grid_view(found: ActivationGrid, *, still: bool = False) -> View:
    """The report on one picture's activation grid; `still` is what fits on one picture."""
    rows, columns = found.sizes.shape
    o = found.origin
    lead = f"{rows}×{columns} places, each a vector of {found.vectors.shape[2]} channels. {found.shown}"
    head = (Heading(f"What {o.network} sees in this picture at {o.at}", 1), Text(lead, "lead"), *warnings_of(o))
    boards = (*_icons(found), *_like(found))
    both = Columns((Photo(shown_pictures(found.picture[None])[0], "The picture", alt="The picture."), _sizes(found)))
    if still:
        return Stack((*head, both, *boards))
    return Stack(
        (
            *head, both, *boards,
            Fold("The strongest channels at each place", _channels(found)),
            Fold("Where this comes from", origin_table(o)),
        )
    )  # fmt: skip


def _sizes(found: ActivationGrid) -> Heat:
    sizes = found.sizes.double().numpy()
    statement = f"From 0 to {number(float(sizes.max()))}: the length of the vector at each place."
    limits = (0.0, float(sizes.max()) or 1.0)
    caption = "Where the network has most to say at this site; not where the reasons for an answer lie."
    return Heat(sizes, limits, False, "How strongly it responds", caption, statement, "Sizes by place.", smooth=False)


def _places(found: ActivationGrid) -> list[tuple[int, int]]:
    rows, columns = found.sizes.shape
    return [(r, c) for r in range(rows) for c in range(columns)]


def _scales(found: ActivationGrid) -> list[float]:
    """Sides that make areas follow the vectors' lengths, but for those that would be too small to see."""
    sizes = found.sizes.flatten().double()
    scales: list[float] = (sizes / sizes.max().clamp(min=1e-12)).sqrt().clamp(min=0.25).tolist()
    return scales


def _icons(found: ActivationGrid) -> tuple[View, ...]:
    if found.icons is None:
        return ()
    words = [_strongest(found, r, c) for r, c in _places(found)]
    grid = (found.sizes.shape[0], found.sizes.shape[1])
    caption = (
        "Each picture was made to be seen by the network as the vector there; the larger, the stronger it is."
        + _recognized(found.recognized, found.sizes.numel(), "place")
    )
    return (photo_of_board(_places(found), found.icons, words, grid, _DREAMT, caption, _scales(found)),)


def _like(found: ActivationGrid) -> tuple[View, ...]:
    if not len(found.patches):
        return ()
    words = []
    for i, (r, c) in enumerate(_places(found)):
        name = found.names[int(found.sources[i])]
        words.append(f"{name}, cosine {number(float(found.likeness[i]), 2)}. {_strongest(found, r, c)}")
    grid = (found.sizes.shape[0], found.sizes.shape[1])
    mean = number(float(found.likeness.mean()), 2)
    caption = (
        f"At each place the patch of other samples whose vector points most nearly the same way (cosine {mean} on "
        "average); the larger, the stronger the vector is here."
    )
    title = "The most alike patches of other samples"
    return (photo_of_board(_places(found), found.patches, words, grid, title, caption, _scales(found)),)


def _strongest(found: ActivationGrid, r: int, c: int) -> str:
    pairs = zip(found.channels[r, c].tolist(), found.values[r, c].tolist(), strict=True)
    return "Channels " + ", ".join(f"{i} ({number(v)})" for i, v in pairs)


def _channels(found: ActivationGrid) -> View:
    order = torch.as_tensor(np.argsort(-found.sizes.flatten().double().numpy(), kind="stable"))[:_ROWS].tolist()
    width = found.sizes.shape[1]
    rows = tuple(
        (f"row {i // width + 1}, column {i % width + 1}", float(found.sizes[i // width, i % width]),
         _strongest(found, i // width, i % width))
        for i in order
    )  # fmt: skip
    return Table(("place", "length", "strongest"), rows, "The places with the longest vectors come first")
