"""A View as one page of PDF: lines and boxes are vectors, text is text, in the light theme's colors.

Written after ISO 32000-1 (PDF 1.7) with nothing but zlib.  Text that Helvetica can set (Windows-1252) stays text that
can be searched and copied; other scripts are drawn as small pictures of the text, by the fonts that PNG uses.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from pellucid.render import font
from pellucid.render.graph.lettering import units
from pellucid.render.layout import sheet
from pellucid.render.marks import LIGHT, Box, Dot, Drawing, Line, Mark, Pixels, Role, Words
from pellucid.render.plain import visible
from pellucid.views.arrays import Array
from pellucid.views.number import MINUS
from pellucid.views.view import View

CIRCLE = 0.5522847498  # how far a Bezier curve's handles reach for a quarter of a circle
LARGEST = 14_400.0  # the longest side of a page, in points
HEAVIER = 1.07  # how much wider Helvetica's bold cut is
SHARP = 3.0  # pixels a point, of text drawn as a picture
_ENCODING = "cp1252"


def pdf(view: View, width: int = 960, title: str = "") -> bytes:
    r"""The view on one page, as the bytes of a PDF file.  The same view gives the same bytes.

    >>> from pellucid.views.view import Text
    >>> page = pdf(Text("hello"))
    >>> page[:8], page.endswith(b"%%EOF\n")
    (b'%PDF-1.7', True)
    """
    return document(sheet(view, float(width)), title)


def document(drawing: Drawing, title: str = "") -> bytes:
    """A drawing as a PDF file of one page; one that is too large for a page is made smaller."""
    by = min(1.0, LARGEST / max(drawing.width, drawing.height, 1.0))
    page = _Page(drawing.height)
    page.say(f"{by:.5f} 0 0 {by:.5f} 0 0 cm 1 j 1 J")
    for mark in drawing.marks:
        page.mark(mark)
    return _file(page, drawing.width * by, drawing.height * by, title)


@dataclass(slots=True)
class _Page:
    """The content of the page as it grows; y runs upwards in PDF, downwards in drawings."""

    height: float
    lines: list[str] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def mark(self, mark: Mark) -> None:
        match mark:
            case Line():
                self._line(mark)
            case Box():
                self._box(mark)
            case Dot():
                self._painted(mark.role, mark.edge, lambda: self._round(mark.x, mark.y, mark.radius))
            case Words():
                self._words(mark)
            case Pixels():
                self._picture(mark.light, mark.x, mark.y, mark.width, mark.height, smooth=mark.smooth)

    def _line(self, mark: Line) -> None:
        if len(mark.points) < 2:
            return
        path = " ".join(f"{_n(x)} {_n(self.height - y)} {'l' if i else 'm'}" for i, (x, y) in enumerate(mark.points))
        self.say(f"q {_color(LIGHT[mark.role])} RG {_n(mark.width)} w [{mark.dash}] 0 d {path} S Q")

    def _box(self, mark: Box) -> None:
        if mark.role == "none" and mark.edge == "none":
            return
        radius = min(mark.radius, mark.width / 2, mark.height / 2)
        self._painted(mark.role, mark.edge, lambda: self._rounded(mark.x, mark.y, mark.width, mark.height, radius))

    def _painted(self, fill: Role | str, edge: Role | str, path: Callable[[], None]) -> None:
        colors = [f"{_color(LIGHT[fill])} rg"] if fill != "none" else []  # type: ignore[index]
        colors += [f"{_color(LIGHT[edge])} RG 1 w"] if edge != "none" else []  # type: ignore[index]
        self.say("q " + " ".join(colors))
        path()
        self.say(("B" if edge != "none" else "f") if fill != "none" else "S")
        self.say("Q")

    def _rounded(self, x: float, y: float, width: float, height: float, r: float) -> None:
        low, high = self.height - y - height, self.height - y
        if r <= 0:
            self.say(f"{_n(x)} {_n(low)} {_n(width)} {_n(height)} re")
            return
        right, k = x + width, r * CIRCLE
        self.say(f"{_n(x + r)} {_n(low)} m {_n(right - r)} {_n(low)} l")
        self._curve((right - r + k, low), (right, low + r - k), (right, low + r))
        self.say(f"{_n(right)} {_n(high - r)} l")
        self._curve((right, high - r + k), (right - r + k, high), (right - r, high))
        self.say(f"{_n(x + r)} {_n(high)} l")
        self._curve((x + r - k, high), (x, high - r + k), (x, high - r))
        self.say(f"{_n(x)} {_n(low + r)} l")
        self._curve((x, low + r - k), (x + r - k, low), (x + r, low))
        self.say("h")

    def _round(self, x: float, y: float, r: float) -> None:
        self._rounded(x - r, y - r, 2 * r, 2 * r, r)

    def _curve(self, *points: tuple[float, float]) -> None:
        self.say(" ".join(f"{_n(x)} {_n(y)}" for x, y in points) + " c")

    def _words(self, mark: Words) -> None:
        text = visible(mark.text)
        if not text.strip():
            return
        wide = font.width_of(text, mark.size, mark.bold)
        x = mark.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[mark.anchor] * wide
        try:
            code = text.replace(MINUS, "–").encode(_ENCODING)  # the dash is as wide as the sign
        except UnicodeEncodeError:
            self._drawn(text, x, mark, wide)
            return
        own = units(text) * mark.size / 1000 * (HEAVIER if mark.bold else 1.0)
        name = "F3" if mark.mono else "F2" if mark.bold else "F1"
        own = 0.6 * len(text) * mark.size if mark.mono else own
        stretch = 100 * wide / own if own else 100.0
        set_ = f"BT /{name} {_n(mark.size)} Tf {_n(stretch)} Tz {_n(x)} {_n(self.height - mark.y)} Td"
        self.say(f"{_color(LIGHT[mark.role])} rg {set_} <{code.hex()}> Tj ET")

    def _drawn(self, text: str, x: float, mark: Words, wide: float) -> None:
        """Letters that the standard fonts lack, as a picture of them with the text's color under a mask."""
        size = math.ceil(wide * SHARP) + 2, math.ceil(mark.size * 1.5 * SHARP)
        mask = Image.new("RGB", size, "black")
        font.draw(mask, (0, mark.size * 1.1 * SHARP), text, mark.size * SHARP, "white", mark.bold)
        ink = np.broadcast_to(np.array(_rgb(LIGHT[mark.role]), np.uint8), (size[1], size[0], 3))
        top = mark.y - mark.size * 1.1
        self._picture(ink, x, top, size[0] / SHARP, size[1] / SHARP, True, np.asarray(mask)[..., 0])

    def _picture(
        self, pixels: Array, x: float, y: float, width: float, height: float, smooth: bool = True,
        mask: Array | None = None,
    ) -> None:  # fmt: skip
        name = len(self.pictures)
        self.pictures.append(_image(pixels, smooth, b"" if mask is None else b"/SMask %d 0 R " % (FIRST + name + 1)))
        if mask is not None:
            self.pictures.append(_image(mask, smooth, b""))
        box = f"{_n(width)} 0 0 {_n(height)} {_n(x)} {_n(self.height - y - height)}"
        self.say(f"q {box} cm /I{name} Do Q")


FIRST = 8  # the number of the first picture among the file's objects


def _image(pixels: Array, smooth: bool, more: bytes) -> bytes:
    space = b"/DeviceRGB" if pixels.ndim == 3 else b"/DeviceGray"
    size = b"/Width %d /Height %d " % (pixels.shape[1], pixels.shape[0])
    head = b"/Type /XObject /Subtype /Image " + size + b"/ColorSpace " + space + b" /BitsPerComponent 8 "
    head += b"/Interpolate " + (b"true " if smooth else b"false ") + more
    return _stream(np.ascontiguousarray(pixels).tobytes(), head)


def _stream(data: bytes, head: bytes = b"") -> bytes:
    packed = zlib.compress(data, 9)
    return b"<< " + head + b"/Filter /FlateDecode /Length %d >>\nstream\n" % len(packed) + packed + b"\nendstream"


def _file(page: _Page, width: float, height: float, title: str) -> bytes:
    names = b" ".join(b"/I%d %d 0 R" % (i, FIRST + i) for i in range(len(page.pictures)))
    fonts = b"/F1 4 0 R /F2 5 0 R /F3 6 0 R"
    box = f"/MediaBox [0 0 {_n(width)} {_n(height)}]".encode()
    resources = b"/Resources << /Font << " + fonts + b" >> /XObject << " + names + b" >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R " + box + b" " + resources + b" /Contents 7 0 R >>",
        *(b"<< /Type /Font /Subtype /Type1 /BaseFont /" + name + b" /Encoding /WinAnsiEncoding >>"
          for name in (b"Helvetica", b"Helvetica-Bold", b"Courier")),
        _stream("\n".join(page.lines).encode("ascii")),
        *page.pictures,
        b"<< /Title <" + ("\ufeff" + visible(title)).encode("utf-16-be").hex().encode() + b"> /Producer (Pellucid) >>",
    ]  # fmt: skip
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for i, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % i + content + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % at for at in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (len(objects) + 1, len(objects))
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _color(color: str) -> str:
    return " ".join(_n(v / 255) for v in _rgb(color))


def _n(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") or "0"
