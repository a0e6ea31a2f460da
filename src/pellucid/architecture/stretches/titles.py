"""What a stretch of operations is called: by what it holds, in few letters."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.architecture.sources.families import family_of

COUNTED = 256  # names that a title is made of; of more it does not say how often they repeat
ROOM = 30  # letters of a title
SPELLED = 4  # operations that are named one by one
_SHORT = (("Normalization", "Norm"), ("_normalization", "_norm"), ("Average", "Avg"), ("Transpose", "Transp"))
_MINOR = frozenset({"shape", "arithmetic", "other"})  # families named where there is nothing else to name


def title(names: Sequence[str], size: int, *, chain: bool, room: int = ROOM) -> str:
    """The title of a stretch of rows with these names, which hold `size` operations; `chain`: one leads to the next.

    A few are spelled out, a pattern that stands several times is named once with the number in front, of many the
    kinds that matter are named.

    >>> title(["Conv", "BatchNormalization", "HardSwish"], 3, chain=True)
    'Conv → BatchNorm → HardSwish'
    >>> title(["Conv", "Relu"] * 4, 8, chain=True)
    '4 × (Conv → Relu)'
    >>> title(["Conv", "Pool", "Conv", "Relu", "Conv", "HardSigmoid", "Mul", "Add"], 8, chain=False)
    'Conv, Pool, Relu, … (8)'
    """
    names = [_short(name) for name in names]
    period = _period(names)
    times = len(names) // period
    held, distinct = names[:period], list(dict.fromkeys(names))
    joint = " → " if chain else ", "
    if times > 1 and period <= SPELLED and len(names) < COUNTED:
        inner = joint.join(held)
        said = f"{times} × ({inner})" if period > 1 else f"{times} × {inner}"
        if len(said) <= room:
            return said
    said = joint.join(names)
    if len(names) <= SPELLED and len(said) <= room:
        return said
    return _kinds(distinct, size, room)


def _short(name: str) -> str:
    for long, brief in _SHORT:
        name = name.replace(long, brief)
    return name


def _period(names: Sequence[str]) -> int:
    """The length of the pattern that the whole is made of."""
    length = len(names)
    for period in range(1, min(SPELLED, length // 2) + 1):
        if length % period == 0 and all(names[i] == names[i - period] for i in range(period, length)):
            return period
    return length


def _kinds(distinct: Sequence[str], size: int, room: int) -> str:
    """The kinds of operations that matter most, as many as there is room for, and how many operations there are."""
    telling = sorted(distinct, key=lambda name: family_of(name) in _MINOR)
    end = f" ({size})"
    said = telling[0]
    for k, name in enumerate(telling[1:], 2):
        if len(f"{said}, {name}{', …' * (k < len(telling))}{end}") > room:
            return f"{said}, …{end}"
        said += f", {name}"
    return said + end
