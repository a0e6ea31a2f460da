"""A View as SVG: text, legends, rulers and outlines are vectors, the maps are pixels inside it."""

from __future__ import annotations

from html import escape

from pellucid.render.font import width_of
from pellucid.render.layout import sheet
from pellucid.render.marks import LIGHT, Box, Dot, Drawing, Line, Mark, Pixels, Role, Words
from pellucid.render.plain import safe
from pellucid.render.raster import data_uri
from pellucid.views.arrays import Array
from pellucid.views.view import View

FONTS = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Noto Sans CJK SC", '
    '"PingFang SC", "Microsoft YaHei", sans-serif'
)


def svg(view: View, width: int = 960, title: str = "") -> str:
    """The view on a white sheet, as a whole SVG file that needs nothing else.

    >>> from pellucid.views.view import Text
    >>> "a &lt; b" in svg(Text("a < b"))
    True
    """
    drawing = sheet(view, float(width))
    head = f"<title>{safe(title)}</title>" if title else ""
    body = "".join(_mark(m, themed=False) for m in drawing.marks)
    across, down = _n(drawing.width), _n(drawing.height)
    frame = f'width="{across}" height="{down}" viewBox="0 0 {across} {down}"'
    family = escape(FONTS, quote=True)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {frame} font-family="{family}">{head}{body}</svg>\n'


def inline(drawing: Drawing, alt: str, kind: str, fit: bool = False) -> str:
    """A figure inside a page: colors are the page's classes, so that they follow its theme.

    `fit`: its words stand in boxes, and are made as long as they were measured, whatever the reader's font is.
    """
    label = f'role="img" aria-label="{safe(alt)}"' if alt else 'aria-hidden="true"'
    frame = f'viewBox="0 0 {_n(drawing.width)} {_n(drawing.height)}"'
    body = "".join(_words(m, True, fit) if isinstance(m, Words) else _mark(m, themed=True) for m in drawing.marks)
    return f'<svg class="{kind}" {frame} {label}>{body}</svg>'


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _paint(role: Role | str, themed: bool, stroke: bool = False) -> str:
    """A fill or a stroke: a class of the page, or the light theme's color."""
    kind = "stroke" if stroke else "fill"
    if role == "none":
        return f'{kind}="none"'
    return f'class="{kind[0]}-{role}"' if themed else f'{kind}="{LIGHT[role]}"'  # type: ignore[index]


def _mark(mark: Mark, themed: bool) -> str:
    match mark:
        case Line():
            return _line(mark, themed)
        case Box():
            return _box(mark, themed)
        case Dot():
            edge = _edge(mark.edge, themed)
            place = f'cx="{_n(mark.x)}" cy="{_n(mark.y)}" r="{_n(mark.radius)}"'
            return f"<circle {place} {_both(mark.role, edge, themed)}/>"
        case Words():
            return _words(mark, themed)
        case Pixels():
            return _pixels(mark, themed)


def _edge(edge: Role | str, themed: bool) -> str:
    return "" if edge == "none" else f"s-{edge}" if themed else f'stroke="{LIGHT[edge]}"'  # type: ignore[index]


def _both(fill: Role | str, edge: str, themed: bool) -> str:
    """Fill and edge in one set of attributes; a tag has one class list."""
    if not themed:
        return " ".join(part for part in (_paint(fill, themed), edge) if part)
    classes = " ".join(part for part in ("" if fill == "none" else f"f-{fill}", edge) if part)
    return (f'class="{classes}"' if classes else "") + (' fill="none"' if fill == "none" else "")


def _box(mark: Box, themed: bool) -> str:
    place = f'x="{_n(mark.x)}" y="{_n(mark.y)}" width="{_n(mark.width)}" height="{_n(mark.height)}"'
    radius = f' rx="{_n(mark.radius)}"' if mark.radius else ""
    look = _both(mark.role, _edge(mark.edge, themed), themed)
    if mark.hint:
        return f'<rect {place} fill="none" pointer-events="all"><title>{safe(mark.hint)}</title></rect>'
    return f"<rect {place}{radius} {look}/>"


def _line(mark: Line, themed: bool) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in mark.points).replace(".0", "")
    dash = f' stroke-dasharray="{mark.dash}"' if mark.dash else ""
    look = f'{_paint(mark.role, themed, stroke=True)} stroke-width="{_n(mark.width)}"{dash}'
    return f'<path d="{path}" fill="none" stroke-linejoin="round" {look}/>'


def _words(mark: Words, themed: bool, fit: bool = False) -> str:
    place = f'x="{_n(mark.x)}" y="{_n(mark.y)}" font-size="{_n(mark.size)}"'
    anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
    weight = ' font-weight="600"' if mark.bold else ""
    mono = ' font-family="ui-monospace, monospace" xml:space="preserve"' if mark.mono else ""
    # Lines were broken by the measure of our font; the reader's may be wider, so it is told how long a line is.
    long = fit or (not themed and len(mark.text) > 8)
    length = f'textLength="{_n(width_of(mark.text, mark.size, mark.bold))}" lengthAdjust="spacingAndGlyphs" '
    look = f"{length if long else ''}{_paint(mark.role, themed)}"
    return f"<text {place}{anchor}{weight}{mono} {look}>{safe(mark.text)}</text>"


def _pixels(mark: Pixels, themed: bool) -> str:
    if not themed or mark.dark is None:
        return _image(mark, mark.light, "")
    return _image(mark, mark.light, ' class="on-light"') + _image(mark, mark.dark, ' class="on-dark"')


def _image(mark: Pixels, pixels: Array, extra: str) -> str:
    place = f'x="{_n(mark.x)}" y="{_n(mark.y)}" width="{_n(mark.width)}" height="{_n(mark.height)}"'
    sharp = "" if mark.smooth else ' style="image-rendering:pixelated"'
    return f'<image {place} preserveAspectRatio="none"{sharp}{extra} href="{data_uri(pixels, mark.exact)}"/>'
