"""What a check ran, to be looked at: every masked copy with what it cost the answer, and the curves behind a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from pellucid.checks import all_checks
from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.tensors import batch_size
from pellucid.trials.copies import Copies, copies_of
from pellucid.views.arrays import Array
from pellucid.views.picture import pixels_of
from pellucid.views.view import Curve, Fold, Scatter, Series, Sheet, View

SIDE, MOST_PICTURES, MOST_LINES, MOST_WORDS = 64, 256, 6, 12
Lists = tuple[tuple[str, tuple[float, ...]], ...]


def ran_fold(check: Check, explanation: Explanation | None = None) -> Fold | None:
    """A fold with what the check ran; None where it kept nothing that could be drawn.

    Of a faithfulness check: a dot for each masked copy, with the copy itself where the explanation is given and the
    copies can be made again.  Of others: their lists as lines over the first one, or as dots where that does not rise
    or fall steadily; of lists of unequal length the first two, if these two are equally long.
    """
    lists = _together(check)
    if len(lists) < 2 or len(lists[0][1]) < 2 or not _any_point(lists):
        return None
    if check.name == "faithfulness":
        return Fold("Every masked copy that was shown to the network", copies_view(check, explanation))
    return Fold(f"{title_of(check)}: what was measured, step by step", _lines(check, lists))


def _together(check: Check) -> Lists:
    """The lists that are drawn on one pair of axes: all, or the first two, or none."""
    for lists in (check.curves, check.curves[:2]):
        if len({len(v) for _, v in lists}) == 1:
            return lists
    return ()


def _any_point(lists: Lists) -> bool:
    return any(math.isfinite(x) and math.isfinite(y) for _, v in lists[1:] for x, y in zip(lists[0][1], v, strict=True))


def title_of(check: Check) -> str:
    """The measure's title; of a check that no measure made, its name in words."""
    made = all_checks().get(check.name)
    return made.title if made is not None else check.name.replace("_", " ").capitalize()


def _lines(check: Check, lists: Lists) -> View:
    """The check's lists over the first of them."""
    (x_name, x), *others = lists
    made = all_checks().get(check.name)
    caption = made.summary if made is not None else ""
    steady = all(a <= b for a, b in pairwise(x)) or all(a >= b for a, b in pairwise(x))
    if not steady and len(others) == 1:
        across, up = np.array(x), np.array(others[0][1])
        return Scatter(across, up, x_name, others[0][0], caption, f"{len(x)} points.", fitted(across, up))
    lines = tuple(Series(name, np.array(x), np.array(y)) for name, y in others[:MOST_LINES])
    y_name = others[0][0] if len(others) == 1 else title_of(check)
    return Curve(lines, x_name, y_name, caption, f"{y_name} over {x_name}.")


def copies_view(check: Check, explanation: Explanation | None = None) -> Scatter:
    """A dot for each masked copy: what its mask removed of the map, and how far the answer fell.

    With the explanation, the first copies have their pictures (or the names of what was hidden, where the input is no
    picture): exactly what the network was shown, averaged to at most 64 pixels.
    """
    (_, x), (_, y) = check.curves[0], check.curves[1]
    across, up = np.array(x), np.array(y)
    copies = copies_of(explanation, check, MOST_PICTURES) if explanation is not None else None
    sheet = _sheet(explanation, copies) if explanation is not None and copies is not None else None
    unit = "" if explanation is None else f" ({_unit(explanation)})"
    return Scatter(
        across, up, "evidence removed (standard deviations)", f"fall of the answer{unit}",
        _how_to_read(check, explanation, sheet),
        f"{len(x)} masked copies: fall of the answer over evidence removed.",
        fitted(across, up), _words(explanation, copies, len(x)), sheet,
    )  # fmt: skip


def _how_to_read(check: Check, explanation: Explanation | None, sheet: Sheet | None) -> str:
    shown = len(check.curves[0][1])
    several, sample = explanation is not None and batch_size(explanation.x) > 1, check.facts.get("sample")
    of = f" of sample {sample + 1}" if several and isinstance(sample, int) else ""
    pictures = ""
    if sheet is not None:
        which = f"the first {sheet.count} of {shown} copies" if sheet.count < shown else "each copy"
        pictures = f" Of {which} there is the picture that the network was shown, made smaller."
    return (
        f"Each dot is a copy{of} with a part hidden. To the right: more of what the map calls evidence was hidden. Up: "
        "the answer fell further. Where the map is right, the dots rise to the right (the line is fitted to them); a "
        f"cloud without direction says that the map does not show what the network used.{pictures}"
    )


def _unit(explanation: Explanation) -> str:
    """What falls: faithfulness measures a single class as log-odds and any other target as it is."""
    first = explanation.of.terms[0]
    terms = explanation.of.as_log_odds().terms
    return "log-odds" if len(terms) == 1 and terms[0].kind == "log_odds" and first.weight > 0 else "score"


def fitted(x: Array, y: Array) -> tuple[float, float] | None:
    """Offset and slope of the least-squares line; None where there is none.

    >>> fitted(np.array([0.0, 1.0, np.nan]), np.array([1.0, 3.0, 0.0]))
    (1.0, 2.0)
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 2 or np.ptp(x) == 0:
        return None
    away = x - x.mean()
    slope = float(away @ y / (away @ away))
    return float(y.mean() - slope * x.mean()), slope


def _sheet(explanation: Explanation, copies: Copies) -> Sheet | None:
    """The copies of a picture in one grid."""
    if copies.layout.kind != "picture" or not len(copies.masks):
        return None
    original = copies.original[0]
    small = [pixels_of(explanation.net, copy[0], original, SIDE) for copy in copies.made()]
    height, width = small[0].shape[:2]
    columns = math.ceil(math.sqrt(len(small)))
    grid = np.zeros((-(-len(small) // columns) * height, columns * width, 3), np.uint8)
    for i, picture in enumerate(small):
        top, left = i // columns * height, i % columns * width
        grid[top : top + height, left : left + width] = picture
    return Sheet(grid, height, width, len(small))


def _words(explanation: Explanation | None, copies: Copies | None, count: int) -> tuple[str, ...]:
    """What each copy is: its number, and what was hidden where that has a name."""
    numbers = [f"Copy {i + 1}" for i in range(count)]
    if explanation is None or copies is None or copies.layout.kind not in ("table", "text", "series"):
        return tuple(numbers)
    names = _names(explanation, copies)
    hidden = [f"{number} without {_hidden(mask, names)}" for number, mask in zip(numbers, copies.masks, strict=False)]
    return (*hidden, *numbers[len(hidden) :])


def _names(explanation: Explanation, copies: Copies) -> list[str]:
    """A name for each place: a column's, a word, a step's number."""
    kind, size = copies.layout.kind, copies.layout.size
    given = explanation.facts.get("tokens" if kind == "text" else "columns", ())
    known: Sequence[object] = given[0] if given and not isinstance(given[0], str) else given
    return [str(known[i]) if i < len(known) else f"{_PLACES[kind]} {i}" for i in range(size)]


_PLACES = {"table": "column", "text": "word", "series": "step"}


def _hidden(mask: Tensor, names: list[str]) -> str:
    """The names of what a mask hides; of many, the first."""
    places = mask.flatten().nonzero().flatten().tolist()
    more = f" and {len(places) - MOST_WORDS} more" if len(places) > MOST_WORDS else ""
    return ", ".join([names[i] for i in places[:MOST_WORDS]]) + more
