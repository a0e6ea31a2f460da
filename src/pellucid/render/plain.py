"""Text made harmless and visible: what a name contains is shown, never obeyed."""

from __future__ import annotations

import unicodedata
from html import escape

LONGEST = 4000
_TURNS = {0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2061, 0x2070)}


def visible(text: str, lines: bool = False) -> str:
    r"""`text` with nothing in it that acts: no escape sequences, no direction overrides, no lone surrogates.

    Control characters become their pictures (␛), what turns or hides text becomes its code ⟨U+202E⟩.  Line breaks
    stay if `lines`, else they become spaces.  Very long text is cut, and says how long it was.

    >>> visible("tabby\x1b[2J"), visible("cat\u202egpj.exe"), visible("a\ud800b"), visible("one\ntwo")
    ('tabby␛[2J', 'cat⟨U+202E⟩gpj.exe', 'a⟨U+D800⟩b', 'one two')
    """
    if len(text) > LONGEST and not lines:
        text = f"{text[:LONGEST]}… ({len(text)} characters)"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character, lines) for character in text)


def safe(text: str) -> str:
    """User text for markup: made visible first, then escaped.

    >>> safe("<b>")
    '&lt;b&gt;'
    """
    return escape(visible(text), quote=True)


def _shown(character: str, lines: bool) -> str:
    code = ord(character)
    if character in "\n\t":
        return character if lines else " "
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    acts = code in _TURNS or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    hidden = 0xE0000 <= code <= 0xE0FFF or 0xFFF9 <= code <= 0xFFFB  # tags and annotations
    nobody = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # not characters at all
    return f"⟨U+{code:04X}⟩" if acts or hidden or nobody else character


def columns_wide(text: str) -> int:
    r"""How many terminal columns a text takes: wide East Asian characters take two, combining marks none.

    >>> columns_wide("cat"), columns_wide("猫"), columns_wide("e\u0301")
    (3, 2, 1)
    """
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
