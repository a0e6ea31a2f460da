"""How surprising a number is among numbers drawn by chance, and what many such questions at once are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence


def student_p(t: float, freedom: int) -> float:
    """The chance that Student's t with `freedom` degrees lies further from zero than `t` (both sides).

    The sum of Abramowitz and Stegun 1964, 26.7.3 and 26.7.4, which is finite for whole degrees.

    >>> round(student_p(2.228, 10), 3), student_p(0.0, 3)
    (0.05, 1.0)
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    inside = (2 / math.pi) * (angle + sine * total) if odd else sine * total
    return min(1.0, max(0.0, 1.0 - inside))


def among(value: float, chance: Sequence[float]) -> float:
    r"""The p-value of one number among draws of chance: could it be one more of them?

    Student's t for a single new draw, $t = (v - m) / (s \sqrt{1 + 1/n})$ with n - 1 degrees; both sides.  1 when all
    draws are the same number as the value, 0 when they are the same and it is another.
    """
    n = len(chance)
    mean = sum(chance) / n
    spread = math.sqrt(sum((v - mean) ** 2 for v in chance) / (n - 1))
    away = abs(value - mean)
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return 1.0 if away <= 1e-9 * max(1.0, abs(mean)) else 0.0
    return student_p(away / (spread * math.sqrt(1 + 1 / n)), n - 1)


def holm(p: Sequence[float]) -> list[float]:
    """P-values raised so that all questions together are wrong with at most the stated chance (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    raised, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        raised[i] = largest
    return raised
