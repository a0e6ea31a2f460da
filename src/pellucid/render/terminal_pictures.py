"""Views that are pictures or curves, for a terminal: half blocks in color, signs of rising density, or their ends."""

from __future__ import annotations

import numpy as np

from pellucid.core.counts import count
from pellucid.render import raster
from pellucid.render.colormap import colors, ink_on
from pellucid.render.plain import visible
from pellucid.render.terminal_words import captioned, wrap
from pellucid.views.arrays import Array
from pellucid.views.number import number, signed_number
from pellucid.views.view import Curve, Heat, Limits, Photo, Scatter, Tokens, size_words

_SHADES = " .:-=+*#%@"
COLUMNS, _PLOT_ROWS = 48, 12
_RESET = "\x1b[0m"


def lines(view: Photo | Heat | Curve | Scatter | Tokens, width: int, color: bool) -> list[str]:
    """The view as lines no longer than `width`."""
    match view:
        case Photo():
            return captioned(view.title, _picture(view.pixels, width, color), view.caption or view.alt, width)
        case Heat():
            return _heat(view, width, color)
        case Curve():
            return _curve(view, width)
        case Scatter():
            return _scatter(view, width)
        case Tokens():
            return _tokens(view, width, color)


def _picture(pixels: Array, width: int, color: bool) -> list[str]:
    if not color:
        return [f"[a picture of {pixels.shape[1]}×{pixels.shape[0]} pixels]"]
    small = np.stack([_shrunk(pixels[..., c], min(width, COLUMNS)) for c in range(3)], -1)
    return _halves(np.floor(small + 0.5).astype(int))


def _halves(pixels: Array) -> list[str]:
    """Two pixels a character: the upper half block in the upper one's color on the lower one's."""
    out = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells = (_half(u, low) for u, low in zip(upper.tolist(), lower.tolist(), strict=True))
        out.append("".join(cells) + _RESET)
    return out


def _half(upper: list[int], lower: list[int]) -> str:
    front, back = ";".join(map(str, upper)), ";".join(map(str, lower))
    return f"\x1b[38;2;{front};48;2;{back}m▀"


def _shrunk(values: Array, columns: int) -> Array:
    """Means over blocks: at most `columns` wide, an even number of rows, each cell about square."""
    columns = min(columns, values.shape[1]) if values.shape[1] >= 16 else columns
    rows = max(2, 2 * round(columns * values.shape[0] / values.shape[1] / 2))
    if rows > values.shape[0] or columns > values.shape[1]:
        return raster.enlarged(values, min(rows, 96), columns, smooth=False)
    at_rows, at_columns = (np.arange(n) * size // n for n, size in zip((rows, columns), values.shape, strict=True))
    sums = np.add.reduceat(np.add.reduceat(np.nan_to_num(values.astype(np.float64)), at_rows, 0), at_columns, 1)
    sizes = np.outer(np.diff([*at_rows, values.shape[0]]), np.diff([*at_columns, values.shape[1]]))
    out: Array = sums / sizes
    return out


def _heat(view: Heat, width: int, color: bool) -> list[str]:
    """The map as means over blocks; their limits are their own, since means are smaller than the strongest pixels."""
    values = _shrunk(view.values, min(width, COLUMNS))
    averaged = values.size < view.values.size
    reach = float(np.abs(np.nan_to_num(values)).max())
    limits = ((-reach if view.signed else 0.0), reach) if averaged else view.limits
    if color:
        body = _halves(colors(values, limits, view.signed, "dark").astype(int))
    else:
        body = _shaded(values, max(abs(v) for v in limits))
    low, high = (number(limits[0]), signed_number(limits[1]) if view.signed else number(limits[1]))
    unit = f" {visible(view.unit)}" if view.unit else ""
    block = f" (means over about {view.values.shape[1] // values.shape[1]} pixels square)" if averaged else ""
    scale = f"Drawn from {low} to {high}{unit}{block}. {size_words(view)}."
    words = [line for part in (scale, view.statement, view.caption) if part for line in wrap(visible(part), width)]
    return [*(wrap(visible(view.title), width) if view.title else []), *body, *words]


def _shaded(values: Array, reach: float) -> list[str]:
    """Without color: the denser the sign, the farther from zero; "/" where a strong value is negative."""
    values = (values[::2] + values[1::2]) / 2
    share = np.clip(np.abs(np.nan_to_num(values)) / (reach or 1.0), 0, 1)
    level = np.floor(share * (len(_SHADES) - 1) + 0.5).astype(int)
    rows = zip(level.tolist(), values.tolist(), strict=True)
    return ["".join("/" if v < 0 and n > 1 else _SHADES[n] for n, v in zip(ns, vs, strict=True)) for ns, vs in rows]


def _curve(view: Curve, width: int) -> list[str]:
    axes = f"{visible(view.y_name) or 'y'} over {visible(view.x_name) or 'x'}"
    ends = [
        f"{visible(s.name)}: {_first(s.y)} to {_first(s.y[::-1])} ({count(len(s.y), 'point')})" for s in view.series
    ]
    caption = wrap(visible(view.caption), width) if view.caption else []
    return [*wrap(axes, width), *(line for e in ends for line in wrap(e, width)), *caption]


def _first(values: Array) -> str:
    return number(float(values[0])) if len(values) else "–"


def _scatter(view: Scatter, width: int) -> list[str]:
    """The points counted in a grid of characters: the denser the sign, the more of them lie there."""
    known = np.isfinite(view.x) & np.isfinite(view.y)
    x, y = view.x[known].astype(np.float64), view.y[known].astype(np.float64)
    names = (visible(view.y_name) or "y", visible(view.x_name) or "x")
    caption = wrap(visible(view.caption), width) if view.caption else []
    if not len(x):
        return [*wrap(f"{names[0]} over {names[1]}: no points", width), *caption]
    counts = np.histogram2d(-y, x, bins=(_PLOT_ROWS, min(width - 2, COLUMNS)))[0]
    rows = _shaded(np.repeat(np.sqrt(counts), 2, 0), float(np.sqrt(counts.max())))
    up, right = (f"from {number(float(v.min()))} to {number(float(v.max()))}" for v in (y, x))
    said = f"Up: {names[0]} {up}. Right: {names[1]} {right}. {count(len(x), 'point')}."
    return [*(f"│{row}".rstrip() for row in rows), "└" + "─" * counts.shape[1], *wrap(said, width), *caption]


def _tokens(view: Tokens, width: int, color: bool) -> list[str]:
    pieces = []
    for token, value in zip(view.tokens, view.values, strict=True):
        text = visible(token)
        plain = f"{text}({signed_number(value, 2)})"
        pieces.append(_painted(text, value, view.limits, view.signed) if color else plain)
    body = ["".join(pieces)] if color else wrap(" ".join(pieces), width)
    words = [line for part in (view.statement, view.caption) if part for line in wrap(visible(part), width)]
    return [*body, *words]


def _painted(text: str, value: float, limits: Limits, signed: bool) -> str:
    back = tuple(int(v) for v in colors(np.array([value]), limits, signed, "dark")[0])
    front = ink_on((back[0], back[1], back[2]))
    return f"\x1b[38;2;{';'.join(map(str, front))};48;2;{';'.join(map(str, back))}m{text}{_RESET}"
