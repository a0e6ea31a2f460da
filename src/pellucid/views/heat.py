"""From numbers to a heat map: which limits the colors get, what is clipped, and the sentence that says so."""

from __future__ import annotations

import numpy as np

from pellucid.views.arrays import Array
from pellucid.views.number import number, percent
from pellucid.views.outline import outlines
from pellucid.views.view import Heat, Limits

CLIPPED = 0.005  # The share of the strongest values that may lie beyond the limits, so that one pixel is not the scale.
FEW = 1000  # Maps with fewer values than this are never clipped.


def limits_of(values: Array, signed: bool) -> Limits:
    """The limits of the colors: symmetric around zero for signed values, from zero up for others.

    The upper limit is the 99.5th percentile of |values|, or the maximum of a small or mostly empty map.

    >>> limits_of(np.array([-4.0, 1.0]), signed=True), limits_of(np.array([0.0, 2.0]), signed=False)
    ((-4.0, 4.0), (0.0, 2.0))
    """
    size = np.abs(values[np.isfinite(values)].astype(np.float64))
    if not size.size:
        return 0.0, 0.0
    reach = float(np.quantile(size, 1 - CLIPPED)) if size.size >= FEW else float(size.max())
    reach = reach or float(size.max())
    return (-reach, reach) if signed else (0.0, reach)


def statement(values: Array, limits: Limits, signed: bool, what: str = "pixels") -> str:
    """The limits in words: where colors end, how much lies beyond, and the largest value.

    >>> statement(np.array([-4.0, 1.0, 0.5]), (-2.0, 2.0), signed=True)
    'Limits ±2; the strongest 33 % of pixels are clipped to the end colors. Zero is the neutral color. max |a| = 4.'
    """
    size = np.abs(values[np.isfinite(values)].astype(np.float64))
    if not size.size or not size.any():
        return "The map is zero everywhere: no evidence was found."
    low, high = limits
    scale = f"Limits ±{number(high)}" if signed else f"Limits {number(low)} to {number(high)}"
    beyond = float((size > high).mean())
    most = f"the strongest {percent(beyond)} of {what} are clipped to the end colors"
    cut = f"; {most}" if beyond else "; nothing is clipped"
    zero = " Zero is the neutral color." if signed else ""
    return f"{scale}{cut}.{zero} max |a| = {number(float(size.max()))}."


def heat_of(
    values: Array,
    signed: bool,
    *,
    title: str = "",
    caption: str = "",
    alt: str = "",
    underlay: Array | None = None,
    resolution: tuple[int, int] | None = None,
    limits: Limits | None = None,
    outlined: bool = True,
    what: str = "pixels",
    said: str = "",
) -> Heat:
    """A heat map [height, width] on its own scale (or the given `limits`), with its outlines and its statement."""
    limits = limits or limits_of(values, signed)
    lines, block = outlines(values) if outlined else ((), 1)
    cells = resolution in (None, values.shape) and max(values.shape) <= 64
    return Heat(
        values,
        limits,
        signed,
        title=title,
        caption=" ".join(part for part in (caption, _outlined(len(lines), block)) if part),
        statement=said or statement(values, limits, signed, what),
        alt=alt or described(values, signed),
        underlay=underlay,
        outlines=lines,
        resolution=resolution,
        smooth=not cells or underlay is not None,
    )


def _outlined(drawn: int, block: int) -> str:
    if not drawn:
        return ""
    after = f", after averaging over {block}×{block} pixels" if block > 1 else ""
    return f"Outlines: the smallest area with 10 % (solid) and 25 % (dashed) of the map's total strength{after}."


def described(values: Array, signed: bool) -> str:
    """What a map shows, in words, for those who do not see it: where it is strongest and how concentrated it is.

    >>> described(np.array([[0.0, 0.0], [0.0, 1.0]]), signed=False)
    'Heat map: strongest at the lower right; half of its total strength lies in 25 % of its area.'
    """
    size = np.abs(np.nan_to_num(values.astype(np.float64)))
    if not size.any():
        return "Heat map: zero everywhere."
    ranked = np.sort(size, axis=None)[::-1]
    area = (int(np.searchsorted(np.cumsum(ranked), 0.5 * ranked.sum())) + 1) / ranked.size
    rows, columns = np.indices(size.shape)
    strong = size >= ranked[max(0, ranked.size // 20 - 1)]
    weight = size * strong
    place = _place(
        float((weight * (rows + 0.5)).sum() / weight.sum()) / size.shape[0],
        float((weight * (columns + 0.5)).sum() / weight.sum()) / size.shape[1],
    )
    negative = float(size[values < 0].sum() / size.sum()) if signed else 0.0
    against = f" {percent(negative)} of it is negative." if negative else ""
    half = f"half of its total strength lies in {percent(area)} of its area"
    return f"Heat map: strongest at the {place}; {half}.{against}"


def _place(down: float, right: float) -> str:
    row = "upper" if down < 0.4 else "lower" if down > 0.6 else ""
    column = "left" if right < 0.4 else "right" if right > 0.6 else ""
    if row and not column:
        return row + " middle"
    return f"{row} {column}".strip() or "center"
