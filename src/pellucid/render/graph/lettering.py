"""How wide text is, and what a box says: the same numbers as in `web/src/lettering.ts`, so that both draw one map.

The widths are those of Helvetica, which Arial and Liberation Sans share, in thousandths of the size of the letters.
"""

from __future__ import annotations

TITLE, LINE = 12, 11  # sizes of the two kinds of text in a box, in points
BOLD = 107  # the width of the heavy cut of a title, in hundredths of the plain one
LONGEST = 30  # letters in a line; the middle of a longer one is left out
HEAD = 12  # of them before the ellipsis
_WIDE = 0x1100  # from here on scripts are as wide as they are high
_ASCII = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip


def units(text: str) -> int:
    """The width of a text in thousandths of its size.

    >>> units("a"), units("层")
    (556, 1000)
    """
    total = 0
    for letter in text:
        code = ord(letter)
        if 32 <= code < 127:
            total += _ASCII[code - 32]
        else:
            total += 1000 if code >= _WIDE else 600
    return total


def shortened(text: str) -> str:
    """A text of at most `LONGEST` letters: its beginning and its end, which name what it is.

    >>> shortened("encoder.layers.encoder_layer_11.self_attention")
    'encoder.laye…11.self_attention'
    """
    if len(text) <= LONGEST:
        return text
    return text[:HEAD] + "…" + text[HEAD - LONGEST + 1 :]


def fitting(label: str) -> str:
    """A label of at most `LONGEST` letters: as many of its settings, from the first on, as fit whole.

    >>> fitting("16x3x3x3, stride 2, padding 1, groups 2"), fitting("scale factor 0.5")
    ('16x3x3x3, stride 2, …', 'scale factor 0.5')
    """
    if len(label) <= LONGEST:
        return label
    kept, *rest = label.split(", ")
    for part in rest:
        if len(kept) + len(part) + 5 > LONGEST:  # with a comma before it and ", …" behind
            return shortened(kept + ", …")
        kept += f", {part}"
    return shortened(kept)


def amount(value: int) -> str:
    """A count in three digits, rounded without fractions, so that both languages print the same.

    >>> amount(999), amount(1234), amount(25_557_032), amount(37_980), amount(999_600)
    ('999', '1.23 k', '25.6 M', '38 k', '1 M')
    """
    if value < 1000:
        return str(value)
    scale, power = 1000, 0
    while 2 * value >= 1999 * scale and power < 4:
        scale *= 1000
        power += 1
    digits = 2
    while digits and 2 * value * 10**digits >= 1999 * scale:
        digits -= 1
    whole, rest = divmod((value * 10**digits + scale // 2) // scale, 10**digits)
    text = f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".") if digits else str(whole)
    return f"{text} {'kMGTP'[power]}"
