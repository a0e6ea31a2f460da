"""Where several methods disagree about one prediction, and which of them agree with which."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.errors import PellucidError
from pellucid.core.explanation import Explanation
from pellucid.trials.disagreement import Disagreement, disagreement
from pellucid.views.heat import heat_of
from pellucid.views.number import number
from pellucid.views.picture import grey_of, photo_of
from pellucid.views.provenance import method_title
from pellucid.views.view import Columns, Fold, Heading, Stack, Table, Text, View

CELLS = 56  # Maps are compared by the means of at most so many blocks a side: a shift by a pixel is no disagreement.
MOST = 8  # Methods in the table; more could not be read.


def disagreement_view(explanations: Sequence[Explanation]) -> tuple[View, ...]:
    """How far the maps of one prediction agree: a sentence, a map of the places, a table; nothing for fewer than two.

    `explanations`: the most faithful first; the table holds the first eight.
    """
    try:
        found = disagreement(explanations, cells=CELLS)
    except PellucidError:  # one map, or maps of other inputs: nothing to compare
        return ()
    places = _places(explanations[0], found)
    titles = tuple(method_title(e) for e in explanations[:MOST])
    alike = found.matrices["spearman"][: len(titles), : len(titles)].tolist()
    rows = tuple(
        (name, *(None if math.isnan(v) else round(v, 2) for v in row)) for name, row in zip(titles, alike, strict=True)
    )
    caption = f"Rank correlation of the first {len(titles)} maps, −1 to 1"
    table = Fold("Which methods agree with which", Table(("", *titles), rows, caption))
    said = Text(_sentence(found.matrices["spearman"]))
    beside = (places,) if places is not None else ()
    return Heading("Do the methods agree?"), Columns((*beside, Stack((said, table))))


def _sentence(alike: Tensor) -> str:
    pairs = alike[torch.triu(torch.ones_like(alike), 1) > 0]
    known = pairs[pairs.isfinite()]
    if not len(known):
        return "No two of the maps have a ranking that could be compared."
    mean, low, high = (number(float(v), 2) for v in (known.mean(), known.min(), known.max()))
    return (
        f"Two of these maps rank the places alike to {mean} on average, from {low} to {high} (1: the same ranking, 0: "
        "unrelated). Methods can agree and be wrong together."
    )


def _places(first: Explanation, found: Disagreement) -> View | None:
    """The map of the places of the first sample, over its picture; None when the input is no picture."""
    values = found.places[0]
    picture = next((v for v in first.explained.values() if v.ndim == 4 and v.is_floating_point()), None)
    if values.ndim != 2 or picture is None or not bool(values.isfinite().any()):
        return None
    return heat_of(
        values.float().numpy(), signed=False, title="Where they disagree", limits=(0.0, 1.0), outlined=False,
        underlay=None if first.at else grey_of(photo_of(first.net, picture[0])),
        said="0: all maps rank the place alike. 1: half of them rank it first, and half last.",
        alt="A map of where the methods disagree.",
    )  # fmt: skip
