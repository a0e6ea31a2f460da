"""Measuring and drawing text in pictures, in any script.

Pillow's built-in font covers Latin; for what it lacks, the fonts that operating systems bring are tried, and what no
font has is drawn as an empty box.  Nothing here can fail for want of a font.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby
from typing import Any

from PIL import ImageDraw, ImageFont
from PIL.Image import Image

FALLBACKS = (
    "NotoSans-Regular.ttf", "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "segoeui.ttf", "Helvetica.ttc",
    "NotoSansCJK-Regular.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "msyh.ttc", "Arial Unicode.ttf",
)  # fmt: skip
PLAIN = {"\N{MINUS SIGN}": "–", "×": "x", "≥": ">=", "≤": "<=", "⟨": "<", "⟩": ">", "●": "•", "…": "..."}
BOLD = 0.022  # How much wider a stroke gets, as a share of the size.
AnyFont = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def _builtin(size: float) -> AnyFont:
    return ImageFont.load_default(size)


@cache
def _fallbacks(size: float) -> tuple[AnyFont, ...]:
    found: list[AnyFont] = []
    for name in FALLBACKS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return tuple(found)


@lru_cache(4096)
def _has(rank: int, character: str) -> bool:
    """Whether a font draws a character with something else than its empty box; measured at one size, for speed."""
    font = _fonts(16.0)[rank]
    if character.isspace():
        return rank == 0
    glyph: Any = font.getmask(character)  # Pillow does not say that a mask can be read as bytes
    missing: Any = font.getmask("\U0010fffd")
    return bytes(glyph) != bytes(missing) or glyph.size != missing.size


def _fonts(size: float) -> tuple[AnyFont, ...]:
    return (_builtin(size), *_fallbacks(size))


@lru_cache(4096)
def _rank(character: str) -> int:
    return next((rank for rank in range(len(_fonts(16.0))) if _has(rank, character)), 0)


def _runs(text: str, size: float) -> Iterator[tuple[str, AnyFont]]:
    fonts = _fonts(size)
    drawable = "".join(PLAIN.get(c, c) if not _has(_rank(c), c) else c for c in text)
    for rank, run in groupby(drawable, _rank):
        yield "".join(run), fonts[rank]


@lru_cache(8192)
def width_of(text: str, size: float, bold: bool = False) -> float:
    """How wide a line of text is, in points."""
    return sum(font.getlength(run) for run, font in _runs(text, size)) + (2 * BOLD * size if bold else 0.0)


def draw(image: Image, at: tuple[float, float], text: str, size: float, color: str, bold: bool = False) -> None:
    """Draw a line of text with its baseline's left end at a place."""
    brush = ImageDraw.Draw(image)
    x, y = at[0] + (BOLD * size if bold else 0.0), at[1]
    weight = BOLD * size if bold else 0.0
    for run, font in _runs(text, size):
        brush.text((x, y), run, fill=color, font=font, anchor="ls", stroke_width=weight, stroke_fill=color)
        x += font.getlength(run)


def wrapped(text: str, size: float, width: float, bold: bool = False) -> list[str]:
    """The lines of a text that is no wider than `width`: broken at spaces, or anywhere in a word too long for one."""
    lines = [""]
    for word in _words(text):
        longer = lines[-1] + word
        if width_of(longer.rstrip(), size, bold) <= width:
            lines[-1] = longer
        elif width_of(word.rstrip(), size, bold) <= width and lines[-1]:
            lines.append(word)
        else:
            lines = _broken(lines, word, size, width, bold)
    return [line.rstrip() for line in lines]


def _words(text: str) -> Iterator[str]:
    """Words with the spaces after them; every East Asian character is a word of its own."""
    word = ""
    for character in text:
        word += character
        if character == " " or "\u2e80" <= character <= "\uffef":
            yield word
            word = ""
    if word:
        yield word


def _broken(lines: list[str], word: str, size: float, width: float, bold: bool) -> list[str]:
    for character in word:
        if lines[-1] and width_of(lines[-1] + character, size, bold) > width:
            lines.append("")
        lines[-1] += character
    return lines


def shortened(text: str, size: float, width: float) -> str:
    """The text, or as much of its beginning as fits, with an ellipsis."""
    if width_of(text, size) <= width:
        return text
    text = text[:400]
    while text and width_of(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"
