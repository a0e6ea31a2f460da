"""How numbers are written for people: few digits, a true minus sign, percent with a thin distance, a dash for none."""

from __future__ import annotations

import math

from pellucid.core.counts import plural

MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 3) -> str:
    """A number to `digits` significant digits; a dash where there is none.

    >>> number(0.012345), number(-4.0), number(float("nan")), number(1.5e-7), number(123456.0)
    ('0.0123', '−4', '–', '1.5e−7', '123 456')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else MINUS + "∞"
    if value == 0:
        return "0"
    if abs(value) >= 1000 and float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}".replace(",", " ").replace("-", MINUS)
    text = f"{value:.{digits}g}"
    if "e" in text:
        head, _, power = text.partition("e")
        text = f"{head}e{int(power)}"
    return text.replace("-", MINUS)


def signed_number(value: float, digits: int = 3) -> str:
    """As `number`, with a plus before what is positive.

    >>> signed_number(0.5), signed_number(-0.5), signed_number(0.0)
    ('+0.5', '−0.5', '0')
    """
    return ("+" if value > 0 else "") + number(value, digits)


def percent(fraction: float) -> str:
    """A fraction as percent; what is not zero never reads as zero, what is not all never reads as all.

    >>> percent(0.384), percent(0.0004), percent(0.0), percent(0.99996), percent(0.0123), percent(1.0)
    ('38 %', '0.04 %', '0 %', 'above 99.9 %', '1.2 %', '100 %')
    """
    if math.isnan(fraction):
        return "–"
    hundred = 100 * fraction
    if 99.9 < hundred < 100:
        return "above 99.9 %"
    if 99 < hundred < 100:
        return f"{math.floor(hundred * 10) / 10:.1f} %"
    if 0 < hundred < 0.01:
        return "below 0.01 %"
    text = f"{hundred:.0f}" if abs(hundred) >= 10 or hundred == 0 else f"{hundred:.2g}"
    return text.replace("-", MINUS) + " %"


def count(n: int, thing: str) -> str:
    """A count with its noun.

    >>> count(1, "pass"), count(1200, "pass")
    ('1 pass', '1 200 passes')
    """
    return f"{number(float(n))} {thing if n == 1 else plural(thing)}"


def seconds(value: float) -> str:
    """A duration in a unit that suits it.

    >>> seconds(0.0042), seconds(1.34), seconds(75.0)
    ('4 ms', '1.3 s', '1 min 15 s')
    """
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole // 60} min {whole % 60} s"
